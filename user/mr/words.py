"""Words, as SigmaOS counts them (MR-4): maximal runs of letters, numbers and ``_``, of all scripts; whatever else there
is stands between them, bytes that are no UTF-8 too. Pure, and on whole blocks: the calls are C's."""

from __future__ import annotations

import re
from typing import Final

_ASCII: Final = bytes(range(128))
_WORD_ASCII: Final = bytes(code for code in _ASCII if chr(code).isalnum() or code == ord("_"))
WORD_BYTES: Final = _WORD_ASCII + bytes(range(128, 256))
"""Every byte that may be part of a word: what is not among them ends one, whatever stands around it."""
SPACED: Final = bytes(code if code in WORD_BYTES else ord(" ") for code in range(256))
"""What each byte becomes: itself, or a space."""
_RUNES_MAX: Final = 48
"""So many different runes are replaced one by one, each by a search at the speed of memory."""
_NO_WORD: Final = re.compile(r"[^\w\x00-\x7f]+")


def clean(block: bytes) -> bytes:
    """The block with a space for whatever outside of ASCII is no part of a word: the bytes from 128 on that are left
    belong to words. What is before and behind the block must not be part of its first and last character."""
    if block.isascii():
        return block
    wide = block.translate(None, _ASCII)
    try:
        runes = set(wide.decode())
        block.decode()  # what is left without ASCII may be good though it was apart: e.g. half a rune, "a", a half
    except UnicodeDecodeError:
        # Bytes that are no UTF-8 become U+FFFD, which is no letter: they stand between words (MR-4).
        return _NO_WORD.sub(" ", block.decode(errors="replace")).encode()
    strange = [rune for rune in runes if not rune.isalnum()]
    if len(strange) > _RUNES_MAX:
        return _NO_WORD.sub(" ", block.decode()).encode()
    for rune in strange:
        block = block.replace(rune.encode(), b" ")
    return block


def words(block: bytes) -> list[bytes]:
    """The words of a block, in order, as UTF-8. A word that goes on outside of the block is not whole here."""
    return clean(block).translate(SPACED).split()
