"""Files open for writing: what shows when, and what is dropped if the work on it fails."""

from __future__ import annotations

import io
import sys
import warnings
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from fsspec.core import OpenFile

from sigmaos_ray import serr
from sigmaos_ray.fslib.buffers import octets
from sigmaos_ray.fsspec import deliveries

if TYPE_CHECKING:
    from types import CodeType, FrameType, TracebackType

_OPEN_FILE_EXIT: Final[CodeType] = OpenFile.__exit__.__code__
_FRAMES_MAX: Final = 12
"""Between a writer's ``close`` and an ``OpenFile`` that closes it lie the files around it."""


class _WritingFs(deliveries.DeliveringFs, Protocol):
    """What a writer asks of the file system that opened it."""

    def end_of(self, path: str) -> int:
        """A file's size; 0 if it is not there. NotSupported where nothing can be appended."""

    def drop_later(self, delivery: deliveries.Delivery) -> None:
        """Drops what nobody holds any more, behind the caller, which may be the garbage collector."""

    def exists(self, path: str) -> Any: ...

    def unstrip_protocol(self, name: str) -> Any: ...


class SigmaWriter(io.BufferedIOBase):
    """A file that is written from its beginning (wb, xb) or at its end (ab). Published at the close, whole; in a
    transaction by ``commit``.

    ``flush`` is fsspec's: it publishes nothing. What is dropped, by a ``with`` block that raises, by ``discard``, or
    because nobody closed it, leaves what was there before.
    """

    def __init__(self, fs: _WritingFs, path: str, mode: str, *, autocommit: bool) -> None:
        self._is_closed = True  # until it is open: ``__del__`` runs for one that could not be opened, too
        self._is_settled = False
        """True once it is published, or dropped."""
        self.fs = fs
        self.path = path
        self.mode = mode
        self.autocommit = autocommit
        self._at = 0
        if mode == "ab":
            if not autocommit:
                raise serr.NotSupported(path, "an append cannot be undone: not in a transaction")
            self._at = fs.end_of(path)
        elif mode == "xb" and fs.exists(path):
            raise serr.Exists(path)
        self.delivery: deliveries.Delivery = deliveries.started(fs, path, mode)
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
        """Where the next byte goes; of an append behind the end that the file had when it was opened."""
        if self._is_closed:
            raise ValueError("tell of a closed file")
        return self._at

    def write(self, data: Any) -> int:
        """Takes all of ``data``, anything with a buffer; may raise for an earlier part."""
        if self._is_closed:
            raise ValueError("write to a closed file")
        view = octets(data)
        if isinstance(self.delivery, deliveries.Held) and not self.delivery.fits(len(view)):
            self.delivery = self.delivery.grown()
        self.delivery.write(view)
        self._at += len(view)
        return len(view)

    def close(self) -> None:
        """Publishes, or in a transaction makes ready for ``commit``; raises what was met, and then nothing shows. May
        be repeated."""
        if self._is_closed:
            return
        if _block_raised():
            self.discard()
            return
        self._is_closed = True
        if self.autocommit:
            self._is_settled = True
            self.delivery.publish()
        else:
            self.delivery.finish()

    def commit(self) -> None:
        """The file takes its place, at the end of a transaction. If that fails, nothing of it stays. A file that was
        dropped stays so."""
        self.close()
        if not self._is_settled:
            self._is_settled = True
            self.delivery.publish()

    def discard(self) -> None:
        """Drops what was written; nothing of it shows. May be repeated."""
        self._is_closed = True
        if not self._is_settled:
            self._is_settled = True
            self.delivery.drop()

    abort = discard

    @property
    def is_settled(self) -> bool:
        """True once it is published, or dropped: a transaction has nothing to do with it any more."""
        return self._is_settled

    def settle(self) -> None:
        """Somebody else published the contents."""
        self._is_closed = self._is_settled = True

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
        if not self._is_closed:
            self._is_closed = self._is_settled = True
            self.fs.drop_later(self.delivery)
            warnings.warn(f"{self.path} was not closed and is lost", ResourceWarning, source=self, stacklevel=2)


class PipedFile:
    """What was piped in a transaction, until that ends: one of its files."""

    def __init__(self, fs: deliveries.DeliveringFs, path: str, data: memoryview, mode: str) -> None:
        self.path = path
        self.delivery: deliveries.Delivery = deliveries.started(fs, path, mode)
        self.delivery.write(data)
        self.is_settled = False

    def close(self) -> None:
        """It is ready as it is."""

    def commit(self) -> None:
        """The file takes its place."""
        if not self.is_settled:
            self.is_settled = True
            self.delivery.publish()

    def discard(self) -> None:
        """Drops it."""
        self.settle()
        self.delivery.drop()

    def settle(self) -> None:
        """Somebody else published the contents."""
        self.is_settled = True


def _block_raised() -> bool:
    """Whether this is the end of a block of ``fsspec.open`` that raised: it closes its files all the same, and tells
    them nothing."""
    frame: FrameType | None = sys._getframe()
    for _ in range(_FRAMES_MAX):
        if frame is None:
            return False
        if frame.f_code is _OPEN_FILE_EXIT:
            return any(isinstance(argument, BaseException) for argument in frame.f_locals.get("args", ()))
        frame = frame.f_back
    return False


class _Tap(io.BufferedIOBase):
    """What a compressor writes to: the file behind it, or once that was dropped nothing, since a compressor ends its
    stream however it comes to its end."""

    def __init__(self, file: SigmaWriter) -> None:
        self._file: SigmaWriter | None = file

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return len(octets(data)) if self._file is None else self._file.write(data)

    def tell(self) -> int:
        return 0 if self._file is None else self._file.tell()

    def shut(self) -> None:
        """From now on nothing gets through."""
        self._file = None


class CompressedWriter(io.BufferedIOBase):
    """A compressor over a ``SigmaWriter``, which it owns: closing it closes both, as Python's own compressors do not. A
    ``with`` block that raises drops both."""

    def __init__(self, file: SigmaWriter, make_compressor: Any) -> None:
        self._file = file
        self._tap = _Tap(file)
        self._compressor = make_compressor(self._tap, mode="w")

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return int(self._compressor.write(octets(data)))

    def tell(self) -> int:
        """How much was given to be compressed."""
        return int(self._compressor.tell())

    @property
    def closed(self) -> bool:
        return self._file.closed

    def close(self) -> None:
        if not self.closed:
            self._compressor.close()
            self._file.close()

    def discard(self) -> None:
        """Drops what was written."""
        self._tap.shut()
        self._file.discard()
        self._compressor.close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.discard()

    def __del__(self) -> None:
        """Does not close, as the file beneath does not; that one warns."""
        self._tap.shut()


class SigmaTextWriter(io.TextIOWrapper):
    """Text over one of the writers, which it owns. A ``with`` block that raises drops what was written."""

    def tell(self) -> int:
        """Where the next character goes, in bytes."""
        self.flush()
        return int(self.buffer.tell())  # type: ignore[attr-defined]  # it is one of ours

    def discard(self) -> None:
        """Drops what was written."""
        if isinstance(self.buffer, SigmaWriter | CompressedWriter):
            self.buffer.discard()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.discard()

    def __del__(self) -> None:
        """Does not close, as the file beneath does not; that one warns."""
