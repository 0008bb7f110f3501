"""Where a server keeps what happened to its shards: files on ux, written under the fence of its group's leader.

Changes that waited while others were written are written together. Once the files hold much more than the shards do,
a snapshot takes their place; it is made shard by shard while changes go on.

<dir>/log-<number>    changes, in order: frames, each of which is written at once
<dir>/snap-<number>   all shards, each as it was at some moment after that log began

A frame is its length and CRC, 4 bytes each, and msgpack. A write that was cut short leaves a frame that does not fit:
nobody was told of it, and nothing comes behind it, as each life of a server begins a log of its own.
"""

from __future__ import annotations

import asyncio
import struct
import zlib
from typing import TYPE_CHECKING, Final

import msgspec

from sigmaos_ray import debug, decoding, serr
from sigmaos_ray.sigmap import OEXCL, OWRITE
from user.kv.changes import AnyChange
from user.kv.names import SHARDS_COUNT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sigmaos_ray import AsyncSigmaClnt
    from user.kv.state import ShardTable

_log = debug.selector("KVGRP")

_HEADER: Final = struct.Struct("<II")
_FRAME_BYTES: Final = 1 << 20
"""Changes of one frame, about; one change may have more."""
_LOG_BYTES_MIN: Final = 16 << 20
"""A snapshot is made only of more, and ..."""
_GROWTH: Final = 3
"""... of so many times what the last one had."""
_encode = msgspec.msgpack.Encoder().encode
_decode = decoding.msgpack_decoder(list[AnyChange])


