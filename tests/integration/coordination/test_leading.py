"""Members of a group of which one leads: they stand by, hear of their eviction, and die when they are deposed."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING

import msgspec
import pytest

from sigmaos_ray import serr
from sigmaos_ray.ft.leading import LeaderData, Leadership, bury_dead
from sigmaos_ray.leaderclnt import AsyncLeaderClnt
from sigmaos_ray.machine import OsProcess

if TYPE_CHECKING:
    from realm import Realm

    from sigmaos_ray import AsyncSigmaClnt

PN = "name/app/leader"
STATE = "name/app-state"
NODE = "sigma-1"
WITHIN_S = 10


class Member:
    """One of a group, and what a proc's schedd would say to it."""

    def __init__(self, sc: AsyncSigmaClnt, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sc = sc
        self.evicted = asyncio.Event()
        monkeypatch.setattr(sc, "wait_evict", self.evicted.wait)
        self.deaths: list[str] = []
        self.leadership = Leadership(sc, PN, [STATE], self.deaths.append)

    def leading(self) -> asyncio.Task[bool]:
        return asyncio.create_task(self.leadership.lead())


@pytest.fixture
async def members(realm: Realm, monkeypatch: pytest.MonkeyPatch) -> tuple[Member, Member]:
    first, second = [Member(await realm.clnt(NODE), monkeypatch) for _ in range(2)]
    await first.sc.mkdir(STATE)
    return first, second


async def test_the_next_one_leads_when_one_resigns(members: tuple[Member, Member]) -> None:
    """And what the first one still sends for its leadership is refused, until it has resigned."""
    first, second = members
    assert await first.leadership.lead()
    await first.sc.put_file(f"{STATE}/first", b"")
    waiting = second.leading()
    await asyncio.sleep(0.1)
    assert not waiting.done()
    await first.leadership.resign()
    assert await asyncio.wait_for(waiting, WITHIN_S)
    assert second.leadership.fence.epoch > first.leadership.fence.epoch
    await first.sc.put_file(f"{STATE}/as-anybody", b"")
    await first.leadership.resign()  # may be repeated, and ends nobody else's leadership
    await second.sc.put_file(f"{STATE}/second", b"")
    await second.leadership.resign()
    assert not first.deaths
    assert not second.deaths


async def test_one_that_is_evicted_first_holds_nothing(members: tuple[Member, Member]) -> None:
    first, second = members
    assert await first.leadership.lead()
    waiting = second.leading()
    second.evicted.set()
    assert await asyncio.wait_for(waiting, WITHIN_S) is False
    await first.leadership.resign()
    with pytest.raises(serr.NotFound):
        await first.sc.stat(PN)
    assert not second.deaths


async def test_one_that_is_deposed_dies(members: tuple[Member, Member]) -> None:
    """As soon as its file is gone, whoever removed it; its late writes are refused once another one leads."""
    first, second = members
    assert await first.leadership.lead()
    await second.sc.remove(PN)
    assert await asyncio.wait_for(second.leadership.lead(), WITHIN_S)
    async with asyncio.timeout(WITHIN_S):
        while not first.deaths:  # noqa: ASYNC110  # in life it is the end of the process
            await asyncio.sleep(0.01)
    assert first.deaths == [f"{PN}: leads no more"]
    with pytest.raises(serr.Stale):
        await first.sc.put_file(f"{STATE}/late", b"")
    await second.leadership.resign()


async def test_one_that_cannot_write_dies_alike(members: tuple[Member, Member]) -> None:
    member, _ = members
    assert await member.leadership.lead()
    member.leadership.die("the journal is full")
    assert member.deaths == [f"{PN}: the journal is full"]
    await member.leadership.resign()


def dead_process() -> OsProcess:
    """A process that was there."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as popen:
        process = OsProcess.of(popen.pid)
        popen.communicate(b"\n")
    assert process is not None
    return process


async def test_a_dead_leader_of_the_same_node_is_not_waited_for(realm: Realm, members: tuple[Member, Member]) -> None:
    """Its lease may last: here for ever, since the client that has it lives."""
    dead = LeaderData("dead", dead_process())
    leader = AsyncLeaderClnt(await realm.clnt(), PN)
    await leader.lead_and_fence(msgspec.json.encode(dead))
    member, _ = members
    assert await asyncio.wait_for(member.leadership.lead(), WITHIN_S)
    assert member.leadership.fence.epoch > leader.fence.epoch
    assert not await bury_dead(member.sc, PN)  # this one lives
    await member.leadership.resign()


async def test_of_another_machines_leader_nobody_can_say(realm: Realm) -> None:
    sc = await realm.clnt(NODE)
    far = msgspec.structs.replace(dead_process(), machine="another")
    leader = AsyncLeaderClnt(sc, PN)
    await leader.lead_and_fence(msgspec.json.encode(LeaderData("far", far)))
    assert not await bury_dead(sc, PN)
    await leader.release_leadership()


async def test_what_is_no_leader_of_a_group_is_left_alone(realm: Realm) -> None:
    sc = await realm.clnt(NODE)
    assert not await bury_dead(sc, PN)  # there is none
    leader = AsyncLeaderClnt(sc, PN)
    await leader.lead_and_fence(b"who knows")
    assert not await bury_dead(sc, PN)
    await leader.release_leadership()
