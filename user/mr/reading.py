"""The records of one split, as blocks of whole records (MR-3)."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from sigmaos_ray import serr
from user.mr.compressed import Decompressor, suffix_of
from user.mr.splits import Split
from user.mr.tuning import TASK

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sigmaos_ray.fslib import AsyncFsLib
    from user.mr.cutting import Cut


class Blocks:
    """Cuts what is read of one split, part by part, into blocks of whole records. Pure.

    ``add`` each part in order, from ``begin`` on, until ``done``; ``end`` if the file ends before. A record longer than
    ``record_bytes_max`` is Inval: what is not whole yet is in memory.
    """

    def __init__(self, split: Split, cut: Cut, record_bytes_max: int) -> None:
        self._split = split
        self._cut = cut
        self._record_bytes_max = record_bytes_max
        self.begin = max(split.offset - 1, 0)
        """Where to begin to read: one byte before the split, to see whether a record begins with it."""
        self._last = split.offset + split.length - 1
        """The split's last byte: the first separator from there on ends what belongs to it."""
        self._at = self.begin
        self._skipping = split.offset > 0
        """Until the first separator: what is before it belongs to the split before."""
        self._rest = b""
        self.done = False

    def add(self, part: bytes) -> bytes:
        """Takes what follows, and returns the records that are whole now, perhaps none."""
        if self._skipping:
            part = self._behind_first(part)
        begin, self._at = self._at, self._at + len(part)
        if self.done or not part:
            return b""
        # All of it is inside, and so is each record that ends in it.
        if self._at <= self._last:
            return self._whole(part)
        # The record that holds the split's last byte ends with the first separator from there on: behind that begins
        # the next split's first record.
        inside = max(self._last - begin, 0)
        behind = self._cut.first(part[inside:])
        if not behind:
            return self._whole(part, ends=inside)
        self.done = True
        block, self._rest = self._rest + part[: inside + behind], b""
        return block

    def end(self) -> bytes:
        """The file ends here: returns the last record, which has no separator."""
        self.done = True
        rest, self._rest = self._rest, b""
        return rest

    def _behind_first(self, part: bytes) -> bytes:
        """The part without what belongs to the split before, which is skipped."""
        skipped = self._cut.first(part)
        self._skipping = skipped == 0
        self._at += skipped or len(part)
        # What was skipped reaches behind the split: a record that began before it takes all of it.
        self.done = self._at > self._last if skipped else False
        if self._skipping and self._at - self.begin > self._record_bytes_max:
            raise self._too_long(self.begin)
        return part[skipped:] if skipped else b""

    def _whole(self, part: bytes, ends: int | None = None) -> bytes:
        """The whole records of what is there; the rest is kept for the next part. ``ends``: from there on the part has
        no separator."""
        block = self._rest + part
        cut = self._cut.last(block if ends is None else block[: len(self._rest) + ends])
        self._rest = block[cut:]
        if len(self._rest) > self._record_bytes_max:
            raise self._too_long(self._at - len(self._rest))
        return block[:cut]

    def _too_long(self, at: int) -> serr.Inval:
        what = self._cut.what
        size = "linesz" if what == "line" else "wordsz"
        return serr.Inval(
            self._split.file, f"the {what} at offset {at} has more than {size} = {self._record_bytes_max} bytes"
        )


async def blocks(sc: AsyncFsLib, split: Split, pathname: str, cut: Cut, record_bytes_max: int) -> AsyncIterator[bytes]:
    """The split's records, in blocks of about 1 MiB, read ahead. Raises what reading raises; Inval for a record that
    is too long, and for a file that is not compressed as its name says."""
    if suffix_of(split.file):
        async for block in _compressed_blocks(sc, split, pathname, cut, record_bytes_max):
            yield block
        return
    cutter = Blocks(split, cut, record_bytes_max)
    at = cutter.begin
    more = split.offset + split.length - at + TASK.tail_bytes
    while not cutter.done:
        read = 0
        async with sc.open_reader(pathname, at, more) as reader:
            while not cutter.done and (part := await reader.read_part()):
                read += len(part)
                if block := cutter.add(part):
                    yield block
        # Less than was asked for is the end of the file.
        if not cutter.done and read < more and (block := cutter.end()):
            yield block
        at, more = at + read, min(2 * TASK.tail_bytes + read, TASK.tail_bytes_max)


async def _compressed_blocks(
    sc: AsyncFsLib, split: Split, pathname: str, cut: Cut, record_bytes_max: int
) -> AsyncIterator[bytes]:
    """The records of a whole file; where they begin and end is about its contents, whose size nobody knows before."""
    cutter = Blocks(Split(split.file, 0, sys.maxsize), cut, record_bytes_max)
    decompressor = Decompressor(split.file)
    async with sc.open_reader(pathname) as reader:
        while part := await reader.read_part():
            for contents in decompressor.feed(part):
                if block := cutter.add(contents):
                    yield block
    decompressor.end()
    if block := cutter.end():
        yield block
