"""A proc that times many children that do nothing: procs and bare Ray tasks in turns, from the same parent.

It runs in a worker itself: both then are of the same Ray job, and so on the same worker processes. A driver's would be
another job, and Ray would end the idle workers of the one while it is the other's turn.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import ray

from sigmaos_ray import AsyncSigmaClnt, Proc, SigmaClnt

if TYPE_CHECKING:
    from collections.abc import Callable

PROGRAM = "tests.bench.noop"


@ray.remote(num_cpus=0.5, max_retries=0)
def task() -> None:
    return None


def main(argv: list[str]) -> dict[str, list[float]]:
    """``in_flight times rounds reuse``. Seconds per operation, one figure per round."""
    in_flight, times, rounds, reuse = (int(text) for text in argv)
    found: dict[str, list[float]] = {"procs": [], "tasks": []}
    with SigmaClnt() as sc:
        works: dict[str, Callable[[], object]] = {
            "procs": lambda: sc.run(_procs(sc.asynchronous, in_flight, times, reuse=bool(reuse))),
            "tasks": lambda: _tasks(in_flight, times),
        }
        for work in works.values():
            work()
        for _ in range(rounds):
            for name, work in works.items():
                began = time.perf_counter()
                work()
                found[name].append((time.perf_counter() - began) / times)
    return found


def _tasks(in_flight: int, times: int) -> None:
    flying: list[Any] = []
    for _ in range(times):
        if len(flying) == in_flight:
            _, flying = ray.wait(flying)
        flying.append(task.remote())
    ray.get(flying)


async def _procs(sc: AsyncSigmaClnt, in_flight: int, times: int, *, reuse: bool) -> None:
    room = asyncio.Semaphore(in_flight)

    async def one() -> None:
        async with room:
            proc = Proc(PROGRAM, reuse=reuse)
            await sc.spawn(proc)
            assert (await sc.wait_exit(proc.pid)).is_ok()

    async with asyncio.TaskGroup() as group:
        for _ in range(times):
            group.create_task(one())
