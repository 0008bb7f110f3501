"""How a server keeps what happened to its shards: files, of which ``copies`` knows where they are.

Changes that waited while others were written are written together. Once the files hold much more than the shards do,
a snapshot takes their place; it is made shard by shard while changes go on.

log-<number>    changes, in order: frames, each of which is written at once
snap-<number>   all shards, each as it was at some moment after log <number> began
tmp-<number>    a snapshot that is being made

A frame is its length and CRC, 4 bytes each, and msgpack. A write that was cut short leaves a frame that does not fit.
It was never acknowledged, and nothing comes behind it, as each life of a server begins a log of its own.
"""

from __future__ import annotations

import asyncio
import re
import struct
import zlib
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from sigmaos_ray import debug, decoding, serr
from user.kv.changes import AnyChange
from user.kv.keys import SHARDS_COUNT
from user.kv.tuning import JOURNAL, JournalTuning

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from user.kv.state import ShardTable

_log = debug.selector("KVGRP")

_HEADER: Final = struct.Struct("<II")
_FILE_NAME: Final = re.compile(r"(log|snap)-(\d+)")
_encode = msgspec.msgpack.Encoder().encode
_decode = decoding.msgpack_decoder(list[AnyChange])


class JournalFiles(Protocol):
    """A directory, or several that are kept equal. Every call raises ``serr`` errors; a change that failed may have
    been made."""

    async def sizes(self) -> dict[str, int]:
        """The files, and how many bytes each has."""

    async def read(self, name: str) -> bytes:
        """All of a file."""

    async def create(self, name: str) -> None:
        """Begins a file, to be appended to, and closed. Exists if it is there."""

    async def append(self, name: str, data: bytes) -> None:
        """Returns once the data is where it outlives this process."""

    async def close_file(self, name: str) -> None:
        """No more of it comes."""

    async def rename(self, name: str, new: str) -> None:
        """Of a file that was begun here: it is there under one name at any moment."""

    async def remove(self, name: str) -> None:
        """Of a file that may be gone already."""


