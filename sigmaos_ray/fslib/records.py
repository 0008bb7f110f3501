"""Records in streams: binary ones with their length in front, and JSON values one after another.

A binary record is a 4-byte little-endian length and so many bytes. JSON values may stand on lines of their own, or
follow each other in any other way that JSON allows. Neither cares where the parts of a stream end.
"""

from __future__ import annotations

import re
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

import msgspec

from sigmaos_ray import serr
from sigmaos_ray.fslib.jsontext import to_json

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from sigmaos_ray.fslib.readers import AsyncReader
    from sigmaos_ray.fslib.writers import AsyncWriter

RECORD_BYTES_MAX: Final = 256 << 20
"""A length above it is taken for what it most likely is: not a record."""

_LENGTH: Final = Struct("<I")
# They find where a value ends, no more: whether it is JSON is for the decoder to say, so they may take too much.
_SPACE: Final = re.compile(rb"[ \t\r\n]*")
_IN_STRING: Final = re.compile(rb'["\\]')
_IN_NESTED: Final = re.compile(rb'["{}\[\]]')
_SCALAR_END: Final = re.compile(rb'[ \t\r\n"{}\[\]]')


def pack_record(data: bytes | bytearray | memoryview) -> bytes:
    """Inval for what is too long."""
    size = memoryview(data).nbytes
    if size > RECORD_BYTES_MAX:
        raise serr.Inval("record", f"{size} bytes, at most {RECORD_BYTES_MAX}")
    return _LENGTH.pack(size) + data


class RecordSplitter:
    """Parts of a stream in, records out."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, part: bytes) -> Iterator[bytes]:
        """The records that are whole now. Inval for a length that none has."""
        buffer = self._buffer
        buffer += part
        at = 0
        try:
            while len(buffer) - at >= _LENGTH.size:
                (size,) = _LENGTH.unpack_from(buffer, at)
                if size > RECORD_BYTES_MAX:
                    raise serr.Inval("record", f"{size} bytes, at most {RECORD_BYTES_MAX}: not a stream of records")
                end = at + _LENGTH.size + size
                if end > len(buffer):
                    break
                record = bytes(buffer[at + _LENGTH.size : end])
                at = end
                yield record
        finally:
            # Also when the caller stops half-way: what it was given does not come again.
            del buffer[:at]

    def finish(self) -> None:
        """The stream ended. Inval if that was within a record."""
        if self._buffer:
            raise serr.Inval("record", "the stream ends within a record")


class JsonSplitter:
    """Parts of a stream in, JSON values out. Each byte is looked at once, however the values are cut."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._start = 0
        """Where the value begins that is being looked at."""
        self._at = 0
        """How far it was looked at."""
        self._depth = 0
        self._in_string = False
        self._in_scalar = False

    def feed(self, part: bytes) -> Iterator[Any]:
        """The values that are whole now. Inval for what is no JSON."""
        self._buffer += part
        try:
            while self._find_end():
                value = _decode(bytes(memoryview(self._buffer)[self._start : self._at]))
                self._start = self._at
                yield value
        finally:
            self._forget()

    def finish(self) -> Iterator[Any]:
        """The stream ended: a number may end only now. Inval if it ended within a value."""
        if self._in_scalar:
            self._in_scalar = False
            yield _decode(bytes(self._buffer))
            self._buffer.clear()
        if self._depth or self._in_string:
            raise serr.Inval("JSON", "the stream ends within a value")

    def _forget(self) -> None:
        del self._buffer[: self._start]
        self._at -= self._start
        self._start = 0

    def _find_end(self) -> bool:
        """Looks on; True if a value ends at ``_at``, False if more has to come."""
        while True:
            if self._in_string:
                ended = self._pass_string()
            elif self._depth:
                ended = self._pass_nested()
            elif self._in_scalar:
                ended = self._pass_scalar()
            else:
                ended = self._begin()
            if ended is not None:
                return ended

    # Each passes something; True: the value ends there; False: more has to come; None: go on.

    def _begin(self) -> bool | None:
        space = _SPACE.match(self._buffer, self._at)
        assert space is not None
        self._start = self._at = space.end()
        if self._at == len(self._buffer):
            return False
        first = self._buffer[self._at]
        self._in_string = first == ord('"')
        self._depth = int(first in b"{[")
        self._in_scalar = not (self._in_string or self._depth)
        self._at += 1
        return None

    def _pass_string(self) -> bool | None:
        match = _IN_STRING.search(self._buffer, self._at)
        if match is None:
            self._at = len(self._buffer)
            return False
        if match[0] == b"\\":
            if match.end() == len(self._buffer):  # what it escapes has not come
                self._at = match.start()
                return False
            self._at = match.end() + 1
            return None
        self._at = match.end()
        self._in_string = False
        return None if self._depth else True

    def _pass_nested(self) -> bool | None:
        match = _IN_NESTED.search(self._buffer, self._at)
        if match is None:
            self._at = len(self._buffer)
            return False
        self._at = match.end()
        if match[0] == b'"':
            self._in_string = True
        else:
            self._depth += 1 if match[0] in b"{[" else -1
        return None if self._depth else True

    def _pass_scalar(self) -> bool | None:
        match = _SCALAR_END.search(self._buffer, self._at)
        if match is None:
            self._at = len(self._buffer)
            return False
        self._at = match.start()
        self._in_scalar = False
        return True


def _decode(text: bytes) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise serr.Inval("JSON", f"{error}: {text[:60].decode(errors='replace')}") from error


async def write_record(writer: AsyncWriter, data: bytes | bytearray | memoryview) -> None:
    """Adds a binary record."""
    await writer.write(pack_record(data))


async def read_records(reader: AsyncReader) -> AsyncIterator[bytes]:
    """The binary records of a stream, to its end. Inval if it holds something else."""
    splitter = RecordSplitter()
    async for part in reader:
        for record in splitter.feed(part):
            yield record
    splitter.finish()


async def write_json_record(writer: AsyncWriter, value: Any) -> None:
    """Adds a JSON value, on a line of its own."""
    await writer.write(to_json("record", value) + b"\n")


async def read_json_records(reader: AsyncReader) -> AsyncIterator[Any]:
    """The JSON values of a stream, to its end. Inval if it holds something else."""
    splitter = JsonSplitter()
    async for part in reader:
        for value in splitter.feed(part):
            yield value
    for value in splitter.finish():
        yield value
