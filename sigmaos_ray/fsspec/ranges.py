"""Reading an open file here and there: what is large is fetched in parts side by side, what follows ahead of time."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from sigmaos_ray.sigmaclnt import AsyncSigmaClnt

PARTS_AHEAD: Final = 3
IN_FLIGHT_MAX: Final = 16
"""Reads of one call that are under way at a time: 16 MiB."""


class _Part(NamedTuple):
    """One read under way: ``wanted_bytes`` from ``start`` on."""

    task: asyncio.Task[bytes]
    start: int
    wanted_bytes: int


class Ranges:
    """Reads of one open descriptor, which the caller owns. Used by one reader at a time, on the client's loop; ``drop``
    it before the descriptor is closed."""

    def __init__(self, sc: AsyncSigmaClnt, fd: int, size: int) -> None:
        self._sc = sc
        self._fd = fd
        self._size = size
        """When the file was opened: nothing is fetched ahead past it."""
        self._at = 0
        """The offset of what is held, or else of the first part."""
        self._next = 0
        """The offset that no part covers yet."""
        self._held = memoryview(b"")
        self._parts: deque[_Part] = deque()
        self._calls_in_order = 0

    async def readinto(self, offset: int, target: memoryview) -> int:
        """Fills ``target`` from ``offset`` on; fewer bytes where a server sent fewer, 0 only at the end."""
        if offset != self._at:
            await self.drop()
            self._at = self._next = offset
        try:
            return await self._fill(offset, target)
        except BaseException:
            await self.drop()  # parts of this call would be taken for those of the next
            raise

    async def _fill(self, offset: int, target: memoryview) -> int:
        wanted_end = offset + len(target)
        done = 0
        while done < len(target):
            self._start_parts(wanted_end)
            if not self._held:
                part = self._parts.popleft()
                data = await part.task
                self._held = memoryview(data)
                if len(data) < part.wanted_bytes:
                    # The file ends here, or its server sends less at a time: what lies behind was asked for at
                    # offsets that do not follow. The caller gets what there is, and asks again.
                    await self._drop_parts(part.start + len(data))
                    wanted_end = self._next
                if not data:
                    break
            count = min(len(self._held), len(target) - done)
            target[done : done + count] = self._held[:count]
            self._held = self._held[count:]
            done += count
            self._at += count
            if not self._held and self._next == wanted_end and not self._parts:
                break
        self._calls_in_order += 1
        return done

    def _start_parts(self, wanted_end: int) -> None:
        """Starts the reads up to ``wanted_end``, and a few ahead for who reads one after the other."""
        # Not at the first call: who reads here and there would pay for parts that it never takes.
        ahead = PARTS_AHEAD if self._calls_in_order else 0
        while len(self._parts) < IN_FLIGHT_MAX:
            if self._next < wanted_end:
                count = min(self._sc.read_bytes_max, wanted_end - self._next)
            elif self._next < self._size and len(self._parts) < ahead:
                count = self._sc.read_bytes_max
            else:
                return
            task = asyncio.create_task(self._sc.pread(self._fd, count, self._next), name="fsspec-read")
            self._parts.append(_Part(task, self._next, count))
            self._next += count

    async def drop(self) -> None:
        """Forgets what was fetched ahead."""
        self._held = memoryview(b"")
        self._calls_in_order = 0
        await self._drop_parts(self._at)

    async def _drop_parts(self, next_offset: int) -> None:
        tasks = [part.task for part in self._parts]
        self._parts.clear()
        self._next = next_offset
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.gather(*tasks, return_exceptions=True)


async def read_range(sc: AsyncSigmaClnt, fd: int, offset: int, count: int) -> bytes:
    """``count`` bytes of an open file from ``offset`` on, fewer only at its end."""
    buffer = bytearray(count)
    view = memoryview(buffer)
    ranges = Ranges(sc, fd, 0)
    done = 0
    try:
        while done < count and (got := await ranges.readinto(offset + done, view[done:])):
            done += got
    finally:
        await ranges.drop()
    view.release()
    return bytes(buffer if done == count else buffer[:done])
