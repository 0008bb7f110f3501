"""Where and when procs run: C-1, C-3, X-30, X-32, X-33; and what happens when a schedd ends (X-28)."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
import ray

from kernel.schedd.actor import ScheddActor
from kernel.schedd.descriptor import SERVICE
from kernel.shell import KernelArgs
from sigmaos_ray import Proc, SigmaClnt, serr
from sigmaos_ray.config import ProcEnv

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sigmaos_ray.sigmap import Endpoint

WAIT_S = 60.0


def test_reserved_cores_run_one_after_the_other(sc: SigmaClnt) -> None:
    procs = [Proc("programs.interval", ["0.3"], mcpu=1100) for _ in range(2)]
    for proc in procs:
        sc.spawn(proc)
    first, second = (sc.wait_exit(proc.pid, WAIT_S).data for proc in procs)
    assert isinstance(first, list)
    assert isinstance(second, list)
    assert first[1] <= second[0]


def test_best_effort_runs_beside_a_reservation(sc: SigmaClnt) -> None:
    reserved = Proc("programs.spinner", mcpu=1000)
    sc.spawn(reserved)
    sc.wait_start(reserved.pid, WAIT_S)
    other = Proc("programs.nop")
    sc.spawn(other)
    assert sc.wait_exit(other.pid, WAIT_S).is_ok()
    sc.evict(reserved.pid)
    assert sc.wait_exit(reserved.pid, WAIT_S).is_evicted()


def test_waiting_servers_hold_no_slot(sc: SigmaClnt) -> None:
    servers = [Proc("programs.spinner") for _ in range(6)]  # two cores run four best-effort procs at a time
    for server in servers:
        sc.spawn(server)
    for server in servers:
        sc.wait_start(server.pid, WAIT_S)
    for server in servers:
        sc.evict(server.pid)
        assert sc.wait_exit(server.pid, WAIT_S).is_evicted()


def test_a_reservation_goes_before_best_effort_procs_that_wait(sc: SigmaClnt) -> None:
    crowd = [Proc("programs.nap", ["0.1"]) for _ in range(80)]
    for proc in crowd:
        sc.spawn(proc)
    reserved = Proc("programs.nap", ["0"], mcpu=1000)
    sc.spawn(reserved)
    ran_s = sc.wait_exit(reserved.pid, WAIT_S).data
    ends_s = [sc.wait_exit(proc.pid, WAIT_S).data for proc in crowd]
    assert isinstance(ran_s, float)
    assert ran_s < max(end_s for end_s in ends_s if isinstance(end_s, float))


def test_a_core_runs_so_many_best_effort_procs_at_a_time(sc: SigmaClnt) -> None:
    procs = [Proc("programs.interval", ["0.2"]) for _ in range(12)]
    for proc in procs:
        sc.spawn(proc)
    ran = [data for proc in procs if isinstance(data := sc.wait_exit(proc.pid, WAIT_S).data, list)]
    assert len(ran) == len(procs)
    assert max(sum(began <= moment < ended for began, ended in ran) for moment, _ in ran) <= 4


def test_preferred_kernel(sc: SigmaClnt) -> None:
    proc = Proc("programs.echo_args", kernels=["sigma-ffffffff", sc.kernel_id])
    sc.spawn(proc)
    status = sc.wait_exit(proc.pid, WAIT_S)
    assert isinstance(status.data, dict)
    assert status.data["kernel_id"] == sc.kernel_id
    with pytest.raises(serr.NotFound):
        sc.spawn(Proc("programs.nop", kernels=["sigma-ffffffff"]))


def test_many_in_parallel(sc: SigmaClnt) -> None:
    def loop(thread: int) -> int:
        ended_count = 0
        for _ in range(30):
            proc = Proc("programs.nop")
            sc.spawn(proc)
            ended_count += sc.wait_exit(proc.pid, WAIT_S).is_ok()
        return ended_count

    with ThreadPoolExecutor(5) as pool:
        assert sum(pool.map(loop, range(5))) == 150


def test_burst(sc: SigmaClnt) -> None:
    procs = [Proc("programs.nop") for _ in range(200)]
    for proc in procs:
        sc.spawn(proc)
    assert all(sc.wait_exit(proc.pid, WAIT_S).is_ok() for proc in procs)


@pytest.fixture
def second(ray_instance: None, named: Endpoint, log_dir: Path) -> Iterator[tuple[Any, SigmaClnt]]:
    """A schedd that the test may end, and a client of its node."""
    args = KernelArgs(kernel_id="sigma-00000002", named=named, log_dir=str(log_dir))
    actor_class: Any = ray.remote(ScheddActor)
    actor = actor_class.options(num_cpus=0, max_concurrency=SERVICE.calls_max).remote("schedd", args)
    ray.get(actor.start.remote(named), timeout=30)
    with SigmaClnt(ProcEnv(pid=f"tester2-{os.getpid()}", kernel_id=args.kernel_id, named=named)) as sc:
        yield actor, sc
    ray.kill(actor)


def test_a_schedd_that_stops_ends_its_procs(second: tuple[Any, SigmaClnt]) -> None:
    actor, sc = second
    heeding, stubborn = Proc("programs.spinner"), Proc("programs.stubborn")
    for proc in (heeding, stubborn):
        sc.spawn(proc)
        sc.wait_start(proc.pid, WAIT_S)
    [os_pid] = [info.os_pid for info in sc.procs() if info.pid == stubborn.pid]
    with ThreadPoolExecutor(2) as pool:
        waits = [pool.submit(sc.wait_exit, proc.pid, WAIT_S) for proc in (heeding, stubborn)]
        ray.get(actor.stop.remote(), timeout=30)
        for wait in waits:
            try:
                assert wait.result().is_evicted()
            except serr.SESSION_ERRORS:
                continue
    assert not os.path.exists(f"/proc/{os_pid}")


def test_waits_fail_when_the_schedd_dies(second: tuple[Any, SigmaClnt]) -> None:
    actor, sc = second
    proc = Proc("programs.spinner")
    sc.spawn(proc)
    sc.wait_start(proc.pid, WAIT_S)
    with ThreadPoolExecutor(1) as pool:
        wait = pool.submit(sc.wait_exit, proc.pid, WAIT_S)
        ray.kill(actor)
        with pytest.raises(serr.SESSION_ERRORS):
            wait.result()


def _counted(sc: SigmaClnt, program: str, argument: int) -> object:
    proc = Proc(program, [str(argument)])
    sc.spawn(proc)
    return sc.wait_exit(proc.pid, 180).data


def test_parents_that_wait_hold_no_slot(sc: SigmaClnt) -> None:
    """More of them than slots: a chain through the blocking face, a tree through the asynchronous one."""
    assert _counted(sc, "programs.chain", 6) == 6
    assert _counted(sc, "programs.tree", 3) == 15


@pytest.mark.soak
@pytest.mark.parametrize(("program", "argument", "count"), [("programs.chain", 100, 100), ("programs.tree", 7, 255)])
def test_hundreds_of_parents_that_wait(sc: SigmaClnt, program: str, argument: int, count: int) -> None:
    """Each holds a worker process while it waits, which takes Ray most of a second to start."""
    assert _counted(sc, program, argument) == count


def test_parents_that_wait_in_threads_hold_no_slot(sc: SigmaClnt) -> None:
    """More of them than slots, each with a pool of its own."""
    parents = [Proc("programs.pool_parent", ["2"]) for _ in range(10)]
    for parent in parents:
        sc.spawn(parent)
    assert [sc.wait_exit(parent.pid, 120).data for parent in parents] == [2] * 10


@pytest.mark.parametrize("count", [800, pytest.param(10_000, marks=pytest.mark.soak)])
def test_what_else_uses_ray_gets_its_turn(sc: SigmaClnt, count: int) -> None:
    """While far more procs wait than run."""
    crowd = [Proc("programs.nap", ["0.3"]) for _ in range(count)]
    sc.spawn_burst(crowd)

    @ray.remote(num_cpus=1, max_retries=0)
    def other() -> bool:
        return True

    assert ray.get([other.remote() for _ in range(4)], timeout=WAIT_S) == [True] * 4
    left = [info for info in sc.procs() if info.state == "queued"]
    assert left, "all procs went first"
    for proc in crowd:
        sc.evict(proc.pid)
    for proc in crowd:
        sc.wait_exit(proc.pid, 120)
