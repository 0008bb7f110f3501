"""Semaphores on every server that has watches (section Y)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from sigmaos_ray import serr
from sigmaos_ray.semclnt import AsyncSemaphore

if TYPE_CHECKING:
    from conftest import Tree


async def test_down_blocks_until_up_and_stays_up(tree: Tree) -> None:
    """Y-1, Y-3, Y-4."""
    semaphore = AsyncSemaphore(tree.sc, tree / "sem")
    await semaphore.init()
    await semaphore.init()
    with pytest.raises(serr.Timeout):
        await semaphore.down(0.05)
    waiting = [asyncio.create_task(AsyncSemaphore(tree.sc, tree / "sem").down(5)) for _ in range(20)]
    await semaphore.up()
    await asyncio.gather(*waiting)
    await semaphore.down(0)
    with pytest.raises(serr.NotFound):
        await semaphore.up()


async def test_up_races_with_down(tree: Tree) -> None:
    for number in range(50):
        semaphore = AsyncSemaphore(tree.sc, tree / f"sem{number}")
        await semaphore.init()
        await asyncio.wait_for(asyncio.gather(semaphore.down(), semaphore.up(), semaphore.down()), 5)


async def test_without_its_directory(tree: Tree) -> None:
    """Y-5."""
    for call in (AsyncSemaphore(tree.sc, tree / "no/sem").init(), AsyncSemaphore(tree.sc, tree / "no/sem").down(5)):
        with pytest.raises(serr.NotFound):
            await call
