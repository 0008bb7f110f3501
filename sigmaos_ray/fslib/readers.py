"""Readers: files of any size, with the next parts under way while the last one is used."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Self

from sigmaos_ray import config, serr
from sigmaos_ray.fslib.naming import about
from sigmaos_ray.sessp.aside import Elsewhere, is_direct
from sigmaos_ray.sigmap import DMDEVICE, DMDIR, DMNAMEDPIPE, OREAD

if TYPE_CHECKING:
    from types import TracebackType

    from sigmaos_ray.fslib.core import FsCore
    from sigmaos_ray.fslib.fidclnt import RemoteFid


class _ReadAhead:
    """One read under way."""

    __slots__ = ("count", "start", "task")

    def __init__(self, task: asyncio.Task[bytes], start: int, count: int) -> None:
        self.task = task
        self.start = start
        self.count = count


class AsyncReader:
    """Reads a file from ``offset`` to its end, or ``length`` bytes of it; a pipe to its end.

    An async context manager, opened by entering it or by ``open``; iterating gives parts of up to 1 MiB, or
    ``buffer_bytes`` if that is less. For one task at a time. A read that is cancelled loses nothing: the next
    one goes on.
    """

    def __init__(
        self,
        core: FsCore,
        pathname: str,
        offset: int = 0,
        length: int | None = None,
        *,
        buffer_bytes: int | None = None,
        fid: RemoteFid | None = None,
        is_shared: bool = False,
    ) -> None:
        """``fid``: open already; ``is_shared``: somebody else frees it."""
        if offset < 0 or (length is not None and length < 0):
            raise serr.Inval(pathname, f"offset {offset} and length {length} are not negative")
        if buffer_bytes is not None and buffer_bytes < 1:
            raise serr.Inval(pathname, f"a buffer of {buffer_bytes} bytes")
        self._core = core
        self._pathname = pathname
        self._fid = fid
        self._is_shared = is_shared
        self._part_bytes = min(buffer_bytes or core.io_bytes_max, core.io_bytes_max)
        self._next_offset = offset
        self._end = None if length is None else offset + length
        self._ahead: deque[_ReadAhead] = deque()
        self._part = b""
        self._taken_bytes = 0
        """How much of the part was handed out."""
        self._at_end = False
        self._parts_count = 0

    async def open(self) -> Self:
        """Opens the file. NotFound, IsDir and the like come here. Of a pipe: waits for who writes."""
        with about(self._pathname):
            self._fid = await self._core.open_fid(self._pathname, OREAD)
        return self

    async def __aenter__(self) -> Self:
        return await self.open() if self._fid is None else self

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
        await self._fill()
        return self._take(len(self._part))

    async def read(self, count: int = -1) -> bytes:
        """``count`` bytes, fewer only at the end; all that is left for a negative count."""
        if is_direct():
            return self._read_rest_here(count)
        data: list[bytes] = []
        remaining = count
        try:
            while remaining != 0 and await self._fill():
                data.append(self._take(len(self._part) if remaining < 0 else remaining))
                remaining -= len(data[-1]) if remaining > 0 else 0
        except BaseException:  # cancelled as well: what came is not lost
            # Whoever reads on gets it: what is neither returned nor kept would be missing.
            self._part, self._taken_bytes = b"".join(data), 0
            raise
        return data[0] if len(data) == 1 else b"".join(data)

    def _read_rest_here(self, count: int) -> bytes:
        """Of a thread. Elsewhere for a count, too: whoever has one has room for that."""
        if count >= 0:
            raise Elsewhere
        data: list[memoryview] = []
        try:
            while done := self._read_here(room := memoryview(bytearray(self._part_bytes))):
                data.append(room[:done])
        except BaseException:  # cancelled as well: what came is not lost
            if data:  # as above; before these there was nothing that nobody took
                self._part, self._taken_bytes = b"".join(data), 0
            raise
        return b"".join(data)

    def _take(self, count: int) -> bytes:
        """At most ``count`` bytes of the part; all of it without a copy."""
        start = self._taken_bytes
        self._taken_bytes = min(start + count, len(self._part))
        if start == 0 and self._taken_bytes == len(self._part):
            part, self._part = self._part, b""
            self._taken_bytes = 0
            return part
        return self._part[start : self._taken_bytes]

    async def readinto(self, target: memoryview) -> int:
        """Fills ``target`` with what is there next, as far as it has arrived; 0 at the end."""
        if is_direct():
            return self._read_here(target)
        done = 0
        while done < len(target) and (not done or self._has_arrived()) and await self._fill():
            end = min(self._taken_bytes + len(target) - done, len(self._part))
            taken = end - self._taken_bytes
            target[done : done + taken] = memoryview(self._part)[self._taken_bytes : end]
            self._taken_bytes = end
            done += taken
        return done

    def _read_here(self, target: memoryview) -> int:
        """Of a thread, straight to where it wants it. Elsewhere if parts are read ahead, as they are of servers that
        are not near: then they come first."""
        fid = self._fid
        if fid is None or self._ahead or self._taken_bytes < len(self._part) or fid.perm & (DMNAMEDPIPE | DMDEVICE):
            raise Elsewhere
        count = min(len(target), self._part_bytes)
        if self._end is not None:
            count = min(count, self._end - self._next_offset)
        if self._at_end or count <= 0:
            return 0
        with about(self._pathname):
            done = fid.read_into(self._next_offset, target[:count])
        self._next_offset += done
        self._at_end = not done
        return done

    def _has_arrived(self) -> bool:
        """True if more can be had without waiting, or failing."""
        if self._taken_bytes < len(self._part):
            return True
        # A read that failed is left to the next call, which raises it: what was copied before it is returned first.
        task = self._ahead[0].task if self._ahead else None
        return task is not None and task.done() and not task.cancelled() and task.exception() is None

    async def _fill(self) -> bool:
        """Has something to hand out; False at the end."""
        fid = self._fid
        if fid is None:
            raise serr.Closed(self._pathname, "the reader is not open")
        if self._taken_bytes < len(self._part):
            return True
        self._part, self._taken_bytes = b"", 0
        if self._at_end:
            return False
        self._read_ahead(fid)
        if not self._ahead:
            self._at_end = True
            return False
        part = self._ahead[0]
        # Waited for, not awaited: a caller that is cancelled here leaves the read under way, and the next one takes it.
        if not part.task.done():
            await asyncio.wait({part.task})
        self._ahead.popleft()
        try:
            self._part = self._result(fid, part)
        except BaseException:  # cancelled as well: the part is read again
            # Whoever reads on begins with what could not be read: to go on behind it would leave it out.
            self._next_offset = part.start
            await self._drop_ahead()
            raise
        self._parts_count += 1
        if not self._part:
            self._at_end = True
        elif len(self._part) < part.count:
            # Servers may end a part early. What is in flight began past it: start over behind what came.
            await self._drop_ahead()
            self._next_offset = part.start + len(self._part)
        self._read_ahead(fid)
        return bool(self._part)

    def _result(self, fid: RemoteFid, part: _ReadAhead) -> bytes:
        try:
            with about(self._pathname):
                return part.task.result()
        except serr.Closed:
            if fid.perm & DMNAMEDPIPE and not fid.session.ended:
                return b""  # how a pipe ends
            raise

    def _read_ahead(self, fid: RemoteFid) -> None:
        # One at first: most files are shorter than a part, and a reader may stop after its first. What a pipe or a
        # device gives is gone once it is read, and one read's part is not known before the last one's end.
        in_turn = not self._parts_count or fid.perm & (DMNAMEDPIPE | DMDEVICE)
        wanted = 1 if in_turn else config.current().streams.reads_in_flight
        while len(self._ahead) < wanted and not self._at_end:
            start = self._next_offset
            count = self._part_bytes if self._end is None else min(self._part_bytes, self._end - start)
            if count <= 0:
                return
            task = asyncio.create_task(fid.read(start, count), name="read-ahead")
            self._ahead.append(_ReadAhead(task, start, count))
            self._next_offset += count

    async def is_of_one_version(self) -> bool:
        """False if the file has changed since it was opened: what was read may be of several versions."""
        fid = self._fid
        if fid is None:
            raise serr.Closed(self._pathname, "the reader is not open")
        if fid.one_version or fid.perm & (DMNAMEDPIPE | DMDEVICE):
            return True
        with about(self._pathname):
            return (await fid.stat()).qid.version == fid.seen.version

    async def _drop_ahead(self) -> None:
        tasks = [part.task for part in self._ahead]
        self._ahead.clear()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
            for task in tasks:
                if not task.cancelled():
                    task.exception()  # nobody asks for it any more

    async def close(self) -> None:
        """Frees the file. May be repeated."""
        fid, self._fid = self._fid, None
        await self._drop_ahead()
        if fid is not None and not self._is_shared:
            fid.free()


class AsyncParallelReader:
    """A file, or ``length`` bytes of it from ``offset``, for any number of tasks that each take the next chunk.

    An async context manager, opened by entering it or by ``open``. The file ends where it ended when it was opened.
    """

    def __init__(self, core: FsCore, pathname: str, offset: int = 0, length: int | None = None) -> None:
        if offset < 0 or (length is not None and length < 0):
            raise serr.Inval(pathname, f"offset {offset} and length {length} are not negative")
        self._core = core
        self._pathname = pathname
        self._next_offset = offset
        self._length = length
        self._end = 0
        self._fid: RemoteFid | None = None

    async def open(self) -> Self:
        """Opens the file. NotFound, IsDir and the like come here."""
        with about(self._pathname):
            fid = await self._core.open_fid(self._pathname, OREAD)
            try:
                size = (await fid.stat()).length
                if fid.perm & DMDIR:
                    raise serr.IsDir(self._pathname)
                if fid.perm & DMNAMEDPIPE:
                    raise serr.NotSupported(self._pathname, "a pipe has one reader")
            except BaseException:  # cancelled as well: nobody else frees it
                fid.free()
                raise
        self._fid = fid
        self._end = size if self._length is None else min(size, self._next_offset + self._length)
        return self

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def get_chunk_reader(self, size: int, step: int | None = None) -> tuple[AsyncReader, int] | None:
        """A reader of the next ``size`` bytes, and the offset at which they begin; None at the end. The chunk after it
        begins ``step`` bytes later (default: ``size``, so that chunks neither overlap nor leave gaps)."""
        if self._fid is None:
            raise serr.Closed(self._pathname, "the reader is not open")
        step = size if step is None else step
        if size < 1 or step < 1:
            raise serr.Inval(self._pathname, f"chunks of {size} bytes, {step} apart")
        start = self._next_offset
        if start >= self._end:
            return None
        self._next_offset += step
        length = min(size, self._end - start)
        return AsyncReader(self._core, self._pathname, start, length, fid=self._fid, is_shared=True), start

    async def close(self) -> None:
        """Frees the file; chunks that are still read end with an error. May be repeated."""
        fid, self._fid = self._fid, None
        if fid is not None:
            fid.free()
