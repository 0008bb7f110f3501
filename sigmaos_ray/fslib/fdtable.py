"""File descriptors: small numbers for open fids, the lowest free one first."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import threading
from collections import deque
from typing import TYPE_CHECKING

from sigmaos_ray import serr
from sigmaos_ray.sessp.aside import leave_if_direct
from sigmaos_ray.sigmap import DMNAMEDPIPE

if TYPE_CHECKING:
    from sigmaos_ray.fslib.fidclnt import RemoteFid
    from sigmaos_ray.sigmap import Mode


class OffsetTurns:
    """A lock of tasks and threads alike. In a thread's own way it is never waited for: Elsewhere."""

    def __init__(self) -> None:
        self._taken = threading.Lock()
        self._waiters: deque[asyncio.Future[None]] = deque()

    async def __aenter__(self) -> None:
        while not self._taken.acquire(blocking=False):
            leave_if_direct()
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            # Once more: it may have been given back before anybody knew of the waiter.
            if self._taken.acquire(blocking=False):
                self._forget(waiter)
                return
            try:
                await waiter
            except asyncio.CancelledError:
                if not self._forget(waiter):
                    self._wake_one()  # it was this one's turn
                raise

    async def __aexit__(self, *_: object) -> None:
        self._taken.release()
        self._wake_one()

    def _forget(self, waiter: asyncio.Future[None]) -> bool:
        """It waits no more, and must not be woken in place of another; False if it was woken."""
        try:
            self._waiters.remove(waiter)
        except ValueError:
            return False
        return True

    def _wake_one(self) -> None:
        with contextlib.suppress(IndexError):
            waiter = self._waiters.popleft()
            waiter.get_loop().call_soon_threadsafe(_set, waiter)


def _set(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


class OpenFd:
    """What a descriptor stands for."""

    __slots__ = ("fid", "mode", "moving", "offset", "pathname")

    def __init__(self, fid: RemoteFid, mode: Mode, pathname: str) -> None:
        self.fid = fid
        self.mode = mode
        self.pathname = pathname
        self.offset = 0
        self.moving = OffsetTurns()
        """Held by what moves the offset: two reads at a time get two parts, not one part twice."""

    @property
    def is_pipe(self) -> bool:
        return bool(self.fid.perm & DMNAMEDPIPE)


class FdTable:
    """The descriptors of one client."""

    def __init__(self) -> None:
        self._open: dict[int, OpenFd] = {}
        self._free: list[int] = []
        self._closing_count = 0
        self._changing = threading.Lock()

    def add(self, fd: OpenFd) -> int:
        with self._changing:
            # With none to use again, those that are open, or are being closed, are all the numbers from 0 on.
            number = heapq.heappop(self._free) if self._free else len(self._open) + self._closing_count
            self._open[number] = fd
        return number

    def get(self, number: int) -> OpenFd:
        """NotFound for a number that is not open."""
        fd = self._open.get(number)
        if fd is None:
            raise serr.NotFound(f"fd {number}", "not open")
        return fd

    def remove(self, number: int) -> OpenFd:
        """Takes an entry out; its number is given to nobody before ``release``. NotFound for one that is not open."""
        with self._changing:
            fd = self.get(number)
            del self._open[number]
            self._closing_count += 1
        return fd

    def put_back(self, number: int, fd: OpenFd) -> None:
        """It was not closed after all."""
        with self._changing:
            self._open[number] = fd
            self._closing_count -= 1

    def release(self, number: int) -> None:
        """The number of what was removed is free."""
        with self._changing:
            heapq.heappush(self._free, number)
            self._closing_count -= 1

    def __len__(self) -> int:
        return len(self._open)
