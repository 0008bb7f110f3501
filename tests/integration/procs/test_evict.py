"""Evictions at every moment of a proc's life, with and without grace (X-14)."""

from __future__ import annotations

import psutil
import pytest

from sigmaos_ray import Proc, SigmaClnt, serr

WAIT_S = 60.0
GRACES_S = pytest.mark.parametrize("grace_s", [None, 0.2])


@GRACES_S
@pytest.mark.parametrize("needs", [{"mcpu": 64_000}, {"mem_mb": 10_000_000}])
def test_queued_in_ray(sc: SigmaClnt, grace_s: float | None, needs: dict[str, float]) -> None:
    proc = Proc("programs.nop", **needs)  # type: ignore[arg-type]
    sc.spawn(proc)
    sc.evict(proc.pid, grace_s)
    assert sc.wait_exit(proc.pid, WAIT_S).is_evicted()


def test_queued_behind_others(sc: SigmaClnt) -> None:
    """More than Ray is handed at a time."""
    procs = [Proc("programs.nap", ["0.2"]) for _ in range(30)]
    for proc in procs:
        sc.spawn(proc)
    for proc in procs[20:]:
        sc.evict(proc.pid)
    assert all(sc.wait_exit(proc.pid, WAIT_S).is_evicted() for proc in procs[20:])
    assert all(sc.wait_exit(proc.pid, WAIT_S).is_ok() for proc in procs[:20])


@GRACES_S
@pytest.mark.parametrize("mcpu", [0, 500])
def test_between_spawn_and_start(sc: SigmaClnt, grace_s: float | None, mcpu: int) -> None:
    """It ends evicted whether it had begun or not: a program that looks finds the request."""
    for _ in range(3):
        proc = Proc("programs.spinner", mcpu=mcpu)
        sc.spawn(proc)
        sc.evict(proc.pid, grace_s)
        assert sc.wait_exit(proc.pid, WAIT_S).is_evicted()


@GRACES_S
def test_running(sc: SigmaClnt, grace_s: float | None) -> None:
    proc = Proc("programs.spinner")
    sc.spawn(proc)
    sc.wait_start(proc.pid, WAIT_S)
    for _ in range(2):
        sc.evict(proc.pid, grace_s)
    assert sc.wait_exit(proc.pid, WAIT_S).is_evicted()


@GRACES_S
def test_exiting(sc: SigmaClnt, grace_s: float | None) -> None:
    """The proc's own word counts, whichever comes first."""
    for _ in range(5):
        proc = Proc("programs.nap", ["0.01"])
        sc.spawn(proc)
        sc.evict(proc.pid, grace_s)
        status = sc.wait_exit(proc.pid, WAIT_S)
        assert status.is_ok() or status.is_evicted()


@GRACES_S
def test_gone(sc: SigmaClnt, grace_s: float | None) -> None:
    proc = Proc("programs.nop")
    sc.spawn(proc)
    assert sc.wait_exit(proc.pid, WAIT_S, peek=True).is_ok()
    sc.evict(proc.pid, grace_s)
    assert sc.wait_exit(proc.pid, WAIT_S).is_ok()
    with pytest.raises(serr.NotFound):
        sc.evict(proc.pid, grace_s)


@pytest.mark.parametrize("mcpu", [0, 500])
def test_grace_ends_the_whole_process_group(sc: SigmaClnt, mcpu: int) -> None:
    proc = Proc("programs.group", ["name/group-pids"], mcpu=mcpu)
    sc.spawn(proc)
    sc.wait_start(proc.pid, WAIT_S)
    processes = [psutil.Process(int(text)) for text in sc.get_file("name/group-pids").split()]
    sc.evict(proc.pid, grace_s=0.2)
    status = sc.wait_exit(proc.pid, WAIT_S)
    assert status.is_evicted()
    assert "did not end within 0.2 s" in status.msg
    _, alive = psutil.wait_procs(processes, timeout=10)
    assert not alive


def test_grace_is_over_before_the_last_eviction_says(sc: SigmaClnt) -> None:
    """The shortest grace counts."""
    proc = Proc("programs.stubborn")
    sc.spawn(proc)
    sc.wait_start(proc.pid, WAIT_S)
    for grace_s in (None, 1000.0, 0.1, 1000.0):
        sc.evict(proc.pid, grace_s)
    assert sc.wait_exit(proc.pid, WAIT_S).is_evicted()
