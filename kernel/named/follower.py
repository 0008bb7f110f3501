"""Keeps a candidate hot: a replica of the realm's tables that follows etcd, whoever leads (D-6)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from kernel.named.contents import ContentsCache
from kernel.named.etcd import Compacted, Etcd, TooLarge
from kernel.named.replica import Replica
from sigmaos_ray import debug, serr

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kernel.named.etcd import Change
    from kernel.named.keys import Keys
    from kernel.named.state import Inode, InodeTree
    from sigmaos_ray.config import Named

_log = debug.selector("NAMED_STORE")


class Follower:
    """``start`` it; ``hand_over`` ends it with the tree, ``stop`` without."""

    def __init__(self, etcd: Etcd, keys: Keys, limits: Named) -> None:
        self._etcd = etcd
        self._keys = keys
        self._limits = limits
        self._contents = ContentsCache(etcd, keys, limits.data_cache_bytes_max)
        self._replica = Replica(keys, self._contents)
        self._revision = 0
        """Up to which the replica is complete."""
        self._advanced = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.lists_count = 0

    @property
    def revision(self) -> int:
        """Up to which everything is known; 0 before the first listing."""
        return self._revision

    def leases(self) -> set[int]:
        """The leases that files hang on."""
        return self._replica.leases()

    def start(self) -> None:
        self._task = asyncio.create_task(self._follow(), name="named-follower")

    async def _follow(self) -> None:
        while True:
            try:
                await self._list()
                async for changes, complete_to in self._etcd.watch(self._keys.root, self._revision):
                    self._apply(changes)
                    # Not up to the last change: of a revision in fragments, a part is no state that ever was.
                    self._advance(complete_to)
            except Compacted:
                _log("etcd compacted what the replica has not seen: lists all")
            except (serr.SigmaError, TooLarge) as error:
                _log(f"follow: {error}")
                await asyncio.sleep(self._limits.etcd_pause_s)

    def _apply(self, changes: Iterable[Change]) -> None:
        for key, value, revision in changes:
            if value is None:
                self._replica.delete(key)
            else:
                self._replica.put(key, value, revision)

    async def _list(self) -> None:
        """Everything anew, as it stands at one revision."""
        revision = await self._etcd.revision()
        # Into new tables: the old ones are complete up to a revision that we know, these are not until the end.
        contents = ContentsCache(self._etcd, self._keys, self._limits.data_cache_bytes_max)
        replica = Replica(self._keys, contents)
        # At one revision, all of them: else an entry might be read without its object.
        for table in self._keys.tables():
            async for kv in self._etcd.scan(table, revision):
                replica.put(kv.key, kv.value, kv.mod_revision)
        self._contents, self._replica = contents, replica
        self.lists_count += 1
        self._advance(revision)

    def _advance(self, revision: int) -> None:
        self._revision = max(self._revision, revision)
        self._advanced.set()

    async def catch_up(self, revision: int, guard: Callable[[], None] = lambda: None) -> None:
        """Returns once all is known up to ``revision``, that of a change in the realm. Raises what ``guard`` raises
        meanwhile."""
        while self._revision < revision:
            # No await between the look and this: an advance in between would be seen a poll later only.
            self._advanced.clear()
            try:
                await asyncio.wait_for(self._advanced.wait(), self._limits.guard_poll_s)
            except TimeoutError:
                guard()  # a leader whose lease ran out meanwhile must not wait for a replica

    async def hand_over(
        self, revision: int, guard: Callable[[], None]
    ) -> tuple[InodeTree, ContentsCache, int, list[Inode]]:
        """Catches up, and ends. The tree as it stands at ``revision`` or later, with its contents, that revision, and
        the objects that have no name."""
        await self.catch_up(revision, guard)
        # From here on the tree changes by our own commits: the follower would apply each of them once more.
        await self.stop()
        tree, strays = self._replica.grow(self._revision)
        return tree, self._contents, self._revision, strays

    async def stop(self) -> None:
        """May be repeated."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None
