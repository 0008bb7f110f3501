"""Where in the tree the entries are that do not outlive the server, leased files and pipes: told to the next server.

A line per record. Each is written before the change that it tells of, so an entry may be at any of its places or at
none: who reads the journal compares inodes (see ``passing``). A line that a crash cut short is left out.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, Final

import msgspec

from kernel.ux.hostdir import translated
from sigmaos_ray import decoding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from kernel.ux.hostdir import HostDir

JOURNAL: Final = "journal"
_NEW: Final = "journal.new"


class At(msgspec.Struct, frozen=True, array_like=True, tag="at"):
    """An entry may be at ``way`` from now on. ``mark`` names it for good."""

    mark: str
    way: list[str]


class Moved(msgspec.Struct, frozen=True, array_like=True, tag="moved"):
    """What is at or below ``old`` may be at or below ``new`` from now on."""

    old: list[str]
    new: list[str]


class Gone(msgspec.Struct, frozen=True, array_like=True, tag="gone"):
    """The entry is no more."""

    mark: str


Record = At | Moved | Gone
_as_record: Any = Record  # mypy knows no type of a union
_decode: Final[Callable[[bytes], Record]] = decoding.json_decoder(_as_record)


def places(data: bytes) -> dict[str, list[tuple[str, ...]]]:
    """By mark, every way where an entry may be."""
    ways_by_mark: dict[str, dict[tuple[str, ...], None]] = {}
    # JSON has no bare line ends, so each line is one record, or what a crash left of one.
    for record in _readable(data.splitlines()):
        if isinstance(record, At):
            # Added to those before it: a record may tell of a move that never came.
            ways_by_mark.setdefault(record.mark, {})[tuple(record.way)] = None
        elif isinstance(record, Gone):
            ways_by_mark.pop(record.mark, None)
        else:
            _move(ways_by_mark, tuple(record.old), tuple(record.new))
    return {mark: list(ways) for mark, ways in ways_by_mark.items()}


def _readable(lines: Iterable[bytes]) -> Iterator[Record]:
    for line in lines:
        with contextlib.suppress(msgspec.MsgspecError):
            yield _decode(line)


def _move(ways_by_mark: dict[str, dict[tuple[str, ...], None]], old: tuple[str, ...], new: tuple[str, ...]) -> None:
    # The old ways stay: the record is older than the rename, which may never have come.
    for ways in ways_by_mark.values():
        ways |= dict.fromkeys(new + way[len(old) :] for way in ways if way[: len(old)] == old)


class PlacesJournal:
    """The journal in a directory of the server's own. Whoever makes it closes it. Short calls that block."""

    def __init__(self, directory: HostDir, *, sync: bool) -> None:
        self._directory = directory
        self._sync = sync
        self._fd = directory.make_file(JOURNAL, 0o600)
        self.records_count = 0

    def close(self) -> None:
        """The file stays, for whoever clears the directory."""
        os.close(self._fd)

    def append(self, record: Record) -> None:
        """Once this returns, the next server reads it. If it fails, nothing was written."""
        line = msgspec.json.encode(record) + b"\n"
        with translated(JOURNAL):
            size = os.fstat(self._fd).st_size
            # At the size, not by O_APPEND, so that what is cut off below is this line and nothing else.
            try:
                _write(self._fd, line, size)
                if self._sync:
                    os.fsync(self._fd)
            except OSError:
                os.ftruncate(self._fd, size)
                raise
        self.records_count += 1

    def rewrite(self, records: Iterable[Record]) -> None:
        """Replaces all records, in one moment. If it fails, the old ones stand."""
        lines = [msgspec.json.encode(record) + b"\n" for record in records]
        fd = self._directory.make_file(_NEW, 0o600)
        try:
            with translated(JOURNAL):
                _write(fd, b"".join(lines), 0)
                if self._sync:
                    os.fsync(fd)
            self._directory.rename(_NEW, self._directory, JOURNAL)
        except BaseException:  # whatever it was: the old journal stays, and nothing of the new one
            os.close(fd)
            self._directory.remove(_NEW, is_dir=False)
            raise
        os.close(self._fd)
        self._fd = fd
        self.records_count = len(lines)


def read(directory: HostDir) -> bytes:
    """What the journal in a directory says. NotFound if there is none."""
    fd = directory.open_file(JOURNAL, writable=False)
    try:
        with translated(JOURNAL):
            return b"".join(iter(lambda: os.read(fd, 1 << 20), b""))
    finally:
        os.close(fd)


def _write(fd: int, data: bytes, offset: int) -> None:
    rest = memoryview(data)
    while rest:
        done = os.pwrite(fd, rest, offset)
        offset += done
        rest = rest[done:]
