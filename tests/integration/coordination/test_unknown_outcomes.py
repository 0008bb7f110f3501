"""Answers that are lost: whoever does not know what became of a call finds out, and costs nobody else anything."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from sigmaos_ray import serr
from sigmaos_ray.barrierclnt import AsyncBarrier
from sigmaos_ray.electclnt import AsyncElectClnt
from sigmaos_ray.fslib.fidclnt import RemoteFid
from sigmaos_ray.lockclnt import AsyncLock
from sigmaos_ray.sigmap import Endpoint
from sigmaos_ray.sigmasrv import Advertisement

if TYPE_CHECKING:
    from realm import Realm

    from sigmaos_ray import AsyncSigmaClnt


class Losing:
    """The first calls of a method on the names given are of unknown outcome: they ran, or they did not."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, method: str, *, runs: bool, names: set[str]) -> None:
        self.names = names
        real = getattr(RemoteFid, method)

        async def losing(fid: RemoteFid, name: Any, *args: Any, **more: Any) -> Any:
            last = name if isinstance(name, str) else (name or [""])[-1]
            if last not in self.names:
                return await real(fid, name, *args, **more)
            self.names.discard(last)
            if runs:
                await real(fid, name, *args, **more)
            raise serr.IOErr(last, "a test")

        monkeypatch.setattr(RemoteFid, method, losing)


async def held(sc: AsyncSigmaClnt) -> tuple[AsyncLock, AsyncElectClnt]:
    """What a client has at stake: a lock, a leadership and a leased file."""
    lock, leader = AsyncLock(sc, "name/a"), AsyncElectClnt(sc, "name/leader")
    await lock.acquire()
    await leader.acquire_leadership()
    lease = await sc.leases.ask_lease("name/leased")
    lease.keep_extending()
    await sc.put_leased_file("name/leased", b"", lease)
    return lock, leader


async def check_held(realm: Realm, sc: AsyncSigmaClnt, lock: AsyncLock, leader: AsyncElectClnt) -> None:
    assert lock.is_held
    assert not leader.lost.is_set()
    other = await realm.clnt()
    for pn in ("name/a", "name/leader", "name/leased"):
        await other.stat(pn)
    with pytest.raises(serr.Timeout):
        await AsyncLock(other, "name/a").acquire(timeout_s=0)


@pytest.mark.parametrize("runs", [True, False])
async def test_a_lost_answer_costs_nothing_else(realm: Realm, monkeypatch: pytest.MonkeyPatch, runs: bool) -> None:
    """While another lock is acquired, and another leadership."""
    sc = await realm.clnt()
    lock, leader = await held(sc)
    losing = Losing(monkeypatch, "put_file", runs=runs, names={"b"})
    second = AsyncLock(sc, "name/b")
    await second.acquire(timeout_s=20)
    assert not losing.names
    assert second.is_held
    with pytest.raises(serr.Timeout):
        await AsyncLock(await realm.clnt(), "name/b").acquire(timeout_s=0)
    await check_held(realm, sc, lock, leader)
    losing = Losing(monkeypatch, "create_file", runs=runs, names={"second"})
    other = AsyncElectClnt(sc, "name/second")
    fence = await other.acquire_leadership(timeout_s=20)
    assert not losing.names
    assert fence
    await check_held(realm, sc, lock, leader)
    await second.release()
    await other.release_leadership()
    await check_held(realm, sc, lock, leader)


async def test_a_lost_answer_while_somebody_gives_up(realm: Realm, monkeypatch: pytest.MonkeyPatch) -> None:
    """What may have been made goes behind the caller."""
    sc = await realm.clnt()
    lock, leader = await held(sc)
    real = RemoteFid.put_file

    async def hanging(fid: RemoteFid, names: list[str], *args: Any, **more: Any) -> Any:
        count = await real(fid, names, *args, **more)
        if names and names[-1] == "b":
            await asyncio.Event().wait()
        return count

    monkeypatch.setattr(RemoteFid, "put_file", hanging)
    with pytest.raises(serr.Timeout):
        await AsyncLock(sc, "name/b").acquire(timeout_s=0.2)
    await sc.wait_remove("name/b", timeout_s=20)
    await check_held(realm, sc, lock, leader)


