"""Writers: files of any size, with one part under way while the next one fills (F-2)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

from sigmaos_ray import serr
from sigmaos_ray.deadlines import is_cancelled
from sigmaos_ray.fslib.buffers import octets
from sigmaos_ray.fslib.naming import about
from sigmaos_ray.sigmap import DMNAMEDPIPE, NO_OFFSET, OAPPEND, Mode, Perm, path

if TYPE_CHECKING:
    from types import TracebackType

    from sigmaos_ray.fslib.core import FsCore
    from sigmaos_ray.fslib.fidclnt import RemoteFid


def part_of(data: bytes | bytearray | memoryview, start: int, count: int) -> bytes:
    """A part as what nobody changes any more: bytes that are all of it are not copied."""
    if type(data) is bytes and start == 0 and len(data) <= count:
        return data
    return bytes(octets(data)[start : start + count])


class AsyncWriter:
    """Writes a file from its beginning, or at its end with OAPPEND. An async context manager. For one task at a time.

    ``close`` makes the data durable, and raises what a write behind it met. A block that raises aborts: what a server
    makes visible only at the close (S3) never appears; elsewhere what was written stays.
    """

    def __init__(
        self, core: FsCore, pathname: str, perm: Perm | None, mode: Mode, *, buffer_bytes: int | None = None
    ) -> None:
        """``perm``: None for a file that must exist."""
        if buffer_bytes is not None and buffer_bytes < 1:
            raise serr.Inval(pathname, f"a buffer of {buffer_bytes} bytes")
        self._core = core
        self._pathname = pathname
        self._perm = perm
        self._mode = mode
        self._fid: RemoteFid | None = None
        self._part_bytes = min(buffer_bytes or core.io_bytes_max, core.io_bytes_max)
        self._offset = 0
        self._buffer = bytearray()
        self._sending: asyncio.Task[int] | None = None

    async def open(self) -> Self:
        """Opens the file, made if need be. Of a pipe: waits for who reads."""
        with about(self._pathname):
            if self._perm is None:
                self._fid = await self._core.open_fid(self._pathname, self._mode)
            else:
                self._fid = await self._core.create_or_open_fid(self._pathname, self._perm, self._mode)
        return self

    @property
    def appends(self) -> bool:
        """True if all that is written goes to the end of the file."""
        return bool(self._mode & OAPPEND)

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

    async def tell(self) -> int:
        """Where the next byte goes: behind what the caller gave, or with OAPPEND at the end of the file, as it is once
        all of that is there."""
        if not self.appends:
            return self.written_bytes
        fid = self._opened()
        await self._sent()
        with about(self._pathname):
            return (await fid.stat()).length + len(self._buffer)

    async def write(self, data: bytes | bytearray | memoryview) -> int:
        """Takes all of ``data``; blocks while parts before it are on their way. May raise for an earlier part."""
        fid = self._opened()
        view = octets(data)
        begun = len(self._buffer)
        taken = min(len(view), self._part_bytes - begun) if begun else 0
        self._buffer += view[:taken]
        if begun + taken == self._part_bytes:
            await self._send_buffer(fid)
        while len(view) - taken >= self._part_bytes:  # whole parts need not be gathered first
            await self._send(fid, part_of(data, taken, self._part_bytes))
            taken += self._part_bytes
        self._buffer += view[taken:]
        return len(view)

    async def flush(self) -> None:
        """Sends what is buffered, and waits until the server has it."""
        fid = self._opened()
        if self._buffer:
            await self._send_buffer(fid)
        await self._sent()

    def _opened(self) -> RemoteFid:
        if self._fid is None:
            raise serr.Closed(self._pathname, "the writer is not open")
        return self._fid

    async def _send_buffer(self, fid: RemoteFid) -> None:
        part = bytes(self._buffer)
        await self._sent()
        # Not before: who is cancelled while the last part is on its way must find this one still in the buffer.
        self._buffer.clear()
        await self._send(fid, part)

    async def _send(self, fid: RemoteFid, part: bytes) -> None:
        await self._sent()
        offset = NO_OFFSET if self._mode & OAPPEND else self._offset
        self._offset += len(part)
        fence = self._core.fence_of(path.split(self._pathname), fid.way)
        self._sending = asyncio.create_task(fid.write(offset, part, fence), name="write-behind")

    async def _sent(self) -> None:
        """The write under way is done. One that failed fails all that come after it: there would be a hole."""
        if self._sending is None:
            return
        await asyncio.wait({self._sending})
        with about(self._pathname):
            self._sending.result()  # after a failure it stays, and is raised again by all that come later
        self._sending = None

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
            # A pipe may be full for ever, and who is being cancelled waits for no server.
            if fid.perm & DMNAMEDPIPE or is_cancelled():
                self._sending.cancel()
            await asyncio.wait({self._sending})
            if not self._sending.cancelled():
                self._sending.exception()
        await fid.abort_quietly()
