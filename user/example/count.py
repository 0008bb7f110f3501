"""Counting words, and the word ``the``, in text that comes in pieces. Pure.

A word is what white space separates, as Go's ``bufio.ScanWords`` has it: the characters of ``unicode.IsSpace``.
``the`` counts as a whole word and exactly so: neither ``The`` nor ``the,`` does. Bytes that are no UTF-8 belong to
the word around them.
"""

from __future__ import annotations

import re
from typing import Final

_WIDE_SPACE: Final = re.compile(
    rb"\xc2[\x85\xa0]|\xe1\x9a\x80|\xe2\x80[\x80-\x8a\xa8\xa9\xaf]|\xe2\x81\x9f|\xe3\x80\x80"
)
"""White space outside of ASCII, in UTF-8. No sequence here begins inside another character's bytes, so that looking
for bytes finds exactly what decoding would find."""

_WORD_BYTES_MAX: Final = 1 << 16
"""Of an unfinished word that is remembered: a file without any white space must not end up in memory."""


class Counter:
    """Counts over pieces that may end anywhere, also inside a word or a character. ``add`` them in order, then ask for
    the numbers with ``done``."""

    def __init__(self) -> None:
        self.bytes = 0
        """Of all pieces so far."""
        self._words = 0
        self._the = 0
        self._unfinished = b""

    def add(self, piece: bytes) -> None:
        """Counts the words that end in this piece; the last one may go on in the next."""
        self.bytes += len(piece)
        text = self._unfinished + piece if self._unfinished else piece
        if not text.isascii():
            text = _WIDE_SPACE.sub(b" ", text)
        words = text.split()
        self._unfinished = words.pop() if words and not text[-1:].isspace() else b""
        if len(self._unfinished) > _WORD_BYTES_MAX:
            # What matters of a long word: that it is not "the", and the two bytes that may begin a wide space.
            self._unfinished = b"long" + self._unfinished[-2:]
        self._words += len(words)
        self._the += words.count(b"the")

    def done(self) -> tuple[int, int]:
        """Words, and how many of them are ``the``. The end of the text ends the last word."""
        if self._unfinished:
            self._words += 1
            self._the += self._unfinished == b"the"
            self._unfinished = b""
        return self._words, self._the
