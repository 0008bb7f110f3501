"""Procs beside bare tasks and actors on the same Ray, and beside Dask's tasks: in processes of their own, and with
``reuse``. Goals stand with each comparison.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
import sys
import time
from collections import Counter
from statistics import median
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import ray
from distributed import Client, LocalCluster
from measure import Comparison, Series, compare

from kernel.boot.raychoice import TOKEN_FILE_NAME
from sigmaos_ray import Proc, config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sigmaos_ray import SigmaClnt
    from sigmaos_ray.testing import Tstate

PROGRAM, TUTORIAL = "tests.bench.noop", "tests.bench.tutorial_proc"
OWN_PROCESS_MS = 2.0
CHAIN = 100
PARTS = {
    "schedd": "ray::ScheddActor",
    "workers": "ray::",
    "templates and procs": "sigmaos_ray.runner import template",
    "raylet": "raylet/raylet",
    "gcs": "gcs_server",
    "etcd": "etcd",
}
"""Of what uses processor time, by what its command line holds."""
TIMES = 100
BULK, BULK_ROUNDS = 2400, 6
IN_FLIGHT = 20
CRASHING = 300
STARTS = 15


@pytest.fixture
def driver(instance: Tstate) -> Iterator[None]:
    """This process as a Ray driver, on the instance's Ray, whose token stands in its state directory."""
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(instance.state_dir / TOKEN_FILE_NAME)
    ray.init(address=instance.instance.ray_address, log_to_driver=False, logging_level=logging.ERROR)
    yield
    ray.shutdown()


@pytest.fixture
def dask() -> Iterator[Client]:
    """Dask with as many worker processes as this machine has cores."""
    cluster: Any = LocalCluster  # Dask does not type them
    client: Any = Client
    cores = os.cpu_count() or 1
    with (
        cluster(n_workers=cores, threads_per_worker=1, dashboard_address=None, silence_logs=logging.ERROR) as made,
        client(made) as connected,
    ):
        yield connected


def nothing(_number: int = 0) -> None:
    """What a task of Dask's does."""


def ray_task() -> Any:
    """A task that does nothing, with the needs of a best-effort proc."""

    @ray.remote(num_cpus=0.5, max_retries=0)
    def task() -> None:
        return None

    return task


def one_at_a_time(sc: SigmaClnt, program: str = PROGRAM, *args: str, reuse: bool = False) -> Callable[[int], None]:
    def procs(times: int) -> None:
        for _ in range(times):
            proc = Proc(program, args, reuse=reuse)
            sc.spawn(proc)
            assert sc.wait_exit(proc.pid).is_ok()

    return procs


@pytest.mark.usefixtures("driver")
@pytest.mark.parametrize(
    ("program", "reuse", "goal"),
    [(TUTORIAL, False, 1.5), (TUTORIAL, True, 0.6), (PROGRAM, False, None), (PROGRAM, True, 0.45)],
)
def test_spawn_and_wait_beside_a_ray_task(instance: Tstate, program: str, reuse: bool, goal: float | None) -> None:
    task = ray_task()

    def tasks(times: int) -> None:
        for _ in range(times):
            ray.get(task.remote())

    before = cpu_by_part(instance)
    ours = ("proc", one_at_a_time(instance.sc, program, reuse=reuse))
    what = f"{program.rpartition('.')[2]}{', reuse' if reuse else ''}: spawn + wait_exit"
    found = compare(what, ours, ("Ray task", tasks), times=TIMES, goal=goal)
    if program == TUTORIAL and not reuse:
        is_met = found.ours.median_s <= OWN_PROCESS_MS / 1e3
        print(f"  in all {found.ours.median_s * 1e3:.2f} ms, goal <= {OWN_PROCESS_MS} {'met' if is_met else 'NOT met'}")
    print(f"  half of the procs take at most: {stages(instance.sc)}; the rest is RPC")
    print(f"  processor time in the meantime, Ray's tasks included: {told(before, cpu_by_part(instance))}")


def cpu_by_part(instance: Tstate) -> Counter[str]:
    """Milliseconds of processor time so far, by what used them. What ended is its parent's."""
    used = Counter[str]()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            took_s = times.user + times.system + times.children_user + times.children_system
            used[_part(process)] += round(took_s * 1000)
    return used


