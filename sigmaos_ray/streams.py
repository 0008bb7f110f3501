"""The blocking faces of readers, writers and watches: Python's own file objects over those of ``fslib``."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Protocol, Self

from sigmaos_ray import serr

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator
    from types import TracebackType

    from sigmaos_ray.fslib import AsyncReader, AsyncWriter, DirWatch, WatchEvent
    from sigmaos_ray.fslib.files import Data

READER_BUFFER_BYTES = 1 << 20


class Runner(Protocol):
    """Runs a coroutine on the client's loop and blocks for its result."""

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any: ...


class _RawReader(io.RawIOBase):
    def __init__(self, sc: Runner, reader: AsyncReader) -> None:
        self._sc = sc
        self._reader = reader

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count: int = self._sc.run(self._reader.readinto(memoryview(buffer).cast("B")))
        return count

    def readall(self) -> bytes:
        data: bytes = self._sc.run(self._reader.read())
        return data

    def close(self) -> None:
        if not self.closed:
            super().close()
            try:
                self._sc.run(self._reader.close())
            except (serr.SigmaError, RuntimeError):  # the client is closed, or the interpreter ends: so is the reader
                return


def buffered_reader(sc: Runner, reader: AsyncReader) -> io.BufferedReader:
    """A file object of an open reader; closing it frees the file."""
    return io.BufferedReader(_RawReader(sc, reader), READER_BUFFER_BYTES)


class Writer(io.BufferedIOBase):
    """A file object that writes. ``close`` makes durable and tells what went wrong; a ``with`` block that raises
    aborts, and so does forgetting to close: on S3 nothing appears then."""

    def __init__(self, sc: Runner, writer: AsyncWriter) -> None:
        self._sc = sc
        self._writer = writer
        self._is_closed = False

    def writable(self) -> bool:
        return True

    def write(self, data: Data) -> int:  # type: ignore[override]
        """Takes all of ``data``; may raise for an earlier part."""
        if self.closed:
            raise ValueError("write to a closed writer")
        count: int = self._sc.run(self._writer.write(data))
        return count

    def tell(self) -> int:
        return self._writer.written_bytes

    def flush(self) -> None:
        """Sends what is buffered. (On S3 the object still appears only at the close.)"""
        if not self.closed:
            self._sc.run(self._writer.flush())

    def close(self) -> None:
        if not self.closed:
            try:
                self._sc.run(self._writer.close())
            finally:
                self._is_closed = True

    def abort(self) -> None:
        """Closes, and drops what is not durable yet."""
        if not self.closed:
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


class Watch:
    """The blocking face of ``DirWatch``: ``with sc.watch_dir(pn) as w: for event in w: ...``"""

    def __init__(self, sc: Runner, watch: DirWatch) -> None:
        self._sc = sc
        self._watch = watch

    def __enter__(self) -> Self:
        self._sc.run(self._watch.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._sc.run(self._watch.__aexit__(kind, error, traceback))

    def __iter__(self) -> Iterator[WatchEvent]:
        while True:
            yield self.next_event()

    def next_event(self, timeout_s: float | None = None) -> WatchEvent:
        """The next change. Timeout if there is none in time; the watch stays set."""
        event: WatchEvent = self._sc.run(self._watch.next_event(timeout_s))
        return event

    def read(self, timeout_s: float | None = None) -> list[WatchEvent]:
        """All changes since the last read; blocks until there is one."""
        events: list[WatchEvent] = self._sc.run(self._watch.read(timeout_s))
        return events