class Journal:
    """What one server wrote and writes. ``load`` it once, then ``write``. ``on_lost`` is told when a write failed: what
    is in memory is then not what is written, and the process must end."""

    def __init__(
        self,
        sc: AsyncSigmaClnt,
        directory: str,
        table: ShardTable,
        on_lost: Callable[[serr.SigmaError], None],
        log_bytes_min: int = _LOG_BYTES_MIN,
    ) -> None:
        self._sc = sc
        self._dir = directory
        self._table = table
        self._on_lost = on_lost
        self._log_bytes_min = log_bytes_min
        self._number = 0
        """Of the log that is written."""
        self._fd = -1
        self.log_bytes = 0
        """Of all logs since the last snapshot."""
        self._snapshot_bytes = 0
        self._waiting: list[AnyChange] = []
        self.last = 0
        """How many changes there were, in this life."""
        self.written = 0
        """How many of them are written."""
        self._next: asyncio.Future[None] | None = None
        """Done once what waits now is written."""
        self._writer: asyncio.Task[None] | None = None
        self._snapshot: asyncio.Task[None] | None = None
        self._failed: serr.SigmaError | None = None

    # -- reading

    async def load(self) -> None:
        """Applies all that was written, and begins a log of its own. The directory must be there, and be fenced."""
        names = sorted(stat.name for stat in await self._sc.get_dir(self._dir))
        snapshots = [_number_of(name) for name in names if name.startswith("snap-")]
        logs = [_number_of(name) for name in names if name.startswith("log-")]
        first = max(snapshots, default=0)
        if first:
            self._snapshot_bytes = await self._apply_file(self._snapshot_pn(first), whole=True)
        for number in sorted(logs):
            if number >= first:
                self.log_bytes += await self._apply_file(self._log_pn(number), whole=False)
        self._number = max([first, *logs], default=0)
        await self._begin_log()
        await self._forget(first)

    async def _apply_file(self, pn: str, *, whole: bool) -> int:
        data = await self._sc.get_file(pn)
        at = 0
        while at < len(data):
            frame = _frame_at(data, at)
            if frame is None:
                if whole:
                    raise serr.IOErr(pn, f"is damaged at byte {at}")
                debug.error(f"{pn}: the last {len(data) - at} bytes were never acknowledged")
                break
            for change in _decode(frame):
                self._table.apply(change)
            at += _HEADER.size + len(frame)
            await asyncio.sleep(0)  # a large file: the lease's keeper wants its turn
        return at

    def _log_pn(self, number: int) -> str:
        return f"{self._dir}/log-{number:09}"

    def _snapshot_pn(self, number: int) -> str:
        return f"{self._dir}/snap-{number:09}"

    # -- writing

    def add(self, *changes: AnyChange) -> int:
        """Takes changes that have taken place; returns what ``written`` is to reach until they are written."""
        self._waiting.extend(changes)
        self.last += len(changes)
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_all(), name="kv-journal")
        return self.last

    async def wait(self, position: int) -> None:
        """Blocks until so many changes are written. IOErr once one could not be."""
        while self.written < position:
            if self._failed is not None:
                raise serr.IOErr(self._dir, f"not written: {self._failed}")
            if self._next is None:
                self._next = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._next)

    async def _write_all(self) -> None:
        """Until nothing waits. After a failure nothing is written any more: the process ends."""
        try:
            await asyncio.sleep(0)  # whoever is ready to add does, before the first of them is written
            while self._waiting:
                changes, self._waiting = self._waiting, []
                for frame in _frames(changes):
                    await self._sc.write(self._fd, frame)
                    self.log_bytes += len(frame)
                self.written += len(changes)
                self._tell()
                if self.log_bytes > max(self._log_bytes_min, _GROWTH * self._snapshot_bytes):
                    await self._turn()
        except serr.SigmaError as error:
            self._failed = error
            self._on_lost(error)
            self._tell()

    def _tell(self) -> None:
        told, self._next = self._next, None
        if told is not None and not told.done():
            told.set_result(None)

    async def _begin_log(self) -> None:
        self._number += 1
        old = self._fd
        self._fd = await self._sc.create(self._log_pn(self._number), mode=OWRITE | OEXCL)
        if old >= 0:
            await self._sc.close_fd(old)

    async def _turn(self) -> None:
        """Begins a new log, and a snapshot that takes the older ones' place."""
        if self._snapshot is not None and not self._snapshot.done():
            return
        await self._begin_log()
        self.log_bytes = 0
        self._snapshot = asyncio.create_task(self._make_snapshot(self._number), name="kv-snapshot")

    async def _make_snapshot(self, number: int) -> None:
        temporary = f"{self._dir}/tmp-{number:09}"
        size = 0
        try:
            fd = await self._sc.create(temporary, mode=OWRITE)
            for shard in range(SHARDS_COUNT):
                for frame in _frames(list(self._table.images(shard))):
                    size += await self._sc.write(fd, frame)
            await self._sc.close_fd(fd)
            # What the snapshot tells of must be written before it counts.
            await self.wait(self.last)
            await self._sc.rename(temporary, self._snapshot_pn(number))
            self._snapshot_bytes = size
            await self._forget(number)
        except serr.SigmaError as error:
            self._failed = error
            self._on_lost(error)
        else:
            _log(f"{self._dir}: snapshot {number} of {size} bytes")

    async def _forget(self, number: int) -> None:
        """Removes what snapshot ``number`` made superfluous, and what came of snapshots that were not finished."""
        for stat in await self._sc.get_dir(self._dir):
            if stat.name.startswith("tmp-") or _number_of(stat.name) < number:
                await self._sc.remove(f"{self._dir}/{stat.name}")

    async def close(self) -> None:
        """Waits for what is being written."""
        for task in (self._writer, self._snapshot):
            if task is not None:
                await asyncio.wait({task})
        if self._fd >= 0:
            await self._sc.close_fd(self._fd)


def _number_of(name: str) -> int:
    digits = name.rpartition("-")[2]
    if not digits.isdigit():
        raise serr.Inval(name, "no file of a kv server")
    return int(digits)


def _frames(changes: Sequence[AnyChange]) -> Iterable[bytes]:
    part: list[bytes] = []
    size = 0
    for encoded in map(_encode, changes):
        part.append(encoded)
        size += len(encoded)
        if size >= _FRAME_BYTES:
            yield _frame(part)
            part, size = [], 0
    if part:
        yield _frame(part)


def _frame(encoded: list[bytes]) -> bytes:
    """msgpack of a list, put together from its parts."""
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
