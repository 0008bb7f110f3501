"""What holds when named's leader fails and a standby takes over (D-6, D-7, D-8, S-7, L-5, W-10).

| the leader is | what holds | test |
|---|---|---|
| killed, stopped, cut off, resigning | calls by pathname go on; nothing acknowledged is lost | test_clients_go_on |
| stopped past its lease, and wakes up | nothing is answered that was read, nothing done | test_a_leader_that_wakes_up |
| cut off from etcd | after its lease it answers Closed, to reads too | test_a_leader_that_is_cut_off |
| stopped with a write under way | the writer is told IOErr; no repetition | test_an_interrupted_write |
| killed, stopped | a client that knows nothing but some nameds' addresses goes on | test_a_list_of_addresses |
| stopped | a watch ends with a session error; a wait goes on | test_watches |
| killed, with a dead standby next in line | the third one leads, at once | test_a_dead_standby |
| stopped, cut off | leases live on that are as short as its own | test_leases_as_short_as_the_leaders_own |
| killed while it is written to | the standby's copy is complete | test_the_standby_is_hot |
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import TYPE_CHECKING

import pytest
from nameds import LEASE_S, Nameds

from sigmaos_ray import serr
from sigmaos_ray.fslib import Create
from sigmaos_ray.leaseclnt import AsyncLease, AsyncLeaseClnt
from sigmaos_ray.sigmap import OAPPEND, OEXCL, OREAD, OWRITE, named_election

if TYPE_CHECKING:
    from pathlib import Path

    from etcd_child import EtcdChild
    from nameds import NamedChild

    from sigmaos_ray import AsyncSigmaClnt

APPEND = OWRITE | OAPPEND


def fail(leader: NamedChild, how: str) -> None:
    match how:
        case "killed":
            leader.send(signal.SIGKILL)
        case "stopped":
            leader.send(signal.SIGSTOP)
        case "cut off":
            leader.cut_off()
        case "resigns":
            leader.send(signal.SIGTERM)


@pytest.mark.parametrize("how", ["killed", "stopped", "cut off", "resigns"])
async def test_clients_go_on(nameds: Nameds, how: str) -> None:
    sc, other = await nameds.clnt(), await nameds.clnt()
    lease = await AsyncLeaseClnt(sc).ask_lease("name/ux/leased", 30)
    await sc.put_leased_file("name/ux/leased", b"lives", lease)
    for number in range(50):
        await sc.put_file(f"name/ux/{number}", str(number).encode())
    await other.get_dir("name/ux")
    leader = await nameds.leader()
    fail(leader, how)
    # Both of them were connected to it, and go on at once.
    reads = asyncio.gather(*(other.get_file(f"name/ux/{number}") for number in range(50)))
    assert await asyncio.wait_for(reads, 20) == [str(number).encode() for number in range(50)]
    made = await _transacted(sc, Create("name/ux/entry-", b"x", sequential=True))
    assert await sc.get_file(made) == b"x"
    await _written(sc, "name/ux/after", b"x")
    took_over = await nameds.leader(other_than=leader)
    assert await other.get_file("name/ux/after") == b"x"
    assert await other.get_file("name/ux/leased") == b"lives"
    await _ended(lease)
    await other.wait_remove("name/ux/leased", 10)
    listed = await other.get_dir(f"name/{named_election(nameds.realm)}")
    assert len(listed) == 1, "one leader's name"
    assert took_over is not leader


@pytest.mark.parametrize("how", ["killed", "stopped"])
@pytest.mark.parametrize("knows", ["all", "the standby"])
async def test_a_list_of_addresses(nameds: Nameds, how: str, knows: str) -> None:
    """No state file and no Ray: who is asked says who leads, or refuses; who does not answer is not waited for."""
    leader = await nameds.leader()
    [standby] = (child for child in nameds.children if child is not leader)
    sc = await nameds.clnt(*([leader, standby] if knows == "all" else [standby]))
    await sc.put_file("name/ux/f", b"x")
    assert [stat.name for stat in await sc.get_dir("name/ux")] == ["f"]
    fail(leader, how)
    late = await nameds.clnt(leader, standby)
    assert await asyncio.wait_for(late.get_file("name/ux/f"), 20) == b"x"
    await _written(sc, "name/ux/after", b"x")
    assert await nameds.leader(other_than=leader) is standby


async def _transacted(sc: AsyncSigmaClnt, create: Create) -> str:
    """Goes on by itself if it never ran; else its outcome may be lost on the way."""
    for _ in range(2):
        with contextlib.suppress(serr.IOErr):
            [made] = await asyncio.wait_for(sc.transact([create]), 20)
            return made.pathname
    raise AssertionError("lost twice")


async def _written(sc: object, pathname: str, data: bytes) -> None:
    """A write whose outcome may be lost on the way to the new leader; then it is asked for again."""
    try:
        await asyncio.wait_for(sc.put_file(pathname, data), 20)  # type: ignore[attr-defined]
    except serr.IOErr:
        await asyncio.wait_for(sc.put_file(pathname, data), 20)  # type: ignore[attr-defined]


async def _ended(lease: AsyncLease) -> None:
    """The first call may go to the former leader."""
    with contextlib.suppress(*serr.SESSION_ERRORS):
        await lease.end()
    await lease.end()


async def test_a_leader_that_wakes_up(etcd: EtcdChild, tmp_path: Path) -> None:
    """Requests that reach a stopped leader are answered when it goes on: not with what was true when it stopped."""
    async with Nameds(etcd.endpoint, tmp_path, stays=True) as nameds:
        leader = await nameds.leader()
        sc, knows_one = await nameds.clnt(), await nameds.clnt(leader)
        await sc.put_file("name/ux/f", b"old")
        fd = await knows_one.open("name/ux/f", OREAD)
        assert await knows_one.get_file("name/ux/f") == b"old"
        leader.send(signal.SIGSTOP)
        calls = [
            asyncio.create_task(call)
            for call in (
                knows_one.get_file("name/ux/f"),
                knows_one.stat("name/ux/f"),
                knows_one.get_dir("name/ux"),
                knows_one.read(fd, 10),
                knows_one.put_file("name/ux/late", b"", mode=OWRITE | OEXCL),
                knows_one.remove("name/ux/f"),
            )
        ]
        await nameds.leader(other_than=leader)
        await _written(sc, "name/ux/f", b"new")
        assert not any(task.done() for task in calls)
        leader.send(signal.SIGCONT)
        done, _ = await asyncio.wait(calls, timeout=20)
        for task in done:
            with pytest.raises(serr.SESSION_ERRORS):
                task.result()
        for task in calls[:4]:
            assert task in done, "a read is answered with an error"
        assert await sc.get_file("name/ux/f") == b"new"
        assert "late" not in {stat.name for stat in await sc.get_dir("name/ux")}


async def test_a_leader_that_is_cut_off(etcd: EtcdChild, tmp_path: Path) -> None:
    """While its lease lives it may answer reads; then it must not, though its clients still reach it."""
    async with Nameds(etcd.endpoint, tmp_path, stays=True) as nameds:
        leader = await nameds.leader()
        sc, knows_one = await nameds.clnt(), await nameds.clnt(leader)
        await sc.put_file("name/ux/f", b"old")
        fd = await knows_one.open("name/ux/f", OREAD)
        leader.cut_off()
        await nameds.leader(other_than=leader)
        await _written(sc, "name/ux/f", b"new")
        with pytest.raises(serr.NotLeading):
            await knows_one.read(fd, 10)
        leader.link.down = False  # etcd is there again: too late
        with pytest.raises(serr.SESSION_ERRORS):
            await knows_one.read(fd, 10)
        assert await sc.get_file("name/ux/f") == b"new"


@pytest.mark.parametrize("how", ["stopped", pytest.param("cut off", marks=pytest.mark.soak)])
async def test_leases_as_short_as_the_leaders_own(nameds: Nameds, how: str) -> None:
    """L-5: a client that extends its lease in time keeps its files, though nobody takes the extension for a while."""
    sc, other = await nameds.clnt(), await nameds.clnt()
    lease = await AsyncLeaseClnt(sc).ask_lease("name/ux/leased", LEASE_S)
    lease.keep_extending()
    await sc.put_leased_file("name/ux/leased", b"lives", lease)
    async with other.watch_dir("name/ux"):
        leader = await nameds.leader()
        fail(leader, how)
        await nameds.leader(other_than=leader)
        assert await other.get_file("name/ux/leased") == b"lives"
        await asyncio.sleep(2 * LEASE_S)  # past its end, had it not been extended since
        assert await other.get_file("name/ux/leased") == b"lives"
    await _ended(lease)


async def test_an_interrupted_write(nameds: Nameds) -> None:
    """D-8: sent to a leader that does not answer any more. It may or may not have run; it never runs twice."""
    sc = await nameds.clnt()
    await sc.put_file("name/ux/log", b"")
    leader = await nameds.leader()
    appends = [asyncio.create_task(sc.put_file("name/ux/log", b"%d\n" % n, mode=APPEND)) for n in range(3)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    leader.send(signal.SIGSTOP)
    outcomes = await asyncio.wait_for(asyncio.gather(*appends, return_exceptions=True), 20)
    lines = (await sc.get_file("name/ux/log")).split()
    assert len(lines) == len(set(lines)), "an append ran twice"
    for number, outcome in enumerate(outcomes):
        assert isinstance(outcome, int | serr.IOErr), outcome
        if isinstance(outcome, int):
            assert b"%d" % number in lines, "an acknowledged append is lost"


async def test_watches(nameds: Nameds) -> None:
    sc = await nameds.clnt()
    leader = await nameds.leader()
    waiting = asyncio.create_task(sc.wait_create("name/ux/later", 30))
    async with sc.watch_dir("name/ux") as watch:
        leader.send(signal.SIGSTOP)
        with pytest.raises(serr.SESSION_ERRORS):
            await watch.read(20)
    await _written(sc, "name/ux/later", b"")
    await waiting


async def test_a_dead_standby(etcd: EtcdChild, tmp_path: Path) -> None:
    async with Nameds(etcd.endpoint, tmp_path, count=3) as nameds:
        sc = await nameds.clnt()
        await sc.put_file("name/ux/f", b"x")
        candidates = await nameds.until(lambda candidates: len(candidates) == 3)
        by_address = {child.address: child for child in nameds.children}
        first, second, third = (by_address[candidate.endpoint.addrs[0]] for candidate in candidates)
        second.send(signal.SIGKILL)
        first.send(signal.SIGKILL)
        assert await sc.get_file("name/ux/f") == b"x"
        assert await nameds.leader() is third


async def test_the_standby_is_hot(nameds: Nameds) -> None:
    """What it serves right after it took over is what was acknowledged right before, in all kinds of changes."""
    sc = await nameds.clnt()
    for _ in range(3):
        await sc.mkdir("name/t")
        for number in range(30):
            await sc.put_file(f"name/t/f{number}", b"first")
        await asyncio.gather(*(sc.put_file(f"name/t/f{number}", b"second") for number in range(10)))
        await asyncio.gather(*(sc.remove(f"name/t/f{number}") for number in range(10, 20)))
        await asyncio.gather(*(sc.rename(f"name/t/f{number}", f"name/t/g{number}") for number in range(20, 25)))
        await sc.rename("name/t/f25", "name/t/f26")
        before = {stat.name: await sc.get_file(f"name/t/{stat.name}") for stat in await sc.get_dir("name/t")}
        leader = await nameds.leader()
        leader.send(signal.SIGKILL)
        after = {stat.name: await sc.get_file(f"name/t/{stat.name}") for stat in await sc.get_dir("name/t")}
        assert after == before
        assert len(after) == 19
        await nameds.replace(leader)
        await sc.rmdir("name/t")
