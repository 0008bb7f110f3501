"""Files open for writing: what shows when, and what is dropped if the work on it fails."""

from __future__ import annotations

import io
import os
import warnings
from typing import TYPE_CHECKING, Any, Protocol, Self

from sigmaos_ray import serr
from sigmaos_ray.fsspec import entries
from sigmaos_ray.sigmap import DEV_S3, OAPPEND, OEXCL, OWRITE
from sigmaos_ray.sigmap import path as paths

if TYPE_CHECKING:
    from types import TracebackType

    from sigmaos_ray.blocking import Writer
    from sigmaos_ray.sigmaclnt import SigmaClnt
    from sigmaos_ray.sigmap import Mode


class _WritingFs(Protocol):
    """What a writer asks of the file system that opened it."""

    @property
    def clnt(self) -> SigmaClnt: ...

    def open_writer(self, path: str, mode: Mode) -> Writer: ...

    def put_whole(self, path: str, data: bytes | bytearray, flags: Mode) -> None: ...

    def exists(self, path: str) -> Any: ...

    def unstrip_protocol(self, name: str) -> Any: ...


class SigmaWriter(io.BufferedIOBase):
    """A file that is written from its beginning (wb, xb) or at its end (ab).

    What is small goes in one message at the close, so that readers see the old file or the new one. What is larger is
    sent while it is written; S3 shows it at the close. ``flush`` is fsspec's: it sends nothing that is smaller than a
    block. A ``with`` block that raises drops what was written, as in ``SigmaClnt.create_writer``.

    In a transaction nothing shows before ``commit``: a small file waits here, a large one beside its place, or in S3's
    hands.
    """

    def __init__(self, fs: _WritingFs, path: str, mode: str, *, autocommit: bool) -> None:
        self.fs = fs
        self.path = path
        self.mode = mode
        self.autocommit = autocommit
        self._buffer = bytearray()
        self._stream: Writer | None = None
        self._target = path
        """What the stream writes."""
        self._written_bytes = 0
        self._is_closed = True  # until it is open: ``__del__`` runs for one that could not be opened, too
        self._is_settled = False
        """True once it is committed, or dropped."""
        if mode == "ab" and not autocommit:
            raise serr.NotSupported(path, "an append cannot be undone: not in a transaction")
        # An append, and a file that must not exist, are settled with the server now; whole contents can wait for the
        # close, and are one message then if they are small.
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
        # In a transaction what is too large to wait in memory is written beside its place, where a rename puts it there
        # in one moment. S3 has no rename, and needs none: its uploads show when they are finished.
        if not self.autocommit and not self._shows_at_close():
            directory, _, name = self.path.rpartition("/")
            self._target = f"{directory}/{paths.name_beside(name, f'.{os.urandom(8).hex()}')}"
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
        """The file takes its place, at the end of a transaction. If that fails, nothing of it stays. A file that was
        dropped stays so."""
        self.close()
        if self._is_settled:
            return
        self._is_settled = True
        if self._target == self.path:
            self._finish()
            return
        try:
            self._rename_target()
        except BaseException:
            self._remove_target()
            raise

    def _rename_target(self) -> None:
        # Not in one moment: a rename replaces what somebody makes in between. There is no call that would not.
        if self.mode == "xb" and self.fs.exists(self.path):
            raise serr.Exists(self.path)
        self.fs.clnt.rename(self._target, self.path)

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
    """A compressor over a ``SigmaWriter``, which it owns: closing it closes both, as Python's own compressors do not. A
    ``with`` block that raises drops both."""

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
    """Text over one of the writers, which it owns. A ``with`` block that raises drops what was written."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None and isinstance(self.buffer, SigmaWriter | CompressedWriter):
            self.buffer.discard()
        else:
            self.close()
