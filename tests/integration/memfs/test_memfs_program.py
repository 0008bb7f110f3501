"""The program ``memfs``: a tree in memory for as long as the proc lives (R-11)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sigmaos_ray import Proc, serr

if TYPE_CHECKING:
    from sigmaos_ray.testing import Tstate


def test_it_serves_until_it_is_evicted(tstate_all: Tstate) -> None:
    sc = tstate_all.sc
    proc = Proc("memfs", ["name/test-memfs"])
    sc.spawn(proc)
    sc.wait_start(proc.pid)
    sc.put_file("name/test-memfs/f", b"in memory")
    assert sc.get_file("name/test-memfs/f") == b"in memory"
    assert [stat.name for stat in sc.get_dir("name/test-memfs/")] == [".fences", ".statsd", "rpc", "f"]
    sc.evict(proc.pid)
    assert sc.wait_exit(proc.pid).is_evicted()
    with pytest.raises(serr.NotFound):
        sc.stat("name/test-memfs")


def test_wrong_arguments(tstate_all: Tstate) -> None:
    proc = Proc("memfs", [])
    tstate_all.sc.spawn(proc)
    status = tstate_all.sc.wait_exit(proc.pid)
    assert status.is_err()
    assert "usage: memfs PATHNAME" in status.msg
