"""Shared and exclusive locks by key, for servers whose operations span an ``await`` (etcd, disks).

All locks of one operation are taken together, in the order of their keys, so that no two operations wait for each
other. Waiters are served first come, first served, per key: a writer is not starved by readers.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable

K = TypeVar("K", bound=tuple[object, ...])


class _Lock:
    """One key's lock. Whoever waits is handed the lock, with its count, before it runs again: nobody slips in."""

    __slots__ = ("exclusive", "shared_count", "waiters")

    def __init__(self) -> None:
        self.shared_count = 0
        self.exclusive = False
        self.waiters: deque[tuple[bool, asyncio.Future[None]]] = deque()

    def admits(self, exclusive: bool) -> bool:
        return not self.exclusive and not (exclusive and self.shared_count)

    def enter(self, exclusive: bool) -> None:
        if exclusive:
            self.exclusive = True
        else:
            self.shared_count += 1

    def leave(self, exclusive: bool) -> None:
        if exclusive:
            self.exclusive = False
        else:
            self.shared_count -= 1
        self.wake()

    def wake(self) -> None:
        """Hands the lock to the waiters at the head of the queue, as many as it admits."""
        while self.waiters:
            exclusive, waiter = self.waiters[0]
            if not waiter.done():
                if not self.admits(exclusive):
                    return
                self.enter(exclusive)
                waiter.set_result(None)
            self.waiters.popleft()

    @property
    def idle(self) -> bool:
        return not (self.exclusive or self.shared_count or self.waiters)


class LockTable(Generic[K]):
    """Locks by key; a key that nobody holds or waits for costs nothing. Used from one loop only."""

    def __init__(self) -> None:
        self._locks: dict[K, _Lock] = {}

    def hold(self, *, exclusive: Iterable[K] = (), shared: Iterable[K] = ()) -> Hold[K]:
        """Holds the locks within the block. A key that stands in both is held exclusively. Not reentrant."""
        return Hold(self, dict.fromkeys(shared, False) | dict.fromkeys(exclusive, True))

    def is_readable(self, key: K) -> bool:
        """True if ``hold(shared=[key])`` would not wait: what is done before the next wait needs no lock then."""
        lock = self._locks.get(key)
        return lock is None or not (lock.exclusive or lock.waiters)

    async def acquire(self, key: K, exclusive: bool) -> None:
        """For ``Hold``."""
        lock = self._locks.get(key)
        if lock is None:
            lock = self._locks[key] = _Lock()
        # Not past those that wait: readers that keep coming would hold off a writer for ever.
        if not lock.waiters and lock.admits(exclusive):
            lock.enter(exclusive)
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        lock.waiters.append((exclusive, waiter))
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                lock.leave(exclusive)  # the lock was handed over in the same turn of the loop: it is passed on
            else:
                waiter.cancel()
                lock.wake()  # a writer that waited here kept the readers behind it waiting
            self._forget(key, lock)
            raise

    def release(self, key: K, exclusive: bool) -> None:
        """For ``Hold``."""
        lock = self._locks[key]
        lock.leave(exclusive)
        self._forget(key, lock)

    def _forget(self, key: K, lock: _Lock) -> None:
        if lock.idle:
            self._locks.pop(key, None)

    def __len__(self) -> int:
        return len(self._locks)


class Hold(Generic[K]):
    """The locks of one operation, while the block lasts. Made by ``LockTable.hold``."""

    __slots__ = ("_held", "_is_exclusive", "_table")

    def __init__(self, table: LockTable[K], is_exclusive: dict[K, bool]) -> None:
        self._table = table
        self._is_exclusive = is_exclusive
        self._held: list[K] = []

    async def __aenter__(self) -> None:
        try:
            # One order for all operations, whatever it is: keys of different kinds have no other than their texts'.
            for key in sorted(self._is_exclusive, key=repr):
                await self._table.acquire(key, self._is_exclusive[key])
                self._held.append(key)
        except BaseException:
            self._release()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._release()

    def _release(self) -> None:
        for key in reversed(self._held):
            self._table.release(key, self._is_exclusive[key])
        self._held.clear()
