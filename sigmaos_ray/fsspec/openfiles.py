"""Open files as fsspec's users expect them: Python's own buffered files over the client's descriptors and writers."""

from __future__ import annotations

import io
import os
import warnings
from typing import TYPE_CHECKING, Any, Self

from sigmaos_ray import serr
from sigmaos_ray.fsspec import entries
from sigmaos_ray.fsspec.ranges import Ranges
from sigmaos_ray.sigmap import DEV_S3, OAPPEND, OEXCL, ORDWR, OREAD, OWRITE

if TYPE_CHECKING:
    from types import TracebackType

    from sigmaos_ray.blocking import Writer
    from sigmaos_ray.fsspec.entries import Entry
    from sigmaos_ray.fsspec.filesystem import SigmaFileSystem
    from sigmaos_ray.sigmaclnt import SigmaClnt

BUFFER_BYTES = 1 << 20


class _RawFile(io.RawIOBase):
    """An open descriptor, seekable; ``writes`` says whether it also writes, in place."""

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
        count = self._clnt.run(self._write(bytes(data)))
        self._at += count
        self._size = max(self._size, self._at)
        return count

    async def _write(self, data: bytes) -> int:
        sc = self._clnt.asynchronous
        await self._ranges.drop()
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


class _Named:
    """What fsspec's users ask of an open file besides Python's."""

    fs: SigmaFileSystem
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


class SigmaReader(_Named, io.BufferedReader):
    """A file open for reading. A small one was read whole when it was opened, in one message; a large one is read on,
    with the next parts under way. Pickles as its pathname and position."""

    mode = "rb"

    def __init__(self, fs: SigmaFileSystem, path: str, details: Entry, raw: Any, block_bytes: int) -> None:
        super().__init__(raw, block_bytes)
        self.fs = fs
        self.path = path
        self.details = details
        self.blocksize = block_bytes

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.fs, self.path, self.blocksize, self.tell())


class SigmaRandom(_Named, io.BufferedRandom):
    """A file open for reading and for writing in place."""

    mode = "r+b"

    def __init__(self, fs: SigmaFileSystem, path: str, details: Entry, block_bytes: int) -> None:
        size = details["size"]
        super().__init__(_RawFile(fs.clnt, path, size, writes=True), block_bytes)
        self.fs = fs
        self.path = path
        self.details = details
        self.blocksize = block_bytes


def open_reader(fs: SigmaFileSystem, path: str, block_bytes: int) -> io.BufferedReader:
    """An open file. NotFound, IsDir and the like come here."""
    clnt = fs.clnt
    details, data = clnt.run(_look(fs, path))
    if details["type"] == "other":
        return clnt.open_reader(entries.followed(path))  # a pipe: nothing to seek in
    if data is None:
        raw: Any = _RawFile(clnt, path, details["size"], writes=False)
    else:
        details = {**details, "size": len(data)}
        raw = io.BytesIO(data)
        block_bytes = min(block_bytes, max(1, len(data)))
    return SigmaReader(fs, path, details, raw, block_bytes)


async def _look(fs: SigmaFileSystem, path: str) -> tuple[Entry, bytes | None]:
    """What is at a pathname, and the contents if they are small."""
    details = await fs._info(path)
    if details["type"] == "directory":
        raise serr.IsDir(path)
    sc = fs.clnt.asynchronous
    if details["type"] == "other" or details["size"] >= sc.read_bytes_max:
        return details, None
    return details, await sc.get_file(entries.followed(path))


def open_random(fs: SigmaFileSystem, path: str, block_bytes: int) -> SigmaRandom:
    """An open file. NotFound if there is none; NotSupported where a server cannot write in place (S3)."""
    details = fs.info(path)
    if details["type"] == "directory":
        raise serr.IsDir(path)
    return SigmaRandom(fs, path, details, block_bytes)


def _reopen(fs: SigmaFileSystem, path: str, block_bytes: int, at: int) -> Any:
    file = fs.open(path, "rb", block_size=block_bytes)
    file.seek(at)
    return file


