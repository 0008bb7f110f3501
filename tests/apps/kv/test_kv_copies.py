"""Copies of what a group wrote, at several nodes: each of those in step will do, and a node may be lost (KV-8)."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
from typing import TYPE_CHECKING

import msgspec
import pytest
from kv_clients import KvClients
from kv_model import KeyModel

from sigmaos_ray import AsyncSigmaClnt, serr
from sigmaos_ray.leaderclnt import AsyncLeaderClnt
from sigmaos_ray.testing import Tstate
from sigmaos_ray.testing.linearizability import check
from sigmaos_ray.testing.tstate import clnt_env
from user.kv import copies as cp
from user.kv import kv_pb2 as pb
from user.kv.copies import Copies, NodeCopy
from user.kv.job import AsyncKvJob
from user.kv.journal import KvJournal
from user.kv.keys import SHARDS_COUNT
from user.kv.paths import KvPaths
from user.kv.state import EMPTY, ShardTable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

GROUP = "grp-0"
WAIT_S = 60


@pytest.fixture(scope="module")
def ts() -> Iterator[Tstate]:
    """Two nodes, and nothing on them but what holds files."""
    with Tstate(("named", "ux")) as ts:
        ts.boot_node(1, num_cpus=1)
        yield ts


class Leader:
    """A group's leader, without a service: what it wrote, and where."""

    def __init__(self, ts: Tstate, paths: KvPaths, node: str, count: int = 2) -> None:
        self.sc = AsyncSigmaClnt(msgspec.structs.replace(clnt_env(ts.instance, "leader"), kernel_id=node))
        self.leader = AsyncLeaderClnt(self.sc, paths.elect(GROUP))
        self.copies = Copies(self.sc, paths, GROUP, self.leader, count)
        self.table = ShardTable()
        self.errors: list[serr.SigmaError] = []
        self.journal = KvJournal(self.copies, self.table, self.errors.append, self.copies.caught_up)
        self._seqno = 0

    async def lead(self) -> None:
        await self.leader.lead_and_fence(b"", [], WAIT_S)
        await self.copies.open()
        await self.journal.load()
        if not self.table.here():
            changes = [
                change for n in range(SHARDS_COUNT) for change in self.table.install(n, (1, 1), 0, 0, EMPTY, last=True)
            ]
            await self.journal.wait(self.journal.add(*changes))

    async def append(self, value: bytes) -> None:
        """To the key "k", as a client of this leader's."""
        self._seqno += 1
        write = pb.Write(seqno=self._seqno, kind=pb.APPEND, key="k", value=value)
        outcome, change = self.table.write(id(self), self._seqno, write)
        assert outcome == pb.DONE
        assert change is not None
        await self.journal.wait(self.journal.add(change))

    async def until_nodes(self, count: int) -> None:
        async with asyncio.timeout(WAIT_S):
            while len(self.copies.nodes) != count:  # noqa: ASYNC110  # they come by themselves
                await asyncio.sleep(0.05)

    async def resign(self) -> None:
        await self.copies.stop_growing()
        await self.journal.close()
        await self.copies.close()
        await self.leader.release_leadership()
        await self.leader.unfence()
        await self.sc.close()

    async def crash(self) -> None:
        """Says nothing more, and leaves what it opened; its leadership goes on until its lease ends."""
        await self.copies.stop_growing()
        await self.sc.close()


@pytest.fixture
async def paths(ts: Tstate) -> AsyncIterator[KvPaths]:
    paths = KvPaths(f"copies-{secrets.token_hex(4)}")
    async with AsyncSigmaClnt(clnt_env(ts.instance)) as sc:
        await sc.makedirs(paths.dir)
        yield paths
        await cp.remove_copies(sc, paths, GROUP)
        await sc.rmdir(paths.dir)


def nodes_of(ts: Tstate) -> list[str]:
    """The first one cannot be killed."""
    return [node.id for node in ts.instance.kernel_nodes]


async def with_two_copies(ts: Tstate, paths: KvPaths, node: str) -> Leader:
    """One at that node, the other at another; "k" has b"a"."""
    leader = Leader(ts, paths, node)
    await leader.lead()
    leader.copies.keep(leader.journal.turn)
    await leader.until_nodes(2)
    await leader.append(b"a")
    return leader


async def in_step(sc: AsyncSigmaClnt, paths: KvPaths) -> list[str]:
    nodes: list[str] = (await sc.get_file_json(paths.conf(GROUP)))["nodes"]
    return nodes


async def test_a_second_copy_comes_while_writes_go_on(ts: Tstate, paths: KvPaths) -> None:
    one = Leader(ts, paths, nodes_of(ts)[0])
    await one.lead()
    await one.append(b"a")
    one.copies.keep(one.journal.turn)
    while len(one.copies.nodes) < 2:
        await one.append(b"b")
    await one.append(b"c")
    assert await in_step(one.sc, paths) == one.copies.nodes
    value = one.table.get("k")
    second = ShardTable()
    copy = NodeCopy(one.sc, "", paths.copy(GROUP, one.copies.nodes[1]))
    await KvJournal(copy, second, one.errors.append).load()
    assert second.get("k") == value
    assert value[1].startswith(b"ab")
    assert value[1].endswith(b"c")
    assert not one.errors
    await one.resign()


