"""Election and leadership (L-21 to L-32)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from sigmaos_ray import serr
from sigmaos_ray.electclnt import AsyncElectClnt
from sigmaos_ray.leaderclnt import AsyncLeaderClnt
from sigmaos_ray.sigmap import NO_FENCE, OTRUNC, OWRITE

if TYPE_CHECKING:
    from realm import Realm

    from sigmaos_ray import AsyncSigmaClnt

PN = "name/elections/here"


async def test_one_leads_until_it_releases(realm: Realm) -> None:
    """L-30: the file holds what the leader said, its directories are made, and it goes at the release."""
    first, second = [AsyncElectClnt(await realm.clnt(), PN) for _ in range(2)]
    sc = await realm.clnt()
    fence = await first.acquire_leadership(b"first")
    assert fence.pathname == PN
    assert await sc.get_file(PN) == b"first"
    with pytest.raises(serr.Timeout):
        await second.acquire_leadership(timeout_s=0)
    with pytest.raises(serr.Timeout):
        await second.acquire_leadership(timeout_s=0.2)
    waiting = asyncio.create_task(second.acquire_leadership(b"second"))
    await first.release_leadership()
    newer = await asyncio.wait_for(waiting, 10)
    assert newer.epoch > fence.epoch  # L-31
    assert await sc.get_file(PN) == b"second"
    assert first.lost.is_set()
    assert not second.lost.is_set()
    await first.release_leadership()  # not its file any more
    assert await sc.get_file(PN) == b"second"
    await second.release_leadership()
    with pytest.raises(serr.NotFound):
        await sc.stat(PN)


async def test_everyone_leads_once(realm: Realm) -> None:
    """Ten rivals, one at a time, in growing epochs."""
    led: list[int] = []
    inside = 0

    async def rival(sc: AsyncSigmaClnt) -> None:
        nonlocal inside
        async with AsyncElectClnt(sc, PN) as elect:
            inside += 1
            assert inside == 1
            led.append(elect.fence.epoch)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*[rival(await realm.clnt()) for _ in range(10)])
    assert len(led) == 10
    assert led == sorted(led)


async def test_an_election_through_a_linked_directory(realm: Realm) -> None:
    """L-31: it is one with that of the directory itself; the leader leads on, and its fence is named's."""
    first, second, third = [await realm.clnt() for _ in range(3)]
    await first.mkdir("name/elections")
    await first.symlink("name/elections", "name/linked")
    leader = AsyncLeaderClnt(first, "name/linked/here")
    fence = await leader.lead_and_fence(dirs=["name/linked/"])
    assert fence.pathname == PN
    with pytest.raises(serr.Timeout):
        await AsyncElectClnt(second, PN).acquire_leadership(timeout_s=0.2)
    assert not leader.lost.is_set()
    await first.put_file("name/linked/f", b"the leader's")
    waiting = asyncio.create_task(AsyncLeaderClnt(third, PN).lead_and_fence(dirs=["name/elections"]))
    await second.remove(PN)
    await asyncio.wait_for(leader.lost.wait(), 10)
    await asyncio.wait_for(waiting, 10)
    for pn in ("name/linked/f", "name/elections/f"):
        with pytest.raises(serr.Stale):
            await first.put_file(pn, b"a former leader's")


async def test_elections_whose_names_are_alike(realm: Realm) -> None:
    """L-31: in ``/`` and ``-`` only: each has its leader, and its fence."""
    clients = [await realm.clnt() for _ in range(2)]
    elections = [AsyncElectClnt(sc, pn) for sc, pn in zip(clients, ("name/a/b-c", "name/a-b/c"), strict=True)]
    fences = [await elect.acquire_leadership() for elect in elections]
    assert [elect.lost.is_set() for elect in elections] == [False, False]
    assert set(fences) <= set(await clients[0].get_fences("name/"))
    await elections[1].release_leadership()
    assert not elections[0].lost.is_set()
    await elections[0].release_leadership()


async def test_a_leader_elected_again_is_not_stale(realm: Realm) -> None:
    """L-24: whichever name its directory was fenced by before."""
    sc, other = await realm.clnt(), await realm.clnt()
    await sc.makedirs("name/dir")
    await sc.symlink("name/dir", "name/way")
    leader, rival = AsyncLeaderClnt(sc, PN), AsyncLeaderClnt(other, PN)
    old = await leader.lead_and_fence(dirs=["name/way/"])
    await sc.fence_dir("name/way/", old)
    await leader.release_leadership()
    await rival.lead_and_fence(dirs=["name/dir"])
    with pytest.raises(serr.Stale):
        await sc.put_file("name/way/f", b"")
    await rival.release_leadership()
    await leader.lead_and_fence(dirs=["name/dir"])
    for pn in ("name/way/f", "name/dir/f"):
        await sc.put_file(pn, b"elected again")