def _part(process: psutil.Process) -> str:
    name = " ".join(process.cmdline())
    for part, mark in PARTS.items():
        if mark in name:
            return part
    return "client" if process.pid == os.getpid() else "others"


def told(before: Counter[str], after: Counter[str]) -> str:
    return ", ".join(f"{part} {spent_ms / 1000:.2f} s" for part, spent_ms in (after - before).most_common())


def test_a_small_file_read_in_a_proc(instance: Tstate) -> None:
    sc = instance.sc
    sc.put_file("name/bench-small", b"x" * 100)
    try:
        ours = ("reads a file", one_at_a_time(sc, TUTORIAL, "name/bench-small"))
        found = compare("the tutorial's proc", ours, ("reads none", one_at_a_time(sc, TUTORIAL)), times=TIMES)
        assert found.peer is not None
        more_ms = (found.ours.median_s - found.peer.median_s) * 1e3
        print(f"  one small read adds {more_ms:.2f} ms, goal <= 0.5 {'met' if more_ms <= 0.5 else 'NOT met'}")
    finally:
        sc.remove("name/bench-small")


def stages(sc: SigmaClnt) -> str:
    """Where the time of spawns goes, as the schedd has counted: Ray is ``ray`` and ``end``, the runner ``setup`` and
    ``run``."""
    [schedd] = sc.get_dir("name/schedd")
    latencies = json.loads(sc.get_file(f"name/schedd/{schedd.name}/.statsd"))["spawn_latency"]
    return ", ".join(f"{stage} {latency['p50_us'] / 1e3:.2f} ms" for stage, latency in latencies.items())


def test_spawn_and_wait_beside_dask(instance: Tstate, dask: Client) -> None:
    def tasks(times: int) -> None:
        for number in range(times):
            dask.submit(nothing, number, pure=False).result()

    ours = ("proc", one_at_a_time(instance.sc))
    compare("spawn + wait_exit", ours, ("Dask task", tasks), times=TIMES, goal=0.5)


@pytest.mark.parametrize(("reuse", "goal"), [(False, 0.35), (True, 1.3)])
def test_bulk_beside_ray_tasks(instance: Tstate, reuse: bool, goal: float) -> None:
    """From one parent, which runs in a worker, with so many in flight on both sides."""
    numbers = (IN_FLIGHT, BULK // BULK_ROUNDS, BULK_ROUNDS, reuse)
    proc = Proc("tests.bench.bulk_parent", [str(int(number)) for number in numbers], reuse=True)
    instance.sc.spawn(proc)
    status = instance.sc.wait_exit(proc.pid)
    assert status.is_ok(), status
    assert isinstance(status.data, dict)
    procs, tasks = (Series(name, status.data[f"{name}s"]) for name in ("proc", "task"))
    what = f"{IN_FLIGHT} in flight{', reuse' if reuse else ''}"
    print(f"\n  {Comparison(what, procs, tasks, goal=goal, rates=True)}")
    if not reuse:
        forks = forks_per_s(os.cpu_count() or 1)
        ratio = 1 / procs.median_s / forks
        print(f"  forking alone {forks:,.0f}/s: ratio {ratio:.2f}, goal >= 0.9 {'met' if ratio >= 0.9 else 'NOT met'}")


def forks_per_s(count: int) -> float:
    """By so many processes at once."""
    command = [sys.executable, "-m", "tests.bench.bare_fork", "3"]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(count)]
    return sum(float(child.communicate()[0]) for child in children)


def test_a_chain_of_procs_that_wait(instance: Tstate) -> None:
    """Each waits for the next: all of them are there at once, on as few cores as there are."""
    for length in (10, CHAIN):
        began = time.perf_counter()
        proc = Proc("tests.bench.chain_link", [str(length)])
        instance.sc.spawn(proc)
        assert instance.sc.wait_exit(proc.pid).data == length
        took = time.perf_counter() - began
        print(f"\n  a chain of {length}: {took:.1f} s, {took / length * 1e3:.0f} ms each")


