"""Procs that do nothing, spawned and waited for: beside bare tasks on the same Ray, and beside Dask's.

Goals: one at a time at most 1.5 x Ray's task and 0.5 x Dask's; in bulk at least 0.7 x Ray's tasks per second.
"""

from __future__ import annotations

import json
import logging
import os
import time
from typing import TYPE_CHECKING, Any

import pytest
import ray
from distributed import Client, LocalCluster
from measure import Comparison, Series, compare

from kernel.boot.raychoice import TOKEN_FILE_NAME
from sigmaos_ray import Proc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sigmaos_ray import SigmaClnt
    from sigmaos_ray.testing import Tstate

PROGRAM = "tests.bench.noop"
TIMES = 100
BULK, BULK_ROUNDS = 3000, 6
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


def one_at_a_time(sc: SigmaClnt) -> Callable[[int], None]:
    def procs(times: int) -> None:
        for _ in range(times):
            proc = Proc(PROGRAM)
            sc.spawn(proc)
            assert sc.wait_exit(proc.pid).is_ok()

    return procs


@pytest.mark.usefixtures("driver")
def test_spawn_and_wait_beside_a_ray_task(instance: Tstate) -> None:
    task = ray_task()

    def tasks(times: int) -> None:
        for _ in range(times):
            ray.get(task.remote())

    ours = ("proc", one_at_a_time(instance.sc))
    compare("spawn + wait_exit", ours, ("Ray task", tasks), times=TIMES, goal=1.5)
    print(f"  of a proc's time, half of the procs take at most: {stages(instance.sc)}; the rest is RPC")


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


def test_bulk_beside_ray_tasks(instance: Tstate) -> None:
    """From one parent, which is a proc, with so many in flight on both sides."""
    proc = Proc("tests.bench.bulk_parent", [str(number) for number in (IN_FLIGHT, BULK // BULK_ROUNDS, BULK_ROUNDS)])
    instance.sc.spawn(proc)
    status = instance.sc.wait_exit(proc.pid)
    assert status.is_ok(), status
    assert isinstance(status.data, dict)
    procs, tasks = (Series(name, status.data[f"{name}s"]) for name in ("proc", "task"))
    print(f"\n  {Comparison(f'{IN_FLIGHT} in flight', procs, tasks, goal=0.7, rates=True)}")


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
    """Each takes its worker process along, so both sides wait for Ray to start others."""

    @ray.remote(num_cpus=0.5, max_retries=0)
    def task() -> None:
        os._exit(7)

    def tasks(times: int) -> None:
        for reference in [task.remote() for _ in range(times)]:
            with pytest.raises(ray.exceptions.WorkerCrashedError):
                ray.get(reference)

    ours = ("proc", crashing_procs(instance.sc))
    what = f"{CRASHING} that crash, each"
    compare(what, ours, ("Ray task", tasks), times=CRASHING, rounds=1, warm_up=10, goal=1.2)


@pytest.mark.usefixtures("driver")
def test_start_of_latency_critical_procs_beside_ray_actors(instance: Tstate) -> None:
    """From the call to the moment in which it runs; its end is not counted on either side."""
    sc = instance.sc

    class Actor:
        def ready(self) -> None:
            return None

    actors: Any = ray.remote(num_cpus=0.5)(Actor)

    def actor_s() -> float:
        began = time.perf_counter()
        actor = actors.remote()
        ray.get(actor.ready.remote())
        took = time.perf_counter() - began
        ray.kill(actor)
        return took

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
    print(f"\n  {Comparison('latency critical', procs, actors, goal=1.2)}")
