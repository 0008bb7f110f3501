"""Input that is compressed, as its name says. Such a file is one split: it cannot be read from its middle. Pure."""

from __future__ import annotations

import bz2
import lzma
import zlib
from typing import TYPE_CHECKING, Any, Final

from sigmaos_ray import extras, serr

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_STEP_BYTES: Final = 16 << 10
"""Taken at a time: what comes out may be a thousand times as much, and is in memory."""


def _zstd() -> Any:
    # Here, for mappers alone, and of such input.
    extras.need("zstandard", for_="input of MapReduce that is compressed by zstd")
    import zstandard

    return zstandard.ZstdDecompressor().decompressobj()


_MAKERS: Final[dict[str, Callable[[], Any]]] = {
    ".gz": lambda: zlib.decompressobj(wbits=31),
    ".zst": _zstd,
    ".bz2": bz2.BZ2Decompressor,
    ".xz": lzma.LZMADecompressor,
}


def suffix_of(pathname: str) -> str:
    """What tells how a file is compressed; empty if it is not."""
    suffix = "." + pathname.rpartition("/")[2].rpartition(".")[2].lower()
    return suffix if suffix in _MAKERS else ""


class Decompressor:
    """One file's contents, from its beginning: ``feed`` what is read, then ``end``. A file may be several streams one
    behind the other, as ``cat a.gz b.gz`` makes it. Inval, with the pathname, for what is not compressed that way."""

    def __init__(self, pathname: str) -> None:
        self._pathname = pathname
        self._suffix = suffix_of(pathname)
        self._stream: Any = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        for start in range(0, len(data), _STEP_BYTES):
            rest = data[start : start + _STEP_BYTES]
            while rest := self._before_next(rest):
                try:
                    part = self._stream.decompress(rest)
                except Exception as error:  # of four libraries, each with an error of its own
                    raise self._bad(str(error)) from error
                rest = self._stream.unused_data if self._stream.eof else b""
                if part:
                    yield part

    def _before_next(self, rest: bytes) -> bytes:
        """What is still to be decompressed, with a stream that takes it."""
        if self._stream is None or self._stream.eof:
            # Tapes, and who writes like one, fill up behind a stream with zeros.
            rest = rest.lstrip(b"\0") if self._stream is not None else rest
            if rest:
                self._stream = _MAKERS[self._suffix]()
        return rest

    def end(self) -> None:
        """The file ends here."""
        if self._stream is not None and not self._stream.eof:
            raise self._bad("it ends too early")

    def _bad(self, why: str) -> serr.Inval:
        return serr.Inval(self._pathname, f"cannot be decompressed as its name says ({self._suffix}): {why}")