class KvJournal:
    """What one server wrote and writes. ``load`` it once, then ``add``, and ``close`` it.

    ``on_lost`` is called when a write failed: what is in memory is then not what is written, and the process must end.
    ``on_snapshot`` is called with the name of each snapshot that is complete, and of the log that began before it.
    """

    def __init__(
        self,
        files: JournalFiles,
        table: ShardTable,
        on_lost: Callable[[serr.SigmaError], None],
        on_snapshot: Callable[[str, str], Awaitable[None]] | None = None,
        tuning: JournalTuning = JOURNAL,
    ) -> None:
        self._files = files
        self._table = table
        self._on_snapshot = on_snapshot
        self._on_lost = on_lost
        self._tuning = tuning
        self._number = 0
        """Of the log that is written; 0: none yet."""
        self._is_turn_wanted = False
        self.log_bytes = 0
        """Of all logs since the last snapshot."""
        self._snapshot_bytes = 0
        self._waiting: list[AnyChange] = []
        self.last = 0
        """How many changes there were in this life: the position of the last one."""
        self.written = 0
        """How many of them are written: those up to this position."""
        self._progress: asyncio.Future[None] | None = None
        """Done once more is written, or nothing will be any more; None while nobody waits."""
        self._writer: asyncio.Task[None] | None = None
        self._snapshot: asyncio.Task[None] | None = None
        self._failed: serr.SigmaError | None = None

    # -- reading

    async def load(self) -> None:
        """Applies all that was written, and begins a log of its own. Nobody else may write there. IOErr for a snapshot
        that is damaged; else what the files raise."""
        files = [file for file in map(_parsed, await self._files.sizes()) if file is not None]
        first = max((number for kind, number in files if kind == "snap"), default=0)
        # The log of the same number began before the snapshot; changes that are in both are passed over.
        logs = sorted(number for kind, number in files if kind == "log" and number >= first)
        if first:
            self._snapshot_bytes = await self._apply_file(_snapshot_name(first), whole=True)
        for number in logs:  # one of the snapshot's number began before it: changes that are in both are passed over
            self.log_bytes += await self._apply_file(_log_name(number), whole=False)
        # Never the last one once more: behind a frame that was cut short, nothing would be read.
        self._number = max([first, *logs])
        await self._begin_log(first=True)
        # The server before this one may have been killed between its snapshot and this.
        await self._forget(first)

    async def _apply_file(self, name: str, *, whole: bool) -> int:
        """Returns how many bytes were good. ``whole``: all of them must be, since it was renamed when it was."""
        data = await self._files.read(name)
        good_bytes = 0
        while (frame := _frame_at(data, good_bytes)) is not None:
            for change in _decode(frame):
                self._table.apply(change)
            good_bytes += _HEADER.size + len(frame)
            await asyncio.sleep(0)  # a large file: the lease's keeper wants its turn
        if good_bytes < len(data):
            if whole:
                raise serr.IOErr(name, f"is damaged at byte {good_bytes}")
            debug.error(f"{name}: the last {len(data) - good_bytes} bytes were never acknowledged")
        return good_bytes

    # -- writing
    #
    # One task writes at a time, and so one order of changes holds: that of ``add``. It ends when nothing waits, and the
    # next ``add`` begins another one.

    def add(self, *changes: AnyChange) -> int:
        """Takes changes that have taken place, to write them soon; returns the position to ``wait`` for."""
        self._waiting.extend(changes)
        self.last += len(changes)
        self._begin_writing()
        return self.last

    def turn(self) -> None:
        """Begins a new log and a snapshot, as soon as no other snapshot is being made."""
        self._is_turn_wanted = True
        self._begin_writing()

    def _begin_writing(self) -> None:
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_all(), name="kv-journal")

    async def wait(self, position: int) -> None:
        """Blocks until all changes up to a position are written. IOErr once one could not be."""
        while self.written < position:
            if self._failed is not None:
                raise serr.IOErr("kvd", f"not written: {self._failed}")
            if self._progress is None:
                self._progress = asyncio.get_running_loop().create_future()
            # All who wait share it: one who is cancelled must leave it to the others.
            await asyncio.shield(self._progress)

    async def _write_all(self) -> None:
        """Until nothing waits. After a failure nothing is written any more: the process ends."""
        try:
            await asyncio.sleep(0)  # whoever is ready to add does, before the first of them is written: one write
            while self._waiting or self._is_turn_due():
                if self._is_turn_due():
                    # Here, between two writes, so that all of a change is in one log.
                    await self._turn()
                await self._write_waiting()
                self._wake()
        except Exception as error:  # noqa: BLE001  # whatever it is: nobody is to wait for what is never written
            self._fail(error)

    async def _write_waiting(self) -> None:
        changes, self._waiting = self._waiting, []
        for frame in self._frames(changes):
            await self._files.append(_log_name(self._number), frame)
            self.log_bytes += len(frame)
        self.written += len(changes)

    def _wake(self) -> None:
        """Whoever waits looks again."""
        progress, self._progress = self._progress, None
        if progress is not None and not progress.done():
            progress.set_result(None)

    async def _begin_log(self, *, first: bool = False) -> None:
        old = self._number
        await self._files.create(_log_name(old + 1))
        self._number = old + 1
        if not first:
            await self._files.close_file(_log_name(old))

    def _fail(self, error: Exception) -> None:
        self._failed = error if isinstance(error, serr.SigmaError) else serr.Error("kvd", repr(error))
        self._on_lost(self._failed)
        self._wake()

    def _frames(self, changes: Sequence[AnyChange]) -> Iterable[bytes]:
        """Changes as frames, of about ``frame_bytes`` each."""
        part: list[bytes] = []
        size = 0
        for encoded in map(_encode, changes):
            part.append(encoded)
            size += len(encoded)
            if size >= self._tuning.frame_bytes:
                yield _frame(part)
                part, size = [], 0
        if part:
            yield _frame(part)

    def _is_turn_due(self) -> bool:
        if self._snapshot is not None and not self._snapshot.done():
            return False
        bytes_max = max(self._tuning.log_bytes_min, self._tuning.growth * self._snapshot_bytes)
        return self._is_turn_wanted or self.log_bytes > bytes_max

    async def _turn(self) -> None:
        """Begins a new log, and a snapshot that takes the older ones' place."""
        self._is_turn_wanted = False
        await self._begin_log()
        self.log_bytes = 0
        self._snapshot = asyncio.create_task(self._make_snapshot(self._number), name="kv-snapshot")

    async def _make_snapshot(self, number: int) -> None:
        """Beside the writing of changes, which go to log ``number`` or a later one: whatever the snapshot does not
        show of a shard yet is in one of these."""
        temporary = f"tmp-{number:09}"
        size = 0
        try:
            await self._files.create(temporary)
            for shard in range(SHARDS_COUNT):
                # A shard at one moment: nothing is awaited while its image is taken.
                for frame in self._frames(list(self._table.images(shard))):
                    await self._files.append(temporary, frame)
                    size += len(frame)
            await self._files.close_file(temporary)
            # The snapshot may show changes that still wait for the log. They are written before it counts, so that
            # snapshot and log never disagree on what was written.
            await self.wait(self.last)
            await self._files.rename(temporary, _snapshot_name(number))
            self._snapshot_bytes = size
            # Only now: without the snapshot's name the older files are all that there is.
            await self._forget(number)
            if self._on_snapshot is not None:
                await self._on_snapshot(_snapshot_name(number), _log_name(number))
        except Exception as error:  # noqa: BLE001  # whatever it is: half a snapshot is no state to go on from
            self._fail(error)
        else:
            _log(f"snapshot {number} of {size} bytes")
        # Somebody asked for one while this one was made; there may be no change that would begin it.
        if self._is_turn_wanted:
            self._begin_writing()

    async def _forget(self, number: int) -> None:
        """Removes what snapshot ``number`` made superfluous, and what came of files that were not finished."""
        for name in await self._files.sizes():
            file = _parsed(name)
            if file is None or file[1] < number:
                await self._files.remove(name)

    async def close(self) -> None:
        """Waits for what is being written. No ``add`` may follow."""
        # Until neither is under way: a snapshot waits for the writer, and begins it again when it has ended.
        while tasks := {task for task in (self._writer, self._snapshot) if task is not None and not task.done()}:
            await asyncio.wait(tasks)
        if self._number and self._failed is None:
            await self._files.close_file(_log_name(self._number))


def _log_name(number: int) -> str:
    return f"log-{number:09}"


def _snapshot_name(number: int) -> str:
    return f"snap-{number:09}"


def _parsed(name: str) -> tuple[str, int] | None:
    """``log`` or ``snap``, and the number; None for anything else."""
    match = _FILE_NAME.fullmatch(name)
    return (match[1], int(match[2])) if match is not None else None


def _frame(encoded: list[bytes]) -> bytes:
    """A frame of the msgpack of a list, put together from its parts, each of which is encoded once."""
    # 0xdd begins an array of up to 2**32 elements.
    body = b"".join((b"\xdd", len(encoded).to_bytes(4, "big"), *encoded))
    return _HEADER.pack(len(body), zlib.crc32(body)) + body


def _frame_at(data: bytes, at: int) -> bytes | None:
    """The frame that begins there; None if it does not fit."""
    start = at + _HEADER.size
    if start > len(data):
        return None
    length, crc = _HEADER.unpack_from(data, at)
    body = data[start : start + length]
    return body if len(body) == length and zlib.crc32(body) == crc else None
