"""Files open for reading, and for reading and writing in place: Python's own buffered files over descriptors."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Any, Protocol

from sigmaos_ray import serr
from sigmaos_ray.fslib.buffers import octets
from sigmaos_ray.fsspec import entries
from sigmaos_ray.fsspec.ranges import Ranges
from sigmaos_ray.sigmap import ORDWR, OREAD

if TYPE_CHECKING:
    from sigmaos_ray.fsspec.entries import Entry
    from sigmaos_ray.sigmaclnt import SigmaClnt

BUFFER_BYTES = 1 << 20


class _ReadingFs(Protocol):
    """What a file asks of the file system that opened it."""

    @property
    def clnt(self) -> SigmaClnt: ...

    async def _info(self, path: str) -> Entry: ...

    def info(self, path: str) -> Any: ...

    def open(self, path: str, mode: str, block_size: int | None) -> Any: ...

    def unstrip_protocol(self, name: str) -> Any: ...


class _RawFile(io.RawIOBase):
    """A descriptor, opened here and closed by ``close``; seekable. ``size``: in bytes, as the file system told it
    before. ``writes``: it also writes, in place. Blocking; one thread at a time, as Python's buffered files see to."""

    def __init__(self, clnt: SigmaClnt, pathname: str, size: int, *, writes: bool) -> None:
        self._clnt = clnt
        self._size = size
        self._writes = writes
        self._fd = clnt.open(entries.followed(pathname), ORDWR if writes else OREAD)
        self._ranges = Ranges(clnt.asynchronous, self._fd, size)
        self._at = 0

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return self._writes

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}.get(whence)
        if start is None:
            raise ValueError(f"whence is 0, 1 or 2, not {whence}")
        if start + offset < 0:
            raise ValueError(f"a seek before the start of the file: {start + offset}")
        self._at = start + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        count = self._clnt.run(self._ranges.readinto(self._at, memoryview(buffer).cast("B")))
        self._at += count
        return count

    def readall(self) -> bytes:
        parts: list[bytes] = []
        while True:
            buffer = bytearray(max(BUFFER_BYTES, self._size - self._at))
            count = self.readinto(buffer)
            if not count:
                return b"".join(parts)
            parts.append(bytes(memoryview(buffer)[:count]))

    def write(self, data: Any) -> int:
        if not self._writes:
            raise io.UnsupportedOperation("the file is open for reading")
        count = self._clnt.run(self._write(bytes(octets(data))))
        self._at += count
        self._size = max(self._size, self._at)
        return count

    def truncate(self, size: int | None = None) -> int:
        if not self._writes:
            raise io.UnsupportedOperation("the file is open for reading")
        size = self._at if size is None else size
        self._clnt.run(self._truncate(size))
        self._size = size
        return size

    async def _truncate(self, size: int) -> None:
        await self._ranges.drop()
        await self._clnt.asynchronous.truncate_fd(self._fd, size)

    async def _write(self, data: bytes) -> int:
        sc = self._clnt.asynchronous
        await self._ranges.drop()  # what was fetched ahead may be what is overwritten now
        await sc.seek(self._fd, self._at)
        return await sc.write(self._fd, data)

    def close(self) -> None:
        if not self.closed:
            super().close()
            try:
                self._clnt.run(self._close())
            except (serr.Unreachable, RuntimeError):  # the client is closed, or the interpreter ends: so is the file
                return

    async def _close(self) -> None:
        await self._ranges.drop()
        await self._clnt.asynchronous.close_fd(self._fd)


class _Described:
    """What fsspec's users ask of an open file besides Python's methods."""

    fs: _ReadingFs
    path: str
    details: Entry
    blocksize: int = BUFFER_BYTES

    @property
    def name(self) -> str:
        return self.path

    @property
    def full_name(self) -> str:
        return str(self.fs.unstrip_protocol(self.path))

    @property
    def size(self) -> int:
        """In bytes, when the file was opened."""
        return int(self.details["size"])

    def info(self) -> Entry:
        """What the file system told of the file when it was opened."""
        return self.details


class SigmaReader(_Described, io.BufferedReader):
    """A file open for reading. A small one was read whole when it was opened, in one message; a large one is read on,
    with the next parts under way. Pickles as its pathname and position."""

    mode = "rb"

    def __init__(self, fs: _ReadingFs, path: str, details: Entry, raw: Any, block_bytes: int) -> None:
        super().__init__(raw, block_bytes)
        self.fs = fs
        self.path = path
        self.details = details
        self.blocksize = block_bytes

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.fs, self.path, self.blocksize, self.tell())


class SigmaRandom(_Described, io.BufferedRandom):
    """A file open for reading and for writing in place."""

    mode = "r+b"

    def __init__(self, fs: _ReadingFs, path: str, details: Entry, block_bytes: int) -> None:
        size = details["size"]
        super().__init__(_RawFile(fs.clnt, path, size, writes=True), block_bytes)
        self.fs = fs
        self.path = path
        self.details = details
        self.blocksize = block_bytes


def open_reader(fs: _ReadingFs, path: str, block_bytes: int) -> io.BufferedReader:
    """A file open for reading, of which a small one is read already; the caller closes it. A pipe's is not seekable.
    NotFound and IsDir are raised here, not by the first read."""
    clnt = fs.clnt
    details, data = clnt.run(_look(fs, path))
    if details["type"] == "other":
        return clnt.open_reader(entries.followed(path))  # a pipe: nothing to seek in
    if data is None:
        raw: Any = _RawFile(clnt, path, details["size"], writes=False)
    else:
        details = {**details, "size": len(data)}  # it may have changed between the two calls: the contents count
        raw = io.BytesIO(data)
        block_bytes = min(block_bytes, max(1, len(data)))
    return SigmaReader(fs, path, details, raw, block_bytes)


async def _look(fs: _ReadingFs, path: str) -> tuple[Entry, bytes | None]:
    """What is at a pathname, and the contents if they are small."""
    details = await fs._info(path)
    if details["type"] == "directory":
        raise serr.IsDir(path)
    sc = fs.clnt.asynchronous
    if details["type"] == "other" or details["size"] >= sc.read_bytes_max:
        return details, None
    return details, await sc.get_file(entries.followed(path))


def open_random(fs: _ReadingFs, path: str, block_bytes: int) -> SigmaRandom:
    """A file open for reading and for writing in place; the caller closes it. NotFound if there is none; NotSupported
    where a server cannot write in place (S3)."""
    details = fs.info(path)
    if details["type"] == "directory":
        raise serr.IsDir(path)
    return SigmaRandom(fs, path, details, block_bytes)


def _reopen(fs: _ReadingFs, path: str, block_bytes: int, at: int) -> Any:
    file = fs.open(path, "rb", block_size=block_bytes)
    file.seek(at)
    return file
