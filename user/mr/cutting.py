"""Cutting a file into parts that neither split nor lose a record (MR-3). Pure.

A record ends with a separator. It belongs to the part in which it begins, so a part from ``start`` to ``end`` holds
what lies between the first separator at or behind ``start - 1`` and the first one at or behind ``end - 1``: what one
part leaves out at its begin is what the part before it has at its end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from user.mr.words import WORD_BYTES

if TYPE_CHECKING:
    from typing import Final


class Cut(Protocol):
    """How records are told apart."""

    what: str

    def first(self, block: bytes) -> int:
        """Behind the first separator; 0 if there is none."""

    def last(self, block: bytes) -> int:
        """Behind the last separator; 0 if there is none."""


class LineCut:
    """Records are lines."""

    what = "line"

    def first(self, block: bytes) -> int:
        return block.find(b"\n") + 1

    def last(self, block: bytes) -> int:
        return block.rfind(b"\n") + 1


class WordCut:
    """Records are words, so that lines may be of any length. Only separators of one byte are cut at."""

    what = "word"

    def first(self, block: bytes) -> int:
        found = len(block) - len(block.lstrip(WORD_BYTES))
        return found + 1 if found < len(block) else 0

    def last(self, block: bytes) -> int:
        return len(block.rstrip(WORD_BYTES))


CUTS: Final[dict[str, Cut]] = {cut.what: cut for cut in (LineCut(), WordCut())}
