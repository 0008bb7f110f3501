"""Tstate's own promises: what starts is stopped, and what stays behind is told."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from sigmaos_ray import serr
from sigmaos_ray.testing import Tstate, leaks

if TYPE_CHECKING:
    from pathlib import Path

    from fakeboot import FakeBoot


def test_an_instance_for_the_length_of_a_block(boot: FakeBoot) -> None:
    with Tstate.path("name/") as ts:
        ts.sc.put_file("name/f", b"hi")
        with ts.new_clnt() as other:
            assert other.get_file("name/f") == b"hi"
            assert other.pid != ts.sc.pid
        assert ts.state_dir == boot.dirs[0]
    assert boot.log == ["start ('named',)", "stop"]
    assert not boot.dirs[0].exists()
    with pytest.raises(serr.Unreachable):
        ts.sc.get_file("name/f")


def test_everything_for_what_lies_behind_services(boot: FakeBoot) -> None:
    with Tstate.path("name/ux/~local/"), Tstate.all():
        pass
    assert boot.log == ["start None", "start None", "stop", "stop"]


def test_a_process_that_stays_behind_is_told(boot: FakeBoot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaks, "END_WAIT_S", 0.1)
    boot.forgets = True
    with pytest.raises(AssertionError, match="outlived"), Tstate.all():
        pass
    assert not boot.dirs[0].exists()


def test_a_start_that_fails_leaves_nothing(boot: FakeBoot) -> None:
    boot.fails = True
    with pytest.raises(serr.Error, match="did not start"), Tstate.all():
        pass
    assert boot.log == ["start None", "stop"]
    assert not boot.dirs[0].exists()


def test_logs_can_be_kept(boot: FakeBoot) -> None:
    """Alone of what the instance had; without being asked nobody keeps any."""
    for keeps_logs in (False, True):
        ts = Tstate.all()
        ts.keeps_logs = keeps_logs
        with ts:
            (ts.state_dir / "logs/procs").mkdir(parents=True)
            (ts.state_dir / "logs/procs/p-1.log").write_text("printed\n")
        assert not boot.dirs[-1].exists()
        assert (ts.kept_logs is not None) == keeps_logs
    assert ts.kept_logs is not None
    assert (ts.kept_logs / "procs/p-1.log").read_text() == "printed\n"
    shutil.rmtree(ts.kept_logs)


def test_the_running_instance_is_left_alone(boot: FakeBoot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGMAOS_STATE_DIR", os.fspath(tmp_path))
    with pytest.raises(serr.Unreachable), Tstate.all(start=False):
        pass
    boot.start_instance(tmp_path, services=None)
    boot.log.clear()
    with Tstate.all(start=False) as ts:
        ts.sc.put_file("name/f", b"hi")
    assert boot.log == []
    boot.stop_instance(tmp_path)