async def test_a_release_that_fails(realm: Realm, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock is free soon, since nobody keeps its lease, and can be released again, and taken again."""
    sc = await realm.clnt()
    lock = AsyncLock(sc, "name/lock")
    await lock.acquire()

    async def failing(pn: str, data: bytes) -> None:
        raise serr.Unreachable(pn, "a test")

    with monkeypatch.context() as patch:
        patch.setattr(sc, "remove_own", failing)
        with pytest.raises(serr.Unreachable):
            await lock.release()
    assert not lock.is_held
    other = AsyncLock(await realm.clnt(), "name/lock")
    await other.acquire(timeout_s=20)
    await lock.release()  # fine, and leaves the next holder's
    assert other.is_held
    with pytest.raises(serr.Inval):
        await lock.release()
    with pytest.raises(serr.Timeout):
        await lock.acquire(timeout_s=0)
    await other.release()
    await lock.acquire(timeout_s=20)
    await lock.release()


async def test_a_block_that_raises_frees_its_lock_though_the_lease_is_in_doubt(realm: Realm) -> None:
    sc = await realm.clnt()
    lock = AsyncLock(sc, "name/lock")

    async def failing() -> None:
        async with lock:
            assert lock._lease is not None
            lock._lease._ends_s -= lock._lease.ttl_s
            assert not lock.is_held
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await failing()
    await AsyncLock(await realm.clnt(), "name/lock").acquire(timeout_s=0)


async def test_a_lease_that_its_server_forgot_is_replaced(realm: Realm) -> None:
    """A lock's lease rests between its uses, and may be gone by the next one."""
    lock = AsyncLock(await realm.clnt(), "name/lock")
    await lock.acquire()
    await lock.release()
    assert lock._lease is not None
    first = lock._lease
    await _end_elsewhere(realm, first.id)
    await lock.acquire(timeout_s=20)
    assert lock._lease is not first
    await lock.release()


async def _end_elsewhere(realm: Realm, lease_id: int) -> None:
    other = await (await realm.clnt()).leases.ask_own_lease("name/x")
    other.id = lease_id  # whoever knows its number may end it
    await other.end()


@pytest.mark.parametrize("pn", ["name/barrier", "name/mem/barrier"])
async def test_a_barrier_is_used_again_by_parties_that_are_late(
    realm: Realm, monkeypatch: pytest.MonkeyPatch, pn: str
) -> None:
    """A party that looks late finds others back already, and waits for none of those."""
    parties, rounds = 3, 6
    clnts = [await realm.clnt() for _ in range(parties)]
    late = clnts[0]
    real = late.get_dir

    async def looking_late(directory: str) -> Any:
        await asyncio.sleep(0.05)
        return await real(directory)

    monkeypatch.setattr(late, "get_dir", looking_late)
    inside = 0

    async def party(barrier: AsyncBarrier) -> None:
        nonlocal inside
        for number in range(rounds):
            async with barrier:
                inside += 1
                assert inside > number * parties
            assert inside >= (number + 1) * parties

    barriers = [AsyncBarrier(sc, pn, parties) for sc in clnts]
    await asyncio.wait_for(asyncio.gather(*(party(barrier) for barrier in barriers)), 60)
    assert await clnts[1].get_dir(f"{pn}/") == []


async def test_a_barrier_whose_parties_all_died_serves_again(realm: Realm) -> None:
    """What let them in lets nobody else in."""
    dying = [await realm.clnt() for _ in range(2)]
    await asyncio.gather(*(AsyncBarrier(sc, "name/barrier", 2).enter(20) for sc in dying))
    for sc in dying:
        await sc.leases.end_leases()  # as time would
        await sc.close()
    first, second = [AsyncBarrier(await realm.clnt(), "name/barrier", 2) for _ in range(2)]
    with pytest.raises(serr.Timeout):
        await first.enter(timeout_s=0.3)
    await asyncio.wait_for(asyncio.gather(first.enter(), second.enter()), 20)
    await asyncio.wait_for(asyncio.gather(first.leave(), second.leave()), 20)


@pytest.mark.parametrize("runs", [True, False])
async def test_an_entry_of_unknown_fate_is_one_party(realm: Realm, monkeypatch: pytest.MonkeyPatch, runs: bool) -> None:
    first, second = [AsyncBarrier(await realm.clnt(), "name/barrier", 2) for _ in range(2)]
    real = RemoteFid.put_file
    lost: list[str] = []

    async def losing(fid: RemoteFid, names: list[str], *args: Any, **more: Any) -> Any:
        if not lost and "." in names[-1]:
            lost.append(names[-1])
            if runs:
                await real(fid, names, *args, **more)
            raise serr.IOErr(names[-1], "a test")
        return await real(fid, names, *args, **more)

    monkeypatch.setattr(RemoteFid, "put_file", losing)
    with pytest.raises(serr.Timeout):
        await first.enter(timeout_s=1)
    assert lost
    await asyncio.wait_for(asyncio.gather(first.enter(), second.enter()), 20)


async def test_a_server_that_stops_leaves_its_successors_name(realm: Realm) -> None:
    old_sc, sc = await realm.clnt(), await realm.clnt()
    here, there = Endpoint(addrs=("127.0.0.1:1",)), Endpoint(addrs=("127.0.0.1:2",))
    old = Advertisement(old_sc, "name/srv", here)
    await old.start()
    new = Advertisement(sc, "name/srv", there, replace=True)
    await new.start()
    await old.stop()
    assert await sc.read_endpoint("name/srv") == there
    await new.stop()
    with pytest.raises(serr.NotFound):
        await sc.stat("name/srv")


@pytest.mark.parametrize("runs", [True, False])
async def test_an_advertisement_of_unknown_fate(realm: Realm, monkeypatch: pytest.MonkeyPatch, runs: bool) -> None:
    sc = await realm.clnt()
    losing = Losing(monkeypatch, "put_file", runs=runs, names={"srv"})
    advertisement = Advertisement(sc, "name/srv", Endpoint(addrs=("127.0.0.1:1",)))
    await advertisement.start()
    assert not losing.names
    assert (await sc.read_endpoint("name/srv")).addrs == ("127.0.0.1:1",)
    await advertisement.stop()


async def test_an_advertisement_comes_back_for_as_long_as_it_takes(realm: Realm) -> None:
    """Also when its new lease lives and somebody else has the name for a while."""
    sc, other = await realm.clnt(), await realm.clnt()
    endpoint = Endpoint(addrs=("127.0.0.1:1",))
    advertisement = Advertisement(sc, "name/srv", endpoint)
    await advertisement.start()
    assert advertisement._lease is not None
    await advertisement._lease.end()
    await other.put_file("name/srv", b"taken")
    advertisement._lease._tell_lost()
    while advertisement._lease.is_over:  # noqa: ASYNC110  # it tries: nobody tells
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.3)
    assert await other.get_file("name/srv") == b"taken"
    await other.remove("name/srv")
    await other.wait_create("name/srv", timeout_s=20)
    assert await other.read_endpoint("name/srv") == endpoint
    await advertisement.stop()
