"""A directory's entries that are kept up to date (W-11)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from sigmaos_ray import serr
from sigmaos_ray.fslib import AsyncDirCache

if TYPE_CHECKING:
    from fslib_servers import Servers

    from sigmaos_ray.fslib import AsyncFsLib


async def test_it_follows_the_directory(sc: AsyncFsLib) -> None:
    await sc.mkdir("name/d")
    await sc.put_file("name/d/a", b"")
    async with AsyncDirCache[str](sc, "name/d", filters=(".",)) as cache:
        assert await cache.get_entries() == ["a"]
        await sc.put_file("name/d/b", b"")
        await sc.put_file("name/d/.hidden", b"")
        await cache.wait_entry_created("b", 30)
        assert await cache.wait_get_entries_n(2, 30) == ["a", "b"]
        await sc.remove("name/d/a")
        await cache.wait_entry_removed("a", 30)
        assert (await cache.get_entries(), await cache.nentry()) == (["b"], 1)
        with pytest.raises(serr.Timeout):
            await cache.wait_entries_n(2, 0.01)
        waiting = asyncio.create_task(cache.wait_all_entries_created(["x", "y"], 30))
        await sc.put_file("name/d/x", b"")
        await sc.put_file("name/d/y", b"")
        await waiting
        gone = asyncio.create_task(cache.wait_all_entries_removed(["x", "y"], 30))
        empty = asyncio.create_task(cache.wait_empty(30))
        await sc.rmdir_entries("name/d")
        await gone
        await empty
        with pytest.raises(serr.NotFound, match="no entry within"):
            await cache.wait_timed_random_entry(0.01)
    with pytest.raises(serr.Closed):
        await cache.get_entries()


async def test_values_are_made_once_for_each_appearance(sc: AsyncFsLib) -> None:
    await sc.mkdir("name/d")
    await sc.put_file("name/d/a", b"")
    made: list[str] = []

    async def new_value(name: str) -> int:
        await asyncio.sleep(0)
        made.append(name)
        return len(made)

    cache: AsyncDirCache[int] = AsyncDirCache(sc, "name/d", new_value)
    async with cache:
        assert await cache.lookup_entry("a") is None
        assert await asyncio.gather(*(cache.get_entry("a") for _ in range(5))) == [1] * 5
        assert await cache.lookup_entry("a") == 1
        await sc.remove("name/d/a")
        await cache.wait_entry_removed("a", 30)
        with pytest.raises(serr.NotFound, match="name/d/a"):
            await cache.get_entry("a")
        await sc.put_file("name/d/a", b"")
        await cache.wait_entry_created("a", 30)
        assert await cache.get_entry("a") == 2
        assert await cache.invalidate_entry("a")
        assert not await cache.invalidate_entry("a")
    assert made == ["a", "a"]


async def test_a_value_that_fails_is_tried_again(sc: AsyncFsLib) -> None:
    await sc.mkdir("name/d")
    await sc.put_file("name/d/a", b"")
    failures = [serr.Unreachable("first")]

    def new_value(name: str) -> str:
        if failures:
            raise failures.pop()
        return name.upper()

    async with AsyncDirCache(sc, "name/d", new_value) as cache:
        with pytest.raises(serr.Unreachable, match="first"):
            await cache.get_entry("a")
        assert await cache.get_entry("a") == "A"


async def test_all_get_the_same_share(sc: AsyncFsLib) -> None:
    await sc.mkdir("name/d")
    for name in "abc":
        await sc.put_file(f"name/d/{name}", b"")
    async with AsyncDirCache[str](sc, "name/d") as cache:
        assert [await cache.wait_timed_round_robin() for _ in range(6)] == list("abcabc")
        assert await cache.wait_timed_random_entry() in "abc"


async def test_no_difference_is_lost_when_the_watch_breaks(servers: Servers, sc: AsyncFsLib) -> None:
    other = servers.clnt()
    await sc.mkdir("name/d")
    await sc.put_file("name/d/a", b"")
    async with AsyncDirCache[str](sc, "name/d") as cache:
        assert await cache.get_entries() == ["a"]
        mount = await sc.core.mount_of(["name", "d"])
        mount.fid.session.abandon("cut by the test")
        await other.remove("name/d/a")
        await other.put_file("name/d/b", b"")
        await cache.wait_entry_created("b", 30)
        await cache.wait_entry_removed("a", 30)
        assert await cache.get_entries() == ["b"]


async def test_a_directory_that_cannot_be_read(sc: AsyncFsLib) -> None:
    """Those that wait hear of it; a later call tries again."""
    async with AsyncDirCache[str](sc, "name/d") as cache:
        with pytest.raises(serr.NotFound):
            await cache.get_entries()
        await sc.mkdir("name/d")
        assert await cache.get_entries() == []
        waiting = asyncio.create_task(cache.wait_entry_created("x"))
        await asyncio.sleep(0)
        await sc.remove("name/d")
        with pytest.raises(serr.NotFound):
            await waiting
