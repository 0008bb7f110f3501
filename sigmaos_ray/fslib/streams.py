"""Streams: reading and writing files of any size, with the next part under way while the last one is used (F-2).

A reader keeps a few reads in flight; a writer sends one part while the next one fills.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, Self

from sigmaos_ray import serr
from sigmaos_ray.fslib.naming import about
from sigmaos_ray.fslib.watches import Watches
from sigmaos_ray.sigmap import NO_OFFSET, OAPPEND, OEXCL, OREAD, OTRUNC, OWRITE, Mode, Perm

if TYPE_CHECKING:
    from types import TracebackType

    from sigmaos_ray.fslib.fidclnt import RemoteFid
    from sigmaos_ray.fslib.files import Files

READS_IN_FLIGHT: Final = 3


class _Part:
    """One read under way."""

    __slots__ = ("asked", "start", "task")

    def __init__(self, task: asyncio.Task[bytes], start: int, asked: int) -> None:
        self.task = task
        self.start = start
        self.asked = asked


class AsyncReader:
    """Reads a file from ``offset`` to its end, or ``length`` bytes of it.

    An async context manager, opened by entering it or by ``open``; iterating gives parts of up to 1 MiB.
    """

    def __init__(self, files: Files, pathname: str, offset: int = 0, length: int | None = None) -> None:
        if offset < 0 or (length is not None and length < 0):
            raise serr.Inval(pathname, f"offset {offset} and length {length} are not negative")
        self._files = files
        self._pathname = pathname
        self._fid: RemoteFid | None = None
        self._part_bytes = files.read_bytes_max
        self._next_offset = offset
        self._end = None if length is None else offset + length
        self._ahead: deque[_Part] = deque()
        self._buffer = memoryview(b"")
        self._at_end = False
        self._parts_count = 0

    async def open(self) -> Self:
        """Opens the file. NotFound, IsDir and the like come here."""
        with about(self._pathname):
            self._fid = await self._files.open_fid(self._pathname, OREAD)
        return self

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        data = await self.read_part()
        if not data:
            raise StopAsyncIteration
        return data

    async def read_part(self) -> bytes:
        """What is there next, as it arrives: up to 1 MiB, empty at the end."""
        if not self._buffer:
            await self._fill()
        data, self._buffer = bytes(self._buffer), memoryview(b"")
        return data

    async def read(self, count: int = -1) -> bytes:
        """``count`` bytes, fewer only at the end; all that is left for a negative count."""
        parts: list[bytes] = []
        left = count
        while left != 0:
            if not self._buffer:
                await self._fill()
                if not self._buffer:
                    break
            take = len(self._buffer) if left < 0 else min(left, len(self._buffer))
            parts.append(bytes(self._buffer[:take]))
            self._buffer = self._buffer[take:]
            left -= take if left > 0 else 0
        return b"".join(parts)

    async def readinto(self, target: memoryview) -> int:
        """Fills ``target`` with what is there next; 0 at the end."""
        if not self._buffer:
            await self._fill()
        count = min(len(target), len(self._buffer))
        target[:count] = self._buffer[:count]
        self._buffer = self._buffer[count:]
        return count

    async def _fill(self) -> None:
        """Puts the next part into the buffer, which stays empty at the end."""
        fid = self._fid
        if fid is None:
            raise serr.Closed(self._pathname, "the reader is not open")
        if self._at_end:
            return
        self._read_ahead(fid)
        if not self._ahead:
            self._at_end = True
            return
        part = self._ahead.popleft()
        with about(self._pathname):
            data = await part.task
        self._parts_count += 1
        self._buffer = memoryview(data)
        if not data:
            self._at_end = True
        elif len(data) < part.asked:
            # Servers may end a part early. What is in flight began past it: start over behind what came.
            await self._drop_ahead()
            self._next_offset = part.start + len(data)

    def _read_ahead(self, fid: RemoteFid) -> None:
        # One at first: most files are shorter than a part, and a reader may stop after its first.
        wanted = 1 if self._parts_count == 0 else READS_IN_FLIGHT
        while len(self._ahead) < wanted:
            start = self._next_offset
            asked = self._part_bytes if self._end is None else min(self._part_bytes, self._end - start)
            if asked <= 0:
                return
            task = asyncio.create_task(fid.read(start, asked), name="read-ahead")
            self._ahead.append(_Part(task, start, asked))
            self._next_offset += asked

    async def _drop_ahead(self) -> None:
        tasks = [part.task for part in self._ahead]
        self._ahead.clear()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def close(self) -> None:
        """Frees the file. May be repeated."""
        fid, self._fid = self._fid, None
        await self._drop_ahead()
        if fid is not None:
            await fid.clunk_quietly()


class AsyncWriter:
    """Writes a file from its beginning, or at its end with OAPPEND. An async context manager.

    ``close`` makes the data durable, and raises what a write behind it met. A block that raises aborts: what a server
    makes visible only at the close (S3) never appears; elsewhere what was written stays.
    """

    def __init__(self, files: Files, pathname: str, perm: Perm, mode: Mode) -> None:
        self._files = files
        self._pathname = pathname
        self._perm = perm
        self._mode = mode
        self._fid: RemoteFid | None = None
        self._part_bytes = files.read_bytes_max
        self._offset = 0
        self._buffer = bytearray()
        self._sending: asyncio.Task[int] | None = None

    async def open(self) -> Self:
        """Makes the file, or opens what exists: OEXCL refuses that, OAPPEND adds to it, else it is emptied."""
        mode = self._mode if self._mode & (OAPPEND | OEXCL) else self._mode | OTRUNC
        with about(self._pathname):
            self._fid = await self._files.create_or_open_fid(self._pathname, self._perm, mode)
        return self

    @property
    def written_bytes(self) -> int:
        """How much the caller gave so far."""
        return self._offset + len(self._buffer)

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            await self.close()
        else:
            await self.abort()

    async def write(self, data: bytes | bytearray | memoryview) -> int:
        """Takes all of ``data``; blocks while parts before it are on their way. May raise for an earlier part."""
        fid = self._opened()
        self._buffer += data
        while len(self._buffer) >= self._part_bytes:
            await self._send_part(fid)
        return len(data)

    async def flush(self) -> None:
        """Sends what is buffered, and waits until the server has it."""
        fid = self._opened()
        while self._buffer:
            await self._send_part(fid)
        await self._sent()

    def _opened(self) -> RemoteFid:
        if self._fid is None:
            raise serr.Closed(self._pathname, "the writer is not open")
        return self._fid

    async def _send_part(self, fid: RemoteFid) -> None:
        await self._sent()
        part = bytes(self._buffer[: self._part_bytes])
        del self._buffer[: self._part_bytes]
        offset = NO_OFFSET if self._mode & OAPPEND else self._offset
        self._offset += len(part)
        fence = self._files.fence_of(self._pathname)
        self._sending = asyncio.create_task(fid.write(offset, part, fence), name="write-behind")

    async def _sent(self) -> None:
        if self._sending is not None:
            sending, self._sending = self._sending, None
            with about(self._pathname):
                await sending

    async def close(self) -> None:
        """Sends the rest and closes. After a failure the file is aborted. May be repeated."""
        if self._fid is None:
            return
        try:
            await self.flush()
        except BaseException:
            await self.abort()
            raise
        fid, self._fid = self._fid, None
        with about(self._pathname):
            await fid.clunk()

    async def abort(self) -> None:
        """Drops what is not durable yet. May be repeated."""
        fid, self._fid = self._fid, None
        if fid is None:
            return
        self._buffer.clear()
        if self._sending is not None:
            await asyncio.wait({self._sending})
            if not self._sending.cancelled():
                self._sending.exception()
        try:
            await fid.clunk(abort=True)
        except serr.SigmaError:  # the server is gone, and with it what was not durable
            return


class Streams(Watches):
    """Calls that return readers and writers."""

    def open_reader(self, pn: str, offset: int = 0, length: int | None = None) -> AsyncReader:
        """A reader of ``length`` bytes from ``offset``, or to the end: ``async with sc.open_reader(pn) as reader``."""
        return AsyncReader(self, pn, offset, length)

    def create_writer(self, pn: str, perm: Perm = 0o777, mode: Mode = OWRITE) -> AsyncWriter:
        """A writer that makes ``pn`` or replaces its contents (OEXCL, OAPPEND: see ``put_file``)."""
        return AsyncWriter(self, pn, perm, mode)

    async def copy_file(self, src: str, dst: str) -> int:
        """Copies contents, also across servers; ``dst`` must not exist. Returns the length."""
        async with self.open_reader(src) as reader, self.create_writer(dst, mode=OWRITE | OEXCL) as writer:
            async for part in reader:
                await writer.write(part)
        return writer.written_bytes