class SigmaWriter(io.BufferedIOBase):
    """A file that is written from its beginning (wb, xb) or at its end (ab).

    What is small goes in one message at the close, so that readers see the old file or the new one. What is larger is
    sent while it is written; S3 shows it at the close. ``flush`` is fsspec's: it sends nothing that is smaller than a
    block. A ``with`` block that raises aborts, as in ``SigmaClnt.create_writer``.

    In a transaction nothing shows before ``commit``: a small file waits here, a large one beside its place, or in S3's
    hands.
    """

    def __init__(self, fs: SigmaFileSystem, path: str, mode: str, *, autocommit: bool) -> None:
        self.fs = fs
        self.path = path
        self.mode = mode
        self.autocommit = autocommit
        self._buffer = bytearray()
        self._stream: Writer | None = None
        self._target = path
        """What the stream writes."""
        self._written_bytes = 0
        self._is_closed = True
        self._is_settled = False
        """True once it is committed, or dropped."""
        if mode == "ab" and not autocommit:
            raise serr.NotSupported(path, "an append cannot be undone: not in a transaction")
        if mode != "wb" and autocommit:
            self._stream = fs.open_writer(path, OWRITE | (OEXCL if mode == "xb" else OAPPEND))
        elif mode == "xb" and fs.exists(path):
            raise serr.Exists(path)
        self._is_closed = False

    @property
    def name(self) -> str:
        return self.path

    @property
    def full_name(self) -> str:
        return str(self.fs.unstrip_protocol(self.path))

    def writable(self) -> bool:
        return True

    @property
    def closed(self) -> bool:
        return self._is_closed

    def tell(self) -> int:
        """How many bytes were written here."""
        return self._written_bytes

    def write(self, data: Any) -> int:
        """Takes all of ``data``, anything with a buffer; may raise for an earlier part."""
        if self._is_closed:
            raise ValueError("write to a closed file")
        view = memoryview(data).cast("B")
        if self._stream is not None:
            self._stream.write(view)
        else:
            self._buffer += view
            if len(self._buffer) > self.fs.clnt.asynchronous.read_bytes_max:
                self._start_stream()
        self._written_bytes += len(view)
        return len(view)

    def _start_stream(self) -> None:
        if not self.autocommit and not self._shows_at_close():
            self._target = f"{self.path}.{os.urandom(8).hex()}"
        mode = OWRITE | (OEXCL if self.mode == "xb" or self._target != self.path else 0)
        self._stream = self.fs.open_writer(self._target, mode)
        self._stream.write(self._buffer)
        self._buffer.clear()

    def _shows_at_close(self) -> bool:
        """True on S3, where an open writer can still be dropped."""
        parent = self.path.rpartition("/")[0]
        try:
            return self.fs.clnt.stat(entries.followed(parent)).dev == DEV_S3
        except serr.NotFound:  # a directory that is to be made; on S3 those come by themselves
            return False

    def close(self) -> None:
        """Makes durable, or in a transaction ready for ``commit``; raises what was met. May be repeated."""
        if self._is_closed:
            return
        self._is_closed = True
        if self.autocommit:
            self._is_settled = True
            self._finish()
        elif self._stream is not None and self._target != self.path:
            self._stream.close()

    def _finish(self) -> None:
        if self._stream is not None:
            self._stream.close()
        else:
            self.fs.put_whole(self.path, self._buffer, OWRITE | (OEXCL if self.mode == "xb" else 0))

    def commit(self) -> None:
        """The file takes its place. Of a transaction; a file that was dropped stays so."""
        self.close()
        if self._is_settled:
            return
        self._is_settled = True
        if self._target == self.path:
            self._finish()
            return
        try:
            if self.mode == "xb" and self.fs.exists(self.path):
                raise serr.Exists(self.path)
            self.fs.clnt.rename(self._target, self.path)
        except BaseException:  # a cancellation too: what was made is taken back, and it goes on
            self._remove_target()
            raise

    def discard(self) -> None:
        """Drops what was written; nothing of it shows. Where the file was written in place (no transaction), what was
        sent already stays, except on S3. May be repeated."""
        self._is_closed = True
        if self._is_settled:
            return
        self._is_settled = True
        self._buffer.clear()
        if self._stream is not None:
            self._stream.abort()
            if self._target != self.path:
                self._remove_target()

    abort = discard

    def _remove_target(self) -> None:
        try:
            self.fs.clnt.remove(self._target)
        except serr.SigmaError:  # its server is gone: the error that led here is the one to tell
            return

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.discard()

    def __del__(self) -> None:
        """Does not close: what nobody closed must not show by chance."""
        if not getattr(self, "_is_closed", True):
            warnings.warn(f"{self.path} was not closed and is lost", ResourceWarning, source=self, stacklevel=2)


class CompressedWriter(io.BufferedIOBase):
    """A compressor over a ``SigmaWriter``; closing it closes both, which Python's own compressors leave to others."""

    def __init__(self, file: SigmaWriter, compressor: Any) -> None:
        self._file = file
        self._compressor = compressor

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return int(self._compressor.write(data))

    @property
    def closed(self) -> bool:
        return self._file.closed

    def close(self) -> None:
        if not self.closed:
            self._compressor.close()
            self._file.close()

    def discard(self) -> None:
        """Drops what was written."""
        self._file.discard()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.discard()


class SigmaTextWriter(io.TextIOWrapper):
    """Text over one of the writers. A ``with`` block that raises aborts."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None and isinstance(self.buffer, SigmaWriter | CompressedWriter):
            self.buffer.discard()
        else:
            self.close()
