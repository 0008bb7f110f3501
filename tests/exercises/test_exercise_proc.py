"""Exercise 3: a proc. ``user/example`` is the program; it says hello, in its log and in its status.

pytest --start tests/exercises -k Proc
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sigmaos_ray import Proc, serr

if TYPE_CHECKING:
    from sigmaos_ray.testing import Tstate


class TestExerciseProc:
    def test_spawn_wait_and_look_at_the_status(self, tstate_all: Tstate) -> None:
        sc = tstate_all.sc
        proc = Proc("example")
        sc.spawn(proc)
        sc.wait_start(proc.pid)
        status = sc.wait_exit(proc.pid)
        assert status.is_ok()
        assert status.msg == "Hello world"

        # The parent collects the status, once.
        with pytest.raises(serr.NotFound):
            sc.wait_exit(proc.pid)

    def test_a_program_that_does_not_exist(self, tstate_all: Tstate) -> None:
        sc = tstate_all.sc
        proc = Proc("no_such_program")
        sc.spawn(proc)
        status = sc.wait_exit(proc.pid)
        assert status.is_err()
        assert "no_such_program" in status.msg
