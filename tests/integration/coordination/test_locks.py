"""Locks and barriers (Y-6)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from sigmaos_ray import serr
from sigmaos_ray.barrierclnt import AsyncBarrier
from sigmaos_ray.electclnt import AsyncElectClnt
from sigmaos_ray.lockclnt import AsyncLock

if TYPE_CHECKING:
    from realm import Realm

    from sigmaos_ray import AsyncSigmaClnt


@pytest.mark.parametrize("pn", ["name/lock", "name/mem/lock"])
async def test_one_holds_it_at_a_time(realm: Realm, pn: str) -> None:
    inside = 0
    rounds = 0

    async def rival(sc: AsyncSigmaClnt) -> None:
        nonlocal inside, rounds
        lock = AsyncLock(sc, pn)
        for _ in range(5):
            async with lock:
                inside += 1
                assert inside == 1
                await asyncio.sleep(0)
                inside -= 1
                rounds += 1

    await asyncio.gather(*[rival(await realm.clnt()) for _ in range(6)])
    assert rounds == 30


async def test_a_crash_frees_it(realm: Realm) -> None:
    dying = await realm.clnt()
    await AsyncLock(dying, "name/lock").acquire()
    lock = AsyncLock(await realm.clnt(), "name/lock")
    with pytest.raises(serr.Timeout):
        await lock.acquire(timeout_s=0.1)
    await dying.close()
    await lock.acquire(timeout_s=10)
    assert lock.is_held


@pytest.mark.parametrize("pn", ["name/lock", "name/mem/lock"])
async def test_a_late_release_leaves_the_next_holders_lock(realm: Realm, pn: str) -> None:
    late, lock = AsyncLock(await realm.clnt(), pn), AsyncLock(await realm.clnt(), pn)
    await late.acquire()
    await (await realm.clnt()).remove(pn)  # as the end of its lease would
    await lock.acquire(timeout_s=10)
    with pytest.raises(serr.Inval, match="lost"):
        await late.release()
    with pytest.raises(serr.Timeout):
        await AsyncLock(await realm.clnt(), pn).acquire(timeout_s=0)
    await lock.release()


@pytest.mark.parametrize("ticks_count", range(1, 24))
async def test_giving_up_at_any_moment_leaves_nothing(realm: Realm, ticks_count: int) -> None:
    """Cancelled while the file is being made: it does not stay, kept alive by a lease, with nobody who knows."""
    sc = await realm.clnt()
    acquiring = asyncio.create_task(AsyncLock(sc, "name/lock").acquire())
    leading = asyncio.create_task(AsyncElectClnt(sc, "name/leader").acquire_leadership())
    await sc.get_dir("name/")
    for _ in range(ticks_count):
        await asyncio.sleep(0.0005)
    for task in (acquiring, leading):
        task.cancel()
    acquired, led = await asyncio.gather(acquiring, leading, return_exceptions=True)
    made = {name for name, ended in (("lock", acquired), ("leader", led)) if not isinstance(ended, BaseException)}
    # What is undone is done as a rule when the call returns, and behind it on a machine that is busy.
    async with asyncio.timeout(20):
        while {stat.name for stat in await sc.get_dir("name/")} & {"lock", "leader"} != made:  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(0.01)


async def test_wrong_use(realm: Realm) -> None:
    sc = await realm.clnt()
    lock = AsyncLock(sc, "name/lock")
    with pytest.raises(serr.Inval, match="not held"):
        await lock.release()
    await lock.acquire(timeout_s=0)
    with pytest.raises(serr.Inval, match="held by us"):
        await lock.acquire()
    with pytest.raises(serr.Timeout):
        await AsyncLock(sc, "name/lock").acquire(timeout_s=0)
    with pytest.raises(serr.NotFound):
        await AsyncLock(sc, "name/nosuch/lock").acquire()
    await lock.release()
    assert not lock.is_held


async def test_an_exception_inside_frees_it(realm: Realm) -> None:
    sc = await realm.clnt()
    with pytest.raises(ZeroDivisionError):
        async with AsyncLock(sc, "name/lock"):
            raise ZeroDivisionError
    await AsyncLock(sc, "name/lock").acquire(timeout_s=0)


@pytest.mark.parametrize("pn", ["name/barrier", "name/mem/barrier"])
async def test_all_enter_together_and_leave_together(realm: Realm, pn: str) -> None:
    """Several times over the same directory."""
    parties = 5
    entered = left = 0

    async def party(sc: AsyncSigmaClnt) -> None:
        nonlocal entered, left
        for number in range(1, 4):
            barrier = AsyncBarrier(sc, pn, parties)
            entered += 1
            async with barrier:
                assert entered == number * parties
                left += 1
            assert left == number * parties

    await asyncio.wait_for(asyncio.gather(*[party(await realm.clnt()) for _ in range(parties)]), 20)


async def test_a_party_that_gives_up_does_not_count(realm: Realm) -> None:
    first, second, third = [AsyncBarrier(await realm.clnt(), "name/barrier", 2) for _ in range(3)]
    with pytest.raises(serr.Timeout):
        await first.enter(timeout_s=0.1)
    with pytest.raises(serr.Timeout):  # not let in by the one that left
        await second.enter(timeout_s=0.2)
    await asyncio.wait_for(asyncio.gather(second.enter(), third.enter()), 10)


async def test_a_party_that_died_does_not_hold_the_others(realm: Realm) -> None:
    dying = await realm.clnt()
    first, second = AsyncBarrier(dying, "name/barrier", 2), AsyncBarrier(await realm.clnt(), "name/barrier", 2)
    await asyncio.gather(first.enter(), second.enter())
    await dying.close()
    await asyncio.wait_for(second.leave(), 10)


async def test_a_barrier_of_nobody(realm: Realm) -> None:
    with pytest.raises(serr.Inval):
        AsyncBarrier(await realm.clnt(), "name/barrier", 0)
