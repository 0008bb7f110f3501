"""Pipes (R-12): a bounded buffer between those who have it open to write and those who have it open to read.

An end is there while somebody has it open. Once the last one closed an end that had met the other, it does not come
back: readers drain what is left and then get Closed, writers get Closed at once. (An end that leaves before the two
have met may come again: a reader that gave up waiting has taken nothing.)
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from sigmaos_ray import serr
from sigmaos_ray.protsrv.node import OpenFile
from sigmaos_ray.sigmap import NO_FENCE, OACCESS_MASK, OREAD, OWRITE, Fence, Mode

if TYPE_CHECKING:
    from collections.abc import Callable

PIPE_BYTES: Final = 8192
"""How much a pipe holds; a writer waits while it is full."""


class _End:
    """Readers or writers: how many have it open or wait to, and whether the end is over."""

    __slots__ = ("count", "is_over")

    def __init__(self) -> None:
        self.count = 0
        self.is_over = False


class Pipe:
    """What all openings of one pipe share. Used from one loop."""

    def __init__(self, name: str, capacity_bytes: int = PIPE_BYTES) -> None:
        self.name = name
        self._capacity_bytes = capacity_bytes
        self._buffer = bytearray()
        self._readers = _End()
        self._writers = _End()
        self._have_met = False
        """True once both ends were open at a time."""
        self._is_removed = False
        self._waiters: set[asyncio.Future[None]] = set()
        """All who wait for anything to change: they are few, and each looks for itself."""
        self._writing = asyncio.Lock()
        """Held for a whole write: one that has to wait for room is not mixed with another."""

    @property
    def length(self) -> int:
        """How many bytes wait to be read."""
        return len(self._buffer)

    async def open(self, mode: Mode, check: Callable[[Fence], None]) -> OpenPipe:
        """Blocks until the other end is open, too. Inval unless the mode is OREAD or OWRITE; Closed for an end that is
        over; NotFound if the pipe is removed meanwhile. ``check`` is called with each write's fence."""
        access = mode & OACCESS_MASK
        if access not in (OREAD, OWRITE):
            raise serr.Inval(self.name, "a pipe is opened for reading or for writing, not both")
        own, other = (self._readers, self._writers) if access == OREAD else (self._writers, self._readers)
        if own.is_over:
            raise serr.Closed(self.name, "this end of the pipe was closed")
        own.count += 1
        try:
            # Counted before it waits: two that wait for each other both find the other there.
            self._meet()
            # The other end may have come and gone before this one runs again: it was there, so this open succeeds.
            while not (other.count or other.is_over):
                if self._is_removed:
                    raise serr.NotFound(self.name, "the pipe was removed")
                await self._change()
        except BaseException:
            self._leave(own)
            raise
        return OpenPipe(self, own, check)

    def _meet(self) -> None:
        if self._readers.count and self._writers.count:
            self._have_met = True
        self._wake()

    def _leave(self, end: _End) -> None:
        end.count -= 1
        # Before the two have met nobody has read or written: whoever comes next finds the pipe as it was made.
        if not end.count and self._have_met:
            end.is_over = True
        self._wake()

    def remove(self) -> None:
        """The pipe's name is gone: who waits for the other end waits in vain. What is open stays."""
        self._is_removed = True
        self._wake()

    async def read(self, opening: OpenPipe, count: int) -> bytes:
        """What is there, at most ``count`` bytes; waits while there is nothing. Closed once the writers are gone."""
        while not self._buffer:
            opening.check_open()
            if self._writers.is_over:
                raise serr.Closed(self.name, "the end of the pipe")
            await self._change()
        opening.check_open()  # after the last wait too: a reader that was closed must not take what others would get
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        self._wake()
        return data

    async def write(self, opening: OpenPipe, data: bytes) -> int:
        """Writes all of ``data``, not mixed with others'; waits while the pipe is full. Closed once nobody reads."""
        async with self._writing:
            view = memoryview(data)
            while True:
                # At each turn: this opening may be closed, and the readers may leave, while the pipe is full.
                opening.check_open()
                if self._readers.is_over:
                    raise serr.Closed(self.name, "nobody reads the pipe any more")
                part = view[: self._capacity_bytes - len(self._buffer)]
                self._buffer += part
                view = view[len(part) :]
                if part:
                    self._wake()
                if not view:
                    return len(data)
                await self._change()

    def close(self, end: _End) -> None:
        """One of those that have this end open closed it."""
        self._leave(end)

    async def _change(self) -> None:
        """Waits for the next change of anything."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)

    def _wake(self) -> None:
        # All of them: readers and writers wait for different things, and to know for which costs more than to look.
        waiters, self._waiters = self._waiters, set()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


class OpenPipe(OpenFile):
    """One opening of one end. Closing it ends its blocked calls with Closed."""

    def __init__(self, pipe: Pipe, end: _End, check: Callable[[Fence], None]) -> None:
        self._pipe = pipe
        self._end = end
        self._check = check
        self._is_closed = False

    def check_open(self) -> None:
        """Closed once it is: calls on it that waited meanwhile end by this."""
        if self._is_closed:
            raise serr.Closed(self._pipe.name, "closed")

    async def read(self, offset: int, count: int) -> bytes:
        """``offset`` means nothing here."""
        return await self._pipe.read(self, count)

    async def write(self, offset: int, data: bytes, fence: Fence = NO_FENCE) -> int:
        self._check(fence)
        return await self._pipe.write(self, data)

    async def close(self) -> None:
        if not self._is_closed:
            self._is_closed = True
            self._pipe.close(self._end)
