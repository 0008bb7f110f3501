"""Open objects: readers that fetch ahead, writers whose object appears at the close (B-2)."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from kernel.s3.state import ReadAhead
from sigmaos_ray import serr
from sigmaos_ray.protsrv.node import OpenFile
from sigmaos_ray.sigmap import NO_FENCE, Fence

if TYPE_CHECKING:
    from kernel.s3.nodes import S3Dir
    from kernel.s3.objects import S3Object

AHEAD_FIRST_BYTES: Final = 256 << 10
AHEAD_MOST_BYTES: Final = 4 << 20
DIRECT_BYTES: Final = 512 << 10
"""Reads from here on are requests of their own, side by side: whoever asks for so much has several under way."""
PARTS_MAX: Final = 10_000
"""S3's own limit of parts in one upload."""


class Reader(OpenFile):
    """Reads one object. If it is replaced meanwhile, a read at the beginning goes over to the new one, and one further
    on raises Version, so that nobody gets a mix."""

    def __init__(self, node: S3Object) -> None:
        self._node = node
        self._info = node.info
        self._ahead = ReadAhead(AHEAD_FIRST_BYTES, AHEAD_MOST_BYTES)
        self._fetching = asyncio.Lock()

    async def read(self, offset: int, count: int) -> bytes:
        if not count or (offset and offset >= self._info.size):
            return b""
        if count >= DIRECT_BYTES:
            return await self._fetch(offset, count)
        async with self._fetching:
            data = self._ahead.held(offset, count, self._info.size)
            if data:
                return data
            fetched = await self._fetch(offset, self._ahead.wanted(offset, count))
            self._ahead.fetched(offset, fetched)
            return self._ahead.held(offset, count, self._info.size) or b""

    async def _fetch(self, offset: int, count: int) -> bytes:
        node = self._node
        etag = self._info.etag if offset else ""
        data, info = await node.fs.store.get(node.bucket, node.key, offset, count, etag)
        if info.etag != self._info.etag:
            self._info = info
            self._ahead.forget()
        return data

    async def write(self, offset: int, data: bytes, fence: Fence = NO_FENCE) -> int:
        raise serr.NoWrite(self._node.name, "open for reading")


class Writer(OpenFile):
    """Writes a new object from its beginning on; it takes its place, and appears, at the close. ``exclusive``: the
    close raises Exists if somebody else's has appeared meanwhile. With ``only_if_written`` nothing happens unless
    something is written."""

    def __init__(
        self, directory: S3Dir, name: str, *, exclusive: bool, only_if_written: bool, fence: Fence = NO_FENCE
    ) -> None:
        self._dir = directory
        self._name = name
        self._key = directory.key_of(name)
        self._exclusive = exclusive
        self._needed = not only_if_written
        self._fence = fence
        self._buffer = bytearray()
        self._end = 0
        self._upload = ""
        self._etags: list[str] = []
        self._sending = asyncio.Lock()
        self._failed: serr.SigmaError | None = None

    async def read(self, offset: int, count: int) -> bytes:
        return b""  # a new object is empty until the close

    async def write(self, offset: int, data: bytes, fence: Fence = NO_FENCE) -> int:
        """Inval for an offset that is not the end of what was written. An error spoils the whole file."""
        if self._failed is not None:
            raise self._failed
        if offset != self._end:
            raise serr.Inval(self._name, f"S3 files are written from 0 on, without gaps: {offset}, not {self._end}")
        self._dir.fs.fences.check(fence)
        self._fence = fence or self._fence
        self._needed = True
        self._buffer += data
        self._end += len(data)
        part_bytes = self._dir.fs.part_bytes
        if len(self._buffer) >= part_bytes:
            async with self._sending:
                while len(self._buffer) >= part_bytes:
                    await self._send_part(part_bytes)
        return len(data)

    async def _send_part(self, count: int) -> None:
        part = bytes(self._buffer[:count])
        del self._buffer[:count]
        fs, bucket = self._dir.fs, self._dir.bucket
        try:
            if len(self._etags) >= PARTS_MAX:
                limit = PARTS_MAX * fs.part_bytes
                raise serr.Inval(self._name, f"over {limit} bytes: raise Proxy.s3_part_bytes")
            if not self._upload:
                self._upload = await fs.store.start_parts(bucket, self._key)
            number = len(self._etags) + 1
            self._etags.append(await fs.store.put_part(bucket, self._key, self._upload, number, part))
        except serr.SigmaError as error:
            self._failed = error
            raise

    async def close(self) -> None:
        """Nothing has appeared if this raises, save where the connection broke while S3 completed it (IOErr)."""
        async with self._sending:
            if self._failed is not None:
                await self._drop()
                raise self._failed
            if not self._needed:
                return
            try:
                await self._dir.commit(self._name, self._finish, fence=self._fence, exclusive=self._exclusive)
            except BaseException:
                await self._drop()
                raise

    async def _finish(self) -> str:
        fs, bucket = self._dir.fs, self._dir.bucket
        if not self._upload:
            return await fs.store.put(bucket, self._key, bytes(self._buffer), exclusive=self._exclusive)
        if self._buffer:
            await self._send_part(len(self._buffer))
        return await fs.store.finish_parts(bucket, self._key, self._upload, self._etags, exclusive=self._exclusive)

    async def abort(self) -> None:
        async with self._sending:
            await self._drop()

    async def _drop(self) -> None:
        upload, self._upload = self._upload, ""
        self._buffer.clear()
        if upload:
            with contextlib.suppress(serr.SigmaError):  # S3 is away: the bucket's own rules end old uploads
                await self._dir.fs.store.abort_parts(self._dir.bucket, self._key, upload)
