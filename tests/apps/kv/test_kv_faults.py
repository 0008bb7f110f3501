"""Clerks at work while servers come, go and die, and balancers too: nothing lost, nothing twice (KV-3 to KV-8).

Seeded: SIGMAOS_SOAK_SEED repeats a run's choices (not its timing). `make soak` has the long run.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import secrets
import signal
import time
from typing import TYPE_CHECKING

import msgspec
import pytest
from kv_clients import KvClients
from kv_model import KeyModel

from sigmaos_ray import AsyncSigmaClnt, serr
from sigmaos_ray.ft.leading import LeaderData
from sigmaos_ray.rpcclnt import AsyncRPCClnt
from sigmaos_ray.testing.linearizability import check
from sigmaos_ray.testing.tstate import clnt_env
from user.kv import kv_pb2 as pb
from user.kv.clnt import AsyncKvClerk
from user.kv.job import AsyncKvJob
from user.kv.keys import shard_of
from user.kv.paths import KvPaths

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sigmaos_ray.testing import Tstate
    from sigmaos_ray.testing.history import Operation

CLERKS = 4


def seeded() -> int:
    seed = int(os.environ.get("SIGMAOS_SOAK_SEED", time.time_ns() % 1_000_000))
    print(f"SIGMAOS_SOAK_SEED={seed}")
    return seed


@pytest.fixture
async def sc(tstate_all: Tstate) -> AsyncIterator[AsyncSigmaClnt]:
    async with AsyncSigmaClnt(clnt_env(tstate_all.instance)) as sc:
        yield sc


@pytest.fixture
async def job(sc: AsyncSigmaClnt, request: pytest.FixtureRequest) -> AsyncIterator[AsyncKvJob]:
    """With a group of as many members as the test's parameter says."""
    job = AsyncKvJob(sc, f"faults-{secrets.token_hex(4)}")
    await job.start(members=getattr(request, "param", 1))
    yield job
    await job.stop()
    await job.close()


def clients(tstate: Tstate, job: AsyncKvJob, seed: int) -> KvClients:
    return KvClients([clnt_env(tstate.instance, f"clerk{number}") for number in range(CLERKS)], job.name, seed)


async def leader_of(sc: AsyncSigmaClnt, pn: str) -> LeaderData:
    await sc.wait_create(pn, 30)
    return msgspec.json.decode(await sc.get_file(pn), type=LeaderData)


async def kill(sc: AsyncSigmaClnt, pn: str) -> None:
    """Kills the leader's process; returns once another one leads."""
    dead = await leader_of(sc, pn)
    assert dead.process.send(signal.SIGKILL)
    while True:
        try:
            if (await leader_of(sc, pn)).pid != dead.pid:
                return
        except (serr.NotFound, *serr.SESSION_ERRORS):
            pass
        await asyncio.sleep(0.05)


async def until_shards_move(job: AsyncKvJob, adding: asyncio.Task[str]) -> None:
    while not (adding.done() or (await job.config()).moves):  # noqa: ASYNC110  # the configuration is a file
        await asyncio.sleep(0.01)


def check_history(history: list[Operation]) -> None:
    print(f"{len(history)} calls, {sum(not each.is_known for each in history)} of unknown outcome")
    report = check(history, KeyModel())
    assert report.is_ok, str(report)


async def test_servers_come_and_go(tstate_all: Tstate, job: AsyncKvJob) -> None:
    """KV-3, KV-6: no call fails, and none is slow, while all shards move."""
    async with clients(tstate_all, job, seeded()) as working:
        await working.wait_calls(50)
        assert await job.add() == "grp-1"
        config = await job.config()
        assert not config.moves
        assert config.shards.count("grp-0") == config.shards.count("grp-1") == 50
        await working.wait_calls(100)
        await job.remove("grp-0")
        assert set((await job.config()).shards) == {"grp-1"}
        await working.wait_calls(100)
        history = await working.history()
    assert all(operation.is_known for operation in history)
    check_history(history)


@pytest.mark.parametrize("job", [1, 2], indirect=True, ids=["alone", "with one that stands by"])
async def test_a_server_dies(tstate_all: Tstate, sc: AsyncSigmaClnt, job: AsyncKvJob) -> None:
    """What was acknowledged is there; what was on its way takes effect once."""
    async with clients(tstate_all, job, seeded()) as working:
        await working.wait_calls(100)
        await kill(sc, KvPaths(job.name).elect("grp-0"))
        await working.wait_calls(200)
        history = await working.history()
    assert all(operation.is_known for operation in history)
    check_history(history)


async def test_the_balancer_dies_while_shards_move(tstate_all: Tstate, sc: AsyncSigmaClnt, job: AsyncKvJob) -> None:
    """KV-5: the next balancer ends what was begun."""
    paths = KvPaths(job.name)
    async with clients(tstate_all, job, seeded()) as working:
        adding = asyncio.create_task(job.add())
        await until_shards_move(job, adding)
        await kill(sc, paths.balancer_elect)
        assert await adding == "grp-1"
        config = await job.config()
        assert not config.moves
        assert config.shards.count("grp-1") == 50
        await working.wait_calls(100)
        history = await working.history()
    assert all(operation.is_known for operation in history)
    check_history(history)


@pytest.mark.soak
async def test_groups_come_and_go_by_load(tstate_all: Tstate, sc: AsyncSigmaClnt, job: AsyncKvJob) -> None:
    """KV-10."""
    await job.auto(2)
    clerk = AsyncKvClerk(sc, job.name)
    in_one_shard = (key for key in map(str, itertools.count()) if shard_of(key) == 0)
    await clerk.put_many(dict.fromkeys(itertools.islice(in_one_shard, 4000), b""))
    server = AsyncRPCClnt(sc, KvPaths(job.name).group("grp-0"))

    async def load() -> None:
        """Looks through many keys for some that are not there: hardly any work for the client."""
        while True:
            await server.rpc("KvSrv.Scan", pb.ScanRequest(shard=0, after="~"), pb.ScanReply, 5.0)

    loads = [asyncio.create_task(load()) for _ in range(4)]
    try:
        await until_groups(job, 2)
    finally:
        for task in loads:
            task.cancel()
        await asyncio.wait(loads)
        await server.close()
        await clerk.close()
    await until_groups(job, 1)


async def until_groups(job: AsyncKvJob, count: int) -> None:
    async with asyncio.timeout(120):
        while len((config := await job.config()).groups) != count or config.moves:  # noqa: ASYNC110  # a file
            await asyncio.sleep(0.1)


@pytest.mark.soak
async def test_long_histories(tstate_all: Tstate, sc: AsyncSigmaClnt, job: AsyncKvJob) -> None:
    seed = seeded()
    chance = random.Random(seed)
    paths = KvPaths(job.name)
    async with clients(tstate_all, job, seed) as working:
        for _ in range(30):
            groups = sorted((await job.config()).groups)
            match chance.choice(["add", "remove", "kill", "kill", "kill balancer", "kill while moving"]):
                case "add" if len(groups) < 4:
                    await job.add()
                case "remove" if len(groups) > 1:
                    await job.remove(chance.choice(groups))
                case "kill balancer":
                    await kill(sc, paths.balancer_elect)
                case "kill while moving" if len(groups) < 4:
                    adding = asyncio.create_task(job.add())
                    await until_shards_move(job, adding)
                    await kill(sc, paths.elect(chance.choice(groups)))
                    await adding
                case _:
                    await kill(sc, paths.elect(chance.choice(groups)))
            await working.wait_calls(50)
        history = await working.history()
    check_history(history)
