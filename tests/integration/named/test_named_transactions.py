"""Transactions on named: all changes or none, conditions on versions, names that count up."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from sigmaos_ray import serr
from sigmaos_ray.electclnt import AsyncElectClnt
from sigmaos_ray.fslib import Check, Create, Put, Remove
from sigmaos_ray.leaseclnt import AsyncLeaseClnt
from sigmaos_ray.sigmap import DMDIR, Fence

if TYPE_CHECKING:
    from harness import Realm

    from sigmaos_ray.fslib import Change
    from sigmaos_ray.sigmaclnt import AsyncSigmaClnt


async def listing(sc: AsyncSigmaClnt, pn: str) -> dict[str, bytes]:
    return {entry.name: await sc.get_file(f"{pn}/{entry.name}") for entry in await sc.get_dir(pn) if not entry.is_dir}


async def prepared(sc: AsyncSigmaClnt) -> int:
    """A directory with two files and a directory in it; the version of the first file."""
    await sc.mkdir("name/d")
    await sc.mkdir("name/d/sub")
    await sc.put_file("name/d/one", b"1")
    await sc.put_file("name/d/two", b"2")
    return (await sc.stat("name/d/one")).qid.version


async def test_all_changes_at_one_moment(realm: Realm) -> None:
    sc = await realm.clnt(await realm.named())
    version = await prepared(sc)
    async with sc.watch_dir("name/d") as watch:
        created, put, removed, checked = await sc.transact(
            [
                Create("name/d/sub/new", b"n"),
                Put("name/d/two", b"22"),
                Remove("name/d/one", version),
                Check("name/d/sub"),
            ]
        )
        event = await anext(aiter(watch))
    assert (event.kind, event.name) == ("removed", "one")
    assert await listing(sc, "name/d") == {"two": b"22"}
    assert await listing(sc, "name/d/sub") == {"new": b"n"}
    assert (created.pathname, removed.pathname, removed.version) == ("name/d/sub/new", "name/d/one", 0)
    assert created.version == put.version == (await sc.stat("name/d/two")).qid.version
    assert checked.version == (await sc.stat("name/d/sub")).qid.version


@pytest.mark.parametrize(
    ("bad", "error", "about"),
    [
        (Create("name/d/one"), serr.Exists, "name/d/one"),
        (Put("name/d/none", b"x"), serr.NotFound, "name/d/none"),
        (Put("name/d/two", b"x", version=1), serr.Version, "name/d/two"),
        (Put("name/d/sub", b"x"), serr.IsDir, "name/d/sub"),
        (Remove("name/d/two", version=1), serr.Version, "name/d/two"),
        (Remove("name/d/none"), serr.NotFound, "name/d/none"),
        (Remove("name/full"), serr.NotEmpty, "name/full"),
        (Check("name/d/none"), serr.NotFound, "name/d/none"),
        (Check("name/d/two", version=1), serr.Version, "name/d/two"),
        (Create("name/d/leased", lease=12345), serr.NotFound, None),
        (Create("name/d/dir", b"data", perm=DMDIR | 0o777), serr.Inval, "name/d/dir"),
        (Create("name/nowhere/x"), serr.NotFound, None),
        (Create("name/d/new"), serr.Inval, None),
        (Create("name/d/other/x"), serr.Inval, None),
        (Create("name"), serr.Inval, "name"),
    ],
)
async def test_one_bad_change_and_none_is_made(
    realm: Realm, bad: Change, error: type[serr.SigmaError], about: str | None
) -> None:
    named = await realm.named()
    sc = await realm.clnt(named)
    await prepared(sc)
    for directory in ("name/full", "name/d/other"):
        await sc.mkdir(directory)
    await sc.put_file("name/full/f", b"")
    await sc.put_file("name/d/three", b"3")
    version = (await sc.stat("name/d/three")).qid.version
    before = set(await realm.keys())
    good: list[Change] = [Create("name/d/new", b"n"), Put("name/d/three", b"33", version), Remove("name/d/other")]
    with pytest.raises(error) as raised:
        await sc.transact([*good, bad])
    assert about is None or raised.value.obj == about
    assert await listing(sc, "name/d") == {"one": b"1", "two": b"2", "three": b"3"}
    assert (await sc.stat("name/d/other")).is_dir
    assert set(await realm.keys()) == before
    assert len(named.fs.locks) == 0


async def test_servers_that_cannot_say_so(realm: Realm) -> None:
    named = await realm.named()
    sc = await realm.clnt(named)
    assert await sc.transact([]) == []
    with pytest.raises(serr.NotSupported):
        await sc.transact([Create("name/.fences/x")])
    with pytest.raises(serr.Inval, match="33 changes"):
        await sc.transact([Create(f"name/ux/{number}") for number in range(33)])
    with pytest.raises(serr.Inval, match="bytes"):
        await sc.transact([Create(f"name/ux/{number}", bytes(600_000)) for number in range(2)])
    assert await sc.get_dir("name/ux") == []


async def test_a_fence_holds_for_all(realm: Realm) -> None:
    named = await realm.named()
    sc, newer = await realm.clnt(named), await realm.clnt(named)
    await sc.fence_dir("name/ux", Fence("name/leader", 3))
    await sc.transact([Create("name/ux/a", b"1"), Create("name/db/b", b"1")])
    await newer.fence_dir("name/ux", Fence("name/leader", 4))
    await newer.put_file("name/ux/newer", b"")
    with pytest.raises(serr.Stale):
        await sc.transact([Create("name/db/c"), Put("name/ux/a", b"2")])
    assert await newer.get_file("name/ux/a") == b"1"
    assert [entry.name for entry in await sc.get_dir("name/db")] == ["b"]


async def test_the_fences_of_all_directories_hold(realm: Realm) -> None:
    """Of a transaction, and of a rename, between two leaderships: who lost one of them changes nothing in either."""
    named = await realm.named()
    sc, newer = await realm.clnt(named), await realm.clnt(named)
    candidates = [AsyncElectClnt(sc, f"name/leader-{number}") for number in (1, 2)]
    for directory, candidate in zip(("name/one", "name/two"), candidates, strict=True):
        await sc.mkdir(directory)
        await sc.fence_dir(directory, await candidate.acquire_leadership())
    await sc.transact([Create("name/one/a", b"1"), Create("name/two/b", b"1"), Create("name/free")])
    await sc.rename("name/one/a", "name/two/a")
    await candidates[1].release_leadership()
    await sc.put_file("name/one/f", b"")
    with pytest.raises(serr.Stale, match="name/leader-2"):
        await sc.transact([Create("name/one/c"), Put("name/two/b", b"2")])
    for here, there in (("name/one/f", "name/two/f"), ("name/two/a", "name/one/a")):
        with pytest.raises(serr.Stale, match="name/leader-2"):
            await sc.rename(here, there)
    async with AsyncElectClnt(newer, "name/leader-2"):
        with pytest.raises(serr.Stale, match="name/leader-2"):
            await sc.transact([Create("name/one/c"), Put("name/two/b", b"2")])
    assert await listing(newer, "name/one") == {"f": b""}
    assert await listing(newer, "name/two") == {"a": b"1", "b": b"1"}


async def test_of_two_with_one_version_one_wins(realm: Realm) -> None:
    """Compare and set: a counter that many count up misses none."""
    named = await realm.named()
    clients = [await realm.clnt(named) for _ in range(4)]
    await clients[0].put_file("name/count", b"0")

    async def count_up(sc: AsyncSigmaClnt) -> None:
        for _ in range(10):
            while True:
                version = (await sc.stat("name/count")).qid.version
                value = int(await sc.get_file("name/count"))
                try:
                    await sc.transact([Put("name/count", str(value + 1).encode(), version)])
                except serr.Version:
                    continue
                break

    await asyncio.gather(*(count_up(sc) for sc in clients))
    assert await clients[0].get_file("name/count") == b"40"


# -- names that count up


async def test_sequential_names(realm: Realm) -> None:
    """The numbers are the directory's, whatever the prefix; none is given twice, also by another leader, and after a
    refused transaction, or where somebody has the name."""
    named = await realm.named()
    sc = await realm.clnt(named)
    await sc.mkdir("name/q")

    async def make(prefix: str, count: int = 1) -> list[str]:
        done = await sc.transact([Create(f"name/q/{prefix}", b"x", sequential=True)] * count)
        return [each.pathname.removeprefix("name/q/") for each in done]

    assert await make("a-", 2) == ["a-0000000000", "a-0000000001"]
    assert await make("b-") == ["b-0000000002"]
    await sc.put_file("name/q/a-0000000003", b"taken")
    assert await make("a-") == ["a-0000000004"]
    assert await sc.get_file("name/q/a-0000000003") == b"taken"
    with pytest.raises(serr.Exists):
        await sc.transact([Create("name/q/a-", sequential=True), Create("name/q/b-0000000002")])
    await sc.remove("name/q/a-0000000004")
    [after] = await make("")
    assert int(after) > 4
    await named.stop()
    sc = await realm.clnt(await realm.named())
    [last] = await make("c-")
    assert int(last.removeprefix("c-")) > int(after)
    await sc.mkdir("name/other")
    [own] = await sc.transact([Create("name/other/d-", perm=DMDIR | 0o777, sequential=True)])
    assert own.pathname == "name/other/d-0000000000"


async def test_who_sees_a_number_sees_the_smaller_ones(realm: Realm) -> None:
    """What locks and queues are built on: at no moment has an entry come whose number is smaller than one that was
    there already."""
    named = await realm.named()
    clients = [await realm.clnt(named) for _ in range(4)]
    await clients[0].mkdir("name/q")
    seen: list[str] = []

    async def look() -> None:
        async with clients[0].watch_dir("name/q") as watch:
            async for event in watch:
                seen.append(event.name)
                if len(seen) == 120:
                    return

    async def make(sc: AsyncSigmaClnt, number: int) -> None:
        lease = await AsyncLeaseClnt(sc).ask_lease("name/q", 5) if number % 2 else None
        await sc.transact([Create(f"name/q/{number % 3}-", lease=lease, sequential=True)])

    looking = asyncio.create_task(look())
    await clients[1].put_file("name/q/begin", b"")
    await asyncio.gather(*(make(clients[number % 4], number) for number in range(119)))
    await asyncio.wait_for(looking, 10)
    numbers = [int(name[2:]) for name in seen if name != "begin"]
    assert numbers == sorted(numbers)
    assert len(set(numbers)) == 119


async def test_a_leased_entry_goes_with_its_lease(realm: Realm) -> None:
    named = await realm.named()
    sc = await realm.clnt(named)
    await sc.mkdir("name/q")
    leases = AsyncLeaseClnt(sc)
    lease = await leases.ask_lease("name/q", 5)
    await sc.transact([Create("name/q/e-", lease=lease, sequential=True), Create("name/q/stays")])
    assert len(await sc.get_dir("name/q")) == 2
    await lease.end()
    assert [entry.name for entry in await sc.get_dir("name/q")] == ["stays"]
