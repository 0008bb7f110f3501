"""Semaphores, which need no more of a server than files and watches (Y-1 to Y-5)."""

from __future__ import annotations

import asyncio

import pytest

from sigmaos_ray import serr
from sigmaos_ray.semclnt import AsyncSemaphore
from sigmaos_ray.testing.conformance.base import PATIENCE_S, Suite, Tree, all_raise
from sigmaos_ray.testing.conformance.refusals import needs


class SemaphoreTests(Suite):
    """Recipes over a server stand on its create, remove and watch."""

    @needs("watches")
    async def test_down_blocks_until_up_and_stays_up(self, tree: Tree) -> None:
        """Y-1, Y-3, Y-4."""
        semaphore = AsyncSemaphore(tree.sc, tree / "sem")
        await semaphore.init()
        await semaphore.init()
        with pytest.raises(serr.Timeout):
            await semaphore.down(0.02)
        waiting = [tree.start(AsyncSemaphore(tree.sc, tree / "sem").down(PATIENCE_S)) for _ in range(20)]
        await semaphore.up()
        await asyncio.gather(*waiting)
        await semaphore.down(0)
        with pytest.raises(serr.NotFound):
            await semaphore.up()

    @needs("watches")
    async def test_up_races_with_down(self, tree: Tree) -> None:
        """Y-3, W-8."""
        for number in range(tree.can.rounds_count):
            semaphore = AsyncSemaphore(tree.sc, tree / f"sem{number}")
            await semaphore.init()
            await asyncio.wait_for(asyncio.gather(semaphore.down(), semaphore.up(), semaphore.down()), PATIENCE_S)

    @needs("watches", "leases")
    async def test_an_owner_that_dies_lets_go_who_waits(self, tree: Tree) -> None:
        """Y-2: a semaphore under a lease goes up with the lease; one that blocks already is not taken over."""
        owner = await tree.client()
        lease = await tree.lease(owner)
        semaphore = AsyncSemaphore(owner, tree / "sem")
        await semaphore.init_lease(lease)
        with pytest.raises(serr.Exists):
            await semaphore.init_lease(lease)
        waiting = tree.start(AsyncSemaphore(tree.sc, tree / "sem").down(PATIENCE_S))
        await tree.until_served()
        assert not waiting.done()
        await lease.end()  # as it ends by itself some time after its owner died
        await waiting

    @needs("watches")
    async def test_without_its_directory(self, tree: Tree) -> None:
        """Y-5; where directories come with their first entry, a semaphore's does too."""
        semaphore = AsyncSemaphore(tree.sc, tree / "no/sem")
        if tree.can.parents_come:
            await all_raise(serr.NotFound, semaphore.down(PATIENCE_S))
            await semaphore.init()
            assert await tree.names("no") == ["sem"]
            return
        await all_raise(serr.NotFound, semaphore.init(), semaphore.down(PATIENCE_S))
