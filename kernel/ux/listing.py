"""Directories read page by page: the names are listed once, at the first page, and the later ones go on in that list.

Listing and sorting 100,000 names takes longer than the rest of a page, and 25 pages would do it 25 times.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections import OrderedDict
from typing import Final, NamedTuple

KEPT_MAX: Final = 16
"""Directories that are half read at a time, beyond which the longest untouched starts over at its next page."""


class NameList(NamedTuple):
    """The names of a directory, in order, at one moment after ``number`` was given out."""

    number: int
    names: list[str]


def place_after(names: list[str], after: str) -> int:
    """Where the names that sort after ``after`` begin; ``""`` is before all."""
    return bisect_right(names, after) if after else 0


class Listings:
    """The newest listing of each directory that somebody reads, by inode. Used from one loop.

    Each reader of a directory begins with a listing of its own, which becomes the newest. So the newest is never older
    than any reader, and has all that is there throughout its reading (P-12): a reader may go on in that of another.
    """

    def __init__(self, kept_max: int = KEPT_MAX) -> None:
        self._newest: OrderedDict[tuple[int, int], NameList] = OrderedDict()
        self._kept_max = kept_max
        # Numbers instead of times: two listings may begin at one tick of a clock.
        self._numbers = itertools.count(1)

    def next_number(self) -> int:
        """The number of a listing that is about to be made: to be called before the names are looked up, since what
        comes after that may be missing in it."""
        return next(self._numbers)

    def going_on(self, inode: tuple[int, int]) -> NameList | None:
        """For a page that is not the first."""
        listing = self._newest.get(inode)
        if listing is not None:
            self._newest.move_to_end(inode)
        return listing

    def read_from(self, inode: tuple[int, int], listing: NameList, *, is_end: bool) -> None:
        """A page was read from it: keeps it unless that was the empty one at the end, or there is a newer one."""
        # Listings of large directories run in threads, side by side: an older one may come back last.
        newest = self._newest.get(inode)
        if newest is not None and newest.number > listing.number:
            return
        if is_end:
            self._newest.pop(inode, None)
            return
        self._newest[inode] = listing
        self._newest.move_to_end(inode)
        if len(self._newest) > self._kept_max:
            self._newest.popitem(last=False)