@pytest.mark.usefixtures("driver")
def test_memory_of_an_idle_lease(instance: Tstate) -> None:
    """Of what a worker has beside itself: its template, and the process that waits."""
    sc = instance.sc
    one_at_a_time(sc, TUTORIAL)(20)
    held: dict[str, list[float]] = {}
    for worker in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if not worker.name().startswith("ray::") or not worker.children():
                continue
            held.setdefault("worker", []).append(_uss_mb(worker))
            held.setdefault("template and what waits", []).append(sum(map(_uss_mb, worker.children(recursive=True))))
    print("\n  memory of its own per idle lease: " + ", ".join(f"{n} {median(mb):.0f} MB" for n, mb in held.items()))


def _uss_mb(process: psutil.Process) -> float:
    return float(process.memory_full_info().uss) / (1 << 20)


def crashing_procs(sc: SigmaClnt) -> Callable[[int], None]:
    """All at once, each reported as what it is."""

    def procs(times: int) -> None:
        spawned = [Proc("tests.bench.crasher") for _ in range(times)]
        for proc in spawned:
            sc.spawn(proc)
        for proc in spawned:
            status = sc.wait_exit(proc.pid)
            assert status.is_crash(), status

    return procs


@pytest.mark.usefixtures("driver")
def test_crashing_procs_beside_crashing_ray_tasks(instance: Tstate) -> None:
    """A Ray task takes its worker process along, and Ray has to start another one."""

    @ray.remote(num_cpus=0.5, max_retries=0)
    def task() -> None:
        os._exit(7)

    def tasks(times: int) -> None:
        for reference in [task.remote() for _ in range(times)]:
            with pytest.raises(ray.exceptions.WorkerCrashedError):
                ray.get(reference)

    ours = ("proc", crashing_procs(instance.sc))
    what = f"{CRASHING} that crash, each"
    compare(what, ours, ("Ray task", tasks), times=CRASHING, rounds=1, warm_up=10, goal=1.0)


def actor_s() -> float:
    """Until a new one of Ray's answers, which does nothing; its end is not counted."""

    class Actor:  # of a function, so that Ray sends it along: workers do not find this module
        def ready(self) -> None:
            return None

    actors: Any = ray.remote(num_cpus=0.5)(Actor)
    began = time.perf_counter()
    actor = actors.remote()
    ray.get(actor.ready.remote())
    took = time.perf_counter() - began
    ray.kill(actor)
    return took


@pytest.mark.usefixtures("driver")
def test_start_of_latency_critical_procs_beside_ray_actors(instance: Tstate) -> None:
    """From the call to the moment in which it runs; its end is not counted on either side."""
    sc = instance.sc

    def proc_s() -> float:
        proc = Proc("tests.bench.waiter", mcpu=500)
        began = time.perf_counter()
        sc.spawn(proc)
        sc.wait_start(proc.pid)
        took = time.perf_counter() - began
        sc.evict(proc.pid)
        assert sc.wait_exit(proc.pid).is_evicted()
        return took

    found = [(proc_s(), actor_s()) for _ in range(STARTS + 1)][1:]
    procs, actors = (
        Series(name, each) for name, each in zip(("wait_start", "Ray actor"), zip(*found, strict=True), strict=True)
    )
    print(f"\n  {Comparison('latency critical', procs, actors, goal=0.2)}")


@pytest.mark.usefixtures("driver")
def test_the_first_proc_of_a_new_lease_beside_a_ray_actor(instance: Tstate) -> None:
    """All leases have ended before; their workers have not."""
    sc = instance.sc
    idle_s = config.current().scheduling.lease_idle_s

    def proc_s() -> float:
        time.sleep(2 * idle_s)  # nothing tells that the leases are over
        began = time.perf_counter()
        one_at_a_time(sc)(1)
        return time.perf_counter() - began

    found = [(proc_s(), actor_s()) for _ in range(STARTS + 1)][1:]
    procs, actors = (
        Series(name, each) for name, each in zip(("proc", "Ray actor"), zip(*found, strict=True), strict=True)
    )
    print(f"\n  {Comparison('first proc of a new lease', procs, actors, goal=0.5)}")
