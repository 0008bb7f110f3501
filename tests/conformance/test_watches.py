"""Watches, as every server must do them (section W)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from sigmaos_ray import serr

if TYPE_CHECKING:
    from conftest import Tree

MIB = 1 << 20


async def names(tree: Tree, pn: str | None = None) -> list[str]:
    return [stat.name for stat in await tree.sc.get_dir(pn or tree.root)]


async def test_a_watch_tells_each_change_once_in_order(tree: Tree) -> None:
    """W-2, W-12 (R): also a rename within the directory."""
    await tree.sc.put_file(tree / "old", b"")
    async with tree.sc.watch_dir(tree.root) as watch:
        await tree.sc.put_file(tree / "a", b"")
        await tree.sc.put_file(tree / "a", b"again")
        await tree.sc.rename(tree / "a", tree / "b")
        await tree.sc.remove(tree / "b")
        await tree.sc.mkdir(tree / "d")
        await tree.sc.put_file(tree / "d/deeper", b"")
        seen = [await watch.next_event(5) for _ in range(5)]
        assert [(event.kind, event.name) for event in seen] == [
            ("created", "a"),
            ("removed", "a"),
            ("created", "b"),
            ("removed", "b"),
            ("created", "d"),
        ]
        with pytest.raises(serr.Timeout):
            await watch.next_event(0.05)


async def test_the_end_of_a_watched_directory_ends_its_watches(tree: Tree) -> None:
    """W-4 (R)."""
    await tree.sc.mkdir(tree / "d")
    async with tree.sc.watch_dir(tree / "d") as watch:
        await tree.sc.remove(tree / "d")
        with pytest.raises(serr.Closed):
            await watch.next_event(5)


async def test_wait_create_and_remove(tree: Tree) -> None:
    """W-6, W-7."""
    await tree.sc.put_file(tree / "f", b"")
    await tree.sc.wait_create(tree / "f", 0)
    await tree.sc.wait_remove(tree / "never", 0)
    for call in (tree.sc.wait_create(tree / "g", 0), tree.sc.wait_remove(tree / "f", 0.05)):
        with pytest.raises(serr.Timeout):
            await call
    for call in (tree.sc.wait_create(tree / "no/g", 5), tree.sc.wait_remove(tree / "no/g", 5)):
        with pytest.raises(serr.NotFound):
            await call
    waiting = [asyncio.create_task(tree.sc.wait_create(tree / "g", 5)) for _ in range(10)]
    waiting += [asyncio.create_task(tree.sc.wait_remove(tree / "f", 5)) for _ in range(10)]
    await tree.sc.put_file(tree / "g", b"")
    await tree.sc.remove(tree / "f")
    await asyncio.gather(*waiting)


async def test_waits_race_with_changes(tree: Tree) -> None:
    """W-8: a change between looking and watching is not missed."""
    for number in range(30):
        pn = tree / f"f{number}"
        waits = asyncio.gather(*(tree.sc.wait_create(pn, 5) for _ in range(3)))
        await asyncio.gather(tree.sc.put_file(pn, b""), tree.sc.put_file(tree / f"other{number}", b""))
        await waits
        gone = asyncio.gather(*(tree.sc.wait_remove(pn, 5) for _ in range(3)))
        await asyncio.gather(tree.sc.remove(pn), tree.sc.remove(tree / f"other{number}"))
        await gone


async def test_wait_entries(tree: Tree) -> None:
    waiting = asyncio.create_task(tree.sc.wait_entries(tree.root, 3, 5))
    for name in "abc":
        await tree.sc.put_file(tree / name, b"")
    assert await waiting == ["a", "b", "c"]
