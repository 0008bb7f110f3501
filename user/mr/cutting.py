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
    """How records are cut: where the separators of a block are."""

    what: str
    """What a record is called."""

    def first(self, block: bytes) -> int:
        """Where the first separator ends; 0 if there is none."""

    def last(self, block: bytes) -> int:
        """Where the last separator ends; 0 if there is none."""


class LineCut:
    """Records are lines."""

    what = "line"

    def first(self, block: bytes) -> int:
        return block.find(b"\n") + 1

    def last(self, block: bytes) -> int:
        return block.rfind(b"\n") + 1


class WordCut:
    """Records are words, so that lines may be of any length. Cut is only at separators of one byte: of a longer
    character half would be at the end of a block, where nobody can say whether it belongs to a word."""

    what = "word"

    def first(self, block: bytes) -> int:
        word_bytes = len(block) - len(block.lstrip(WORD_BYTES))
        return word_bytes + 1 if word_bytes < len(block) else 0

    def last(self, block: bytes) -> int:
        return len(block.rstrip(WORD_BYTES))


CUTS: Final[dict[str, Cut]] = {cut.what: cut for cut in (LineCut(), WordCut())}
