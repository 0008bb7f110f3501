"""Readers and writers as Python's file objects."""

from __future__ import annotations

import io
import threading
from typing import TYPE_CHECKING, Any, Final, Self

from sigmaos_ray import serr
from sigmaos_ray.blocking.face import Face
from sigmaos_ray.fslib.buffers import octets
from sigmaos_ray.sigmap import OWRITE, Mode, Perm

if TYPE_CHECKING:
    from types import TracebackType

    from sigmaos_ray.fslib import AsyncParallelReader, AsyncReader, AsyncWriter
    from sigmaos_ray.fslib.part import Data

READER_BUFFER_BYTES: Final = 1 << 20
GATHERED_BYTES: Final = 64 << 10


class _RawReader(io.RawIOBase):
    def __init__(self, sc: Face, reader: AsyncReader) -> None:
        self._sc = sc
        self._reader = reader

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._sc.direct(self._reader.readinto, memoryview(buffer).cast("B"))

    def readall(self) -> bytes:
        return self._sc.direct(self._reader.read)

    def close(self) -> None:
        if not self.closed:
            super().close()
            try:
                self._sc.run(self._reader.close())
            except (serr.SigmaError, RuntimeError):  # the client is closed, or the interpreter ends: so is the reader
                return


def buffered_reader(sc: Face, reader: AsyncReader, buffer_bytes: int | None = None) -> io.BufferedReader:
    """A file object of an open reader; closing it frees the file."""
    return io.BufferedReader(_RawReader(sc, reader), min(buffer_bytes or READER_BUFFER_BYTES, READER_BUFFER_BYTES))


class ParallelReader:
    """A file for any number of threads that each take the next chunk. A context manager."""

    def __init__(self, sc: Face, reader: AsyncParallelReader) -> None:
        self._sc = sc
        self._reader = reader

    def get_chunk_reader(self, size: int, step: int | None = None) -> tuple[io.BufferedReader, int] | None:
        """See ``AsyncParallelReader.get_chunk_reader``."""
        chunk = self._sc.run(self._get_chunk_reader(size, step))
        return None if chunk is None else (buffered_reader(self._sc, chunk[0], size), chunk[1])

    async def _get_chunk_reader(self, size: int, step: int | None) -> tuple[AsyncReader, int] | None:
        return self._reader.get_chunk_reader(size, step)

    def close(self) -> None:
        """Frees the file. May be repeated."""
        self._sc.run(self._reader.close())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class Writer(io.BufferedIOBase):
    """A file object that writes. ``close`` makes durable and tells what went wrong; a ``with`` block that raises
    aborts, and so does forgetting to close: on S3 nothing appears then. May be shared by threads."""

    def __init__(self, sc: Face, writer: AsyncWriter, gathered_bytes: int = GATHERED_BYTES) -> None:
        self._sc = sc
        self._writer = writer
        self._is_closed = False
        self._lock = threading.RLock()
        self._gathered = bytearray()
        """Small writes, not yet handed over: that costs more than to write them."""
        self._gathered_bytes = gathered_bytes

    def writable(self) -> bool:
        return True

    def write(self, data: Data) -> int:  # type: ignore[override]
        """Takes all of ``data``; may raise for an earlier part."""
        view = octets(data)
        size = len(view)
        with self._lock:
            if self.closed:
                raise ValueError("write to a closed writer")
            if len(self._gathered) + size < self._gathered_bytes:
                self._gathered += view
            else:
                self._hand_over()
                self._sc.run(self._writer.write(data if type(data) is bytes else view))
        return size

    def _hand_over(self) -> None:
        if self._gathered:
            gathered, self._gathered = self._gathered, bytearray()
            self._sc.run(self._writer.write(gathered))

    def tell(self) -> int:
        """Where the next byte goes: with OAPPEND the end of the file, which the server is asked for."""
        with self._lock:
            start = self._sc.run(self._writer.tell()) if self._writer.appends else self._writer.written_bytes
            return start + len(self._gathered)

    def flush(self) -> None:
        """Sends what is buffered. (On S3 the object still appears only at the close.)"""
        with self._lock:
            if not self.closed:
                self._hand_over()
                self._sc.run(self._writer.flush())

    def close(self) -> None:
        with self._lock:
            if self.closed:
                return
            try:
                self._hand_over()
            except BaseException:  # what was not written whole is not to appear, whoever interrupts
                self.abort()
                raise
            try:
                self._sc.run(self._writer.close())
            finally:
                self._is_closed = True

    def abort(self) -> None:
        """Closes, and drops what is not durable yet."""
        with self._lock:
            if not self.closed:
                self._gathered.clear()
                try:
                    self._sc.run(self._writer.abort())
                finally:
                    self._is_closed = True

    @property
    def closed(self) -> bool:
        return self._is_closed

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.abort()

    def __del__(self) -> None:
        """Does nothing: a writer that nobody closed must not become durable by chance."""


class StreamsFace(Face):
    """See ``fslib.streams``. Readers and writers are open when these return."""

    def open_reader(
        self, pn: str, offset: int = 0, length: int | None = None, *, buffer_bytes: int | None = None
    ) -> io.BufferedReader:
        """A file object that reads ahead: ``length`` bytes from ``offset``, or to the end. ``buffer_bytes``: how much
        one read asks for, at most 1 MiB, which is the default."""
        reader = self._clnt.open_reader(pn, offset, length, buffer_bytes=buffer_bytes)
        return buffered_reader(self, self.run(reader.open()), buffer_bytes)

    def open_wait_reader(self, pn: str, timeout_s: float | None = None) -> io.BufferedReader:
        """A file object of ``pn``, once it exists. NotFound if its parent is missing; Timeout past ``timeout_s``."""
        return buffered_reader(self, self.run(self._clnt.open_wait_reader(pn, timeout_s)))

    def open_parallel_reader(self, pn: str, offset: int = 0, length: int | None = None) -> ParallelReader:
        """A file that several threads read at a time, each the next chunk that nobody took yet."""
        return ParallelReader(self, self.run(self._clnt.open_parallel_reader(pn, offset, length).open()))

    def create_writer(
        self, pn: str, perm: Perm = 0o777, mode: Mode = OWRITE, *, buffer_bytes: int | None = None
    ) -> Writer:
        """A file object that makes ``pn`` or replaces its contents (OEXCL, OAPPEND: see ``put_file``), and writes
        behind. ``buffer_bytes``: how much one write sends, at most 1 MiB, which is the default."""
        return self._writer(self._clnt.create_writer(pn, perm, mode, buffer_bytes=buffer_bytes), buffer_bytes)

    def open_writer(self, pn: str, mode: Mode = OWRITE, *, buffer_bytes: int | None = None) -> Writer:
        """A file object that writes what exists, a pipe say: from its beginning in place, unless ``mode`` has OTRUNC or
        OAPPEND. NotFound if it does not exist."""
        return self._writer(self._clnt.open_writer(pn, mode, buffer_bytes=buffer_bytes), buffer_bytes)

    def _writer(self, writer: AsyncWriter, buffer_bytes: int | None) -> Writer:
        return Writer(self, self.run(writer.open()), min(GATHERED_BYTES, buffer_bytes or GATHERED_BYTES))
