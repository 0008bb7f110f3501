"""Elections with fenced writes, locks, semaphores, watches and tasks in several processes, while leader, followers,
clients, task servers and etcd are killed, stopped, cut off, slow or full, and clocks jump.

Whatever happens: nobody acts in another one's epoch, epochs grow, what a deposed leader writes is refused, what was
acknowledged stays, one holds a lock at a time, a semaphore lets nobody pass early, a task is done once, watchers hear
of all, and nothing is left behind.

Seeded: SIGMAOS_SOAK_SEED repeats the choices of a run (not its timing), SIGMAOS_SOAK_RUNS sets how many runs
`make soak` does, the seeds counted up from the first.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest
from coordination_clients import LEASE_S
from coordination_history import Record, summary
from coordination_plan import each_fault, plan
from coordination_run import Coordination
from etcd_child import EtcdChild

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RUNS = int(os.environ.get("SIGMAOS_SOAK_RUNS", "100"))


@pytest.fixture
def own_etcd() -> Iterator[EtcdChild]:
    with EtcdChild() as child:
        yield child


def first_seed() -> int:
    return int(os.environ.get("SIGMAOS_SOAK_SEED", time.time_ns() % 1_000_000))


async def run(etcd: EtcdChild, directory: Path, runs_count: int) -> None:
    first = first_seed()
    everything: list[Record] = []
    wrong: dict[int, list[str]] = {}
    async with Coordination(etcd, directory) as coordination:
        for seed in range(first, first + runs_count):
            steps = plan(seed, LEASE_S)
            print(f"SIGMAOS_SOAK_SEED={seed}: " + "; ".join(", ".join(map(str, step.faults)) for step in steps))
            records, violations = await coordination.run(seed, steps)
            everything += records
            if violations:
                wrong[seed] = violations
                print(f"SIGMAOS_SOAK_SEED={seed} is violated: {violations}")
    print(f"{runs_count} runs, {len(wrong)} violated: {summary(everything)}")
    assert not wrong, f"SIGMAOS_SOAK_SEED={min(wrong)}: {wrong}"
    kinds = {record.kind for record in everything}
    assert {"lead", "write", "held", "locked", "down", "make", "view", "acquire", "output"} <= kinds


async def test_coordination_under_faults(own_etcd: EtcdChild, tmp_path: Path) -> None:
    await run(own_etcd, tmp_path, 2)


@pytest.mark.soak
async def test_long_coordination_under_faults(own_etcd: EtcdChild, tmp_path: Path) -> None:
    await run(own_etcd, tmp_path, RUNS)


@pytest.mark.soak
async def test_each_fault_alone(own_etcd: EtcdChild, tmp_path: Path) -> None:
    async with Coordination(own_etcd, tmp_path) as coordination:
        for step in each_fault(LEASE_S):
            _, violations = await coordination.run(0, [step])
            assert not violations, f"{step}: {violations}"
