"""Clients of several processes at work while leaders are killed, stopped, cut off and asked to resign: what they were
told is what one file at a time could have done (D-2, D-3, D-7, D-8).

`make soak` has the long run. Seeded: SIGMAOS_SOAK_SEED repeats a run's choices (not its timing).
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from typing import TYPE_CHECKING

import pytest
from file_clients import ClientsRequest
from lincheck import ClientProcesses, check_kept, summary
from nameds import LEASE_S, Nameds

if TYPE_CHECKING:
    from pathlib import Path

    from etcd_child import EtcdChild
    from nameds import NamedChild

HOW = ["killed", "killed", "stopped", "cut off", "resigns"]


async def disturb(nameds: Nameds, chance: random.Random, how: str) -> None:
    """One fault of the leader; returns once another one leads and the number of nameds is as before."""
    leader = await nameds.leader()
    match how:
        case "killed":
            leader.send(signal.SIGKILL)
        case "stopped":
            leader.send(signal.SIGSTOP)
            # Sometimes it wakes up while it may still lead.
            await asyncio.sleep(LEASE_S * chance.choice([0.3, 0.9, 1.5]))
            leader.send(signal.SIGCONT)
        case "cut off":
            leader.cut_off()
        case "resigns":
            leader.send(signal.SIGTERM)
    if how != "stopped" or await is_deposed(nameds, leader):
        await nameds.leader(other_than=leader)
        await nameds.replace(leader)


async def is_deposed(nameds: Nameds, leader: NamedChild) -> bool:
    """Whether a leader that was stopped for a while is one no more, once that is settled: who answers leads."""
    await (await nameds.clnt()).get_dir("name/")
    return await nameds.leader() is not leader


async def run(etcd: EtcdChild, directory: Path, rounds: int, pause_s: float) -> None:
    seed = int(os.environ.get("SIGMAOS_SOAK_SEED", time.time_ns() % 1_000_000))
    print(f"SIGMAOS_SOAK_SEED={seed}")
    chance = random.Random(seed)
    async with Nameds(etcd.endpoint, directory, count=3) as nameds:
        state_file = str(nameds.state_file)
        requests = [
            ClientsRequest(state_file=state_file, realm=nameds.realm, process=name, seed=seed, pause_s=pause_s)
            for name in ("p", "q")
        ]
        async with ClientProcesses(requests) as clients:
            for number in range(rounds):
                await disturb(nameds, chance, HOW[number] if rounds <= len(HOW) else chance.choice(HOW))
                await asyncio.sleep(chance.random() * 0.3)
            history = await clients.history()
    print(summary(history))
    assert sum(each.is_known for each in history) > 20 * rounds, "hardly anything was done"
    report = check_kept(history, directory)
    assert report.is_ok, str(report)


async def test_histories_under_faults(etcd: EtcdChild, tmp_path: Path) -> None:
    # With less of a pause the clients take both cores, beside another half of the tests: a standby that gets none for
    # its lease's two seconds is a candidate no more, and here nobody starts another one.
    await run(etcd, tmp_path, rounds=4, pause_s=0.01)


@pytest.mark.soak
async def test_long_histories_under_faults(etcd: EtcdChild, tmp_path: Path) -> None:
    await run(etcd, tmp_path, rounds=60, pause_s=0.02)