async def test_copies_that_differ_are_made_equal(ts: Tstate, paths: KvPaths) -> None:
    """A leader that died while it wrote left more in one copy than in the other."""
    one = await with_two_copies(ts, paths, nodes_of(ts)[0])
    first, second = one.copies.nodes
    behind = await NodeCopy(one.sc, "", paths.copy(GROUP, second)).sizes()
    stopped = one.copies._in_step.pop()
    await one.append(b"b")  # as if it ended before the second copy had it, and nothing was acknowledged
    assert stopped.node == second
    await one.crash()
    two = Leader(ts, paths, nodes_of(ts)[1])
    await two.lead()
    assert two.copies.nodes == [first, second]
    sizes = [await NodeCopy(two.sc, "", paths.copy(GROUP, node)).sizes() for node in (first, second)]
    assert sizes[0] == sizes[1] != behind
    assert two.table.get("k")[1] == b"ab"
    await two.resign()


async def test_one_that_was_replaced_cannot_write_anywhere(ts: Tstate, paths: KvPaths) -> None:
    one = await with_two_copies(ts, paths, nodes_of(ts)[0])
    await one.copies.stop_growing()
    await one.sc.remove(paths.elect(GROUP))  # somebody takes it for dead
    two = Leader(ts, paths, nodes_of(ts)[1])
    await two.lead()
    with pytest.raises(serr.IOErr, match="not written"):
        await one.append(b"b")
    assert isinstance(one.errors[0], serr.Stale)
    with pytest.raises(serr.Stale):
        await one.copies._announce(one.copies._in_step)
    assert two.table.get("k")[1] == b"a"
    await one.sc.close()
    await two.resign()


async def test_the_node_of_the_first_copy_is_lost(ts: Tstate, paths: KvPaths) -> None:
    """What was acknowledged is at the other one, writes go on there, and a third node takes the lost one's place."""
    head = nodes_of(ts)[0]
    victim = ts.boot_node(1, num_cpus=1)[0]
    one = await with_two_copies(ts, paths, victim)
    assert one.copies.nodes[0] == victim
    await asyncio.to_thread(ts.kill_node, victim)
    await one.append(b"b")
    assert victim not in await in_step(one.sc, paths)
    await one.until_nodes(2)
    await one.append(b"c")
    assert not one.errors
    await one.crash()
    two = Leader(ts, paths, head)
    await two.lead()
    assert two.table.get("k")[1] == b"abc"
    assert victim not in two.copies.nodes
    await two.resign()


async def test_a_copy_that_says_nothing_is_waited_for_no_longer(ts: Tstate, paths: KvPaths) -> None:
    """As of a host that is cut off: its connection is given up much later."""
    head = nodes_of(ts)[0]
    one = await with_two_copies(ts, paths, head)
    silent = next(node for node in ts.instance.kernel_nodes if node.id == one.copies.nodes[1])
    ux = silent.services["ux"].pid
    os.kill(ux, signal.SIGSTOP)
    try:
        async with asyncio.timeout(10):
            await one.append(b"b")
        assert await in_step(one.sc, paths) == [head]
        async with asyncio.timeout(10):
            await one.append(b"c")
        assert not one.errors
    finally:
        os.kill(ux, signal.SIGCONT)
    await one.resign()


async def test_a_copy_that_is_not_in_step_is_not_read(ts: Tstate, paths: KvPaths) -> None:
    """The next leader waits for one that is, rather than to go on from less."""
    head, other = nodes_of(ts)[:2]
    one = Leader(ts, paths, head, count=1)
    await one.lead()
    await one.append(b"a")
    await one.sc.makedirs(paths.copy(GROUP, other))
    await one.resign()
    async with AsyncSigmaClnt(clnt_env(ts.instance)) as sc:
        await sc.rename(paths.copy(GROUP, head), paths.copy(GROUP, head) + "-away")
        two = Leader(ts, paths, other)
        leading = asyncio.create_task(two.lead())
        await sc.wait_create(paths.elect(GROUP))
        done, _ = await asyncio.wait({leading}, timeout=2)
        assert not done
        await sc.rename(paths.copy(GROUP, head) + "-away", paths.copy(GROUP, head))
        await asyncio.wait_for(leading, WAIT_S)
    assert two.table.get("k")[1] == b"a"
    await two.resign()


@pytest.fixture
def whole() -> Iterator[Tstate]:
    """An instance with procs, of three nodes."""
    with Tstate.all() as ts:
        ts.boot_node(2, num_cpus=1)
        yield ts


@pytest.mark.soak
async def test_a_store_of_two_members_outlives_a_node(whole: Tstate) -> None:
    async with AsyncSigmaClnt(clnt_env(whole.instance)) as sc:
        job = AsyncKvJob(sc, f"copies-{secrets.token_hex(4)}")
        await job.start(members=2)
        paths = KvPaths(job.name)
        await until_copies(job, 2)
        envs = [clnt_env(whole.instance, f"clerk{number}") for number in range(2)]
        async with KvClients(envs, job.name, seed=1) as working:
            await working.wait_calls(100)
            victim = next(node for node in await in_step(sc, paths) if node != nodes_of(whole)[0])
            await asyncio.to_thread(whole.kill_node, victim)
            await working.wait_calls(200)
            await until_copies(job, 2)
            await working.wait_calls(100)
            history = await working.history()
        report = check(history, KeyModel())
        assert report.is_ok, str(report)
        assert victim not in await in_step(sc, paths)
        await job.stop()
        await job.close()


async def until_copies(job: AsyncKvJob, count: int) -> None:
    async with asyncio.timeout(WAIT_S):
        while len((await job.stats()).groups[0].server.nodes) != count:  # noqa: ASYNC110  # they come by themselves
            await asyncio.sleep(0.1)