async def test_a_dead_leader_is_replaced(realm: Realm) -> None:
    """L-31: within its lease. Closing a client leaves its leases to expire, as a crash does."""
    dying = await realm.clnt()
    await AsyncElectClnt(dying, PN).acquire_leadership(b"dying")
    waiting = asyncio.create_task(AsyncElectClnt(await realm.clnt(), PN).acquire_leadership())
    await dying.close()
    await asyncio.wait_for(waiting, 10)


async def test_a_leader_hears_that_it_leads_no_more(realm: Realm) -> None:
    elect = AsyncElectClnt(await realm.clnt(), PN)
    for _ in range(2):
        await elect.acquire_leadership()
        with pytest.raises(serr.Inval, match="already"):
            await elect.acquire_leadership()
        await (await realm.clnt()).remove(PN)
        await asyncio.wait_for(elect.lost.wait(), 10)


async def test_where_elections_are_held(realm: Realm) -> None:
    sc = await realm.clnt()
    for pn in ("name", "elsewhere/x"):
        with pytest.raises(serr.Inval):
            await AsyncElectClnt(sc, pn).acquire_leadership()
    with pytest.raises(serr.NotSupported, match="named"):
        await AsyncElectClnt(sc, "name/mem/leader").acquire_leadership()


# -- fences


async def all_are_stale(sc: AsyncSigmaClnt, directory: str) -> None:
    """What a deposed leader may try."""
    for call in (
        sc.put_file(f"{directory}/f", b"late"),
        sc.set_file(f"{directory}/f", b"late"),
        sc.create(f"{directory}/new"),
        sc.mkdir(f"{directory}/new"),
        sc.open(f"{directory}/f", OWRITE | OTRUNC),
        sc.rename(f"{directory}/f", f"{directory}/g"),
        sc.remove(f"{directory}/f"),
    ):
        with pytest.raises(serr.Stale):
            await call


@pytest.mark.parametrize("directory", ["name/fenced", "name/mem/fenced"])
async def test_a_deposed_leader_changes_nothing(realm: Realm, directory: str) -> None:
    """L-25: also through a descriptor that it opened while it led; reads still work."""
    old, new = await realm.clnt(), await realm.clnt()
    await old.mkdir(directory)
    leader = AsyncLeaderClnt(old, PN)
    await leader.lead_and_fence(dirs=[directory])
    await old.put_file(f"{directory}/f", b"old")
    fd = await old.open(f"{directory}/f", OWRITE)
    await (await realm.clnt()).remove(PN)  # as the end of its lease would
    successor = AsyncLeaderClnt(new, PN)
    await successor.lead_and_fence(dirs=[directory])
    await all_are_stale(old, directory)
    with pytest.raises(serr.Stale):
        await old.write(fd, b"late")
    assert await old.get_file(f"{directory}/f") == b"old"
    await new.put_file(f"{directory}/f", b"new")
    await (await realm.clnt()).put_file(f"{directory}/f", b"unfenced")
    assert [stat.name for stat in await new.get_dir(directory)] == ["f"]


async def test_release_leaves_the_marks_until_they_are_taken_off(realm: Realm) -> None:
    sc = await realm.clnt()
    await sc.mkdir("name/fenced")
    leader = AsyncLeaderClnt(sc, PN)
    await leader.lead_and_fence(dirs=["name/fenced"])
    await sc.put_file("name/fenced/f", b"x")
    await leader.release_leadership()
    await all_are_stale(sc, "name/fenced")
    await leader.unfence()
    await sc.put_file("name/fenced/f", b"y")


async def test_a_server_that_cannot_be_told_ends_the_leadership(realm: Realm) -> None:
    leader = AsyncLeaderClnt(await realm.clnt(), PN)
    with pytest.raises(serr.NotFound):
        await leader.lead_and_fence(dirs=["name/nosuch"])
    await AsyncElectClnt(await realm.clnt(), PN).acquire_leadership(timeout_s=5)


async def test_an_epoch_that_never_was(realm: Realm) -> None:
    sc = await realm.clnt()
    await sc.mkdir("name/fenced")
    leader = AsyncLeaderClnt(sc, PN)
    fence = await leader.lead_and_fence(dirs=["name/fenced"])
    forged = type(fence)(PN, fence.epoch + 1)
    other = await realm.clnt()
    await other.fence_dir("name/fenced", forged)
    with pytest.raises(serr.Stale, match="nobody led"):
        await other.put_file("name/fenced/f", b"x")
    await sc.put_file("name/fenced/f", b"still mine")
    await sc.fence_dir("name/fenced", NO_FENCE)
