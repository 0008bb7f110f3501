"""Records in streams, blocking: of ``SigmaClnt``'s readers and writers, and of any other binary file object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from sigmaos_ray.fslib.jsontext import to_json
from sigmaos_ray.fslib.records import JsonSplitter, RecordSplitter, pack_record

if TYPE_CHECKING:
    import io
    from collections.abc import Iterator
    from typing import BinaryIO

_PART_BYTES: Final = 1 << 20


class Writable(Protocol):
    def write(self, data: bytes, /) -> object: ...


def write_record(writer: Writable, data: bytes | bytearray | memoryview) -> None:
    """Adds a binary record: its length, and its bytes."""
    writer.write(pack_record(data))


def read_records(reader: io.BufferedReader | BinaryIO) -> Iterator[bytes]:
    """The binary records of a stream, to its end. Inval if it holds something else."""
    splitter = RecordSplitter()
    for part in _parts(reader):
        yield from splitter.feed(part)
    splitter.finish()


def write_json_record(writer: Writable, value: Any) -> None:
    """Adds a JSON value, on a line of its own."""
    writer.write(to_json("record", value) + b"\n")


def read_json_records(reader: io.BufferedReader | BinaryIO) -> Iterator[Any]:
    """The JSON values of a stream, to its end. Inval if it holds something else."""
    splitter = JsonSplitter()
    for part in _parts(reader):
        yield from splitter.feed(part)
    yield from splitter.finish()


def _parts(reader: io.BufferedReader | BinaryIO) -> Iterator[bytes]:
    # read1 gives what is there: a record in a pipe is told before the next one is written.
    read = getattr(reader, "read1", reader.read)
    while part := read(_PART_BYTES):
        yield part
