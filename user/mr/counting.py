"""Counting the words of a block at the speed of numpy and Arrow.

What a word is, ``words`` says; both must come to the same, of any block. This is some times as fast as
``Counter(words(block))``, since no Python object is made for each word.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from user.mr.words import SPACED, clean

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from user.mr.app import Pairs

    Block = NDArray[np.uint8]

_SPACE: Final = ord(" ")
_TABLE: Final = np.frombuffer(SPACED, np.uint8)
_SIZES: Final = np.array([2] * 32 + [3] * 16 + [4] * 8 + [0] * 8, np.uint8)
"""How many bytes a rune has, by its first one, from 0xc0 on; 0: none begins so."""
_AROUND: Final = 4
"""Spaces behind a block, so that looking at a rune's bytes does not leave it; and one before it."""


def count_words(block: bytes, into: Pairs) -> None:
    """Adds the block's words to the counts."""
    spaced = _spaced(block)
    is_space = spaced == _SPACE
    starts = np.flatnonzero(is_space[:-1] & ~is_space[1:]) + 1
    if not len(starts):
        return
    # One word may be counted under several values, each with another number of spaces behind it.
    counted = _spaced_words(spaced, starts).value_counts()
    get = into.get
    for word, count in zip(counted.field(0).to_pylist(), counted.field(1).to_pylist(), strict=True):
        key = word.rstrip()
        into[key] = get(key, 0) + count


def _spaced_words(spaced: Block, starts: NDArray[np.intp]) -> pa.Array:
    """Each word with the spaces behind it: nothing has to be copied to make an array of them."""
    offsets = np.append(starts, len(spaced)).astype(np.int32)
    return pa.Array.from_buffers(pa.binary(), len(starts), [None, pa.py_buffer(offsets), pa.py_buffer(spaced)])


def _spaced(block: bytes) -> Block:
    """The block, between spaces, with a space for each byte that is no part of a word."""
    marked = _TABLE[_framed(block)]
    if not block.isascii() and not _space_runes(marked):
        return _TABLE[_framed(clean(block))]
    return marked


def _framed(block: bytes) -> Block:
    return np.frombuffer(b" %b%b" % (block, b" " * _AROUND), np.uint8)


def _space_runes(marked: Block) -> bool:
    """Puts spaces where a rune outside of ASCII is no part of a word. False, with nothing done, for bad UTF-8."""
    at = np.flatnonzero(marked >= 0xC0)
    tails_count = int(np.count_nonzero(marked >= 0x80)) - len(at)
    sizes = _SIZES[marked[at] - 0xC0]
    # As many bytes must follow first bytes as these announce; whether each stands where it should, the loop below says.
    if not sizes.all() or tails_count != int(sizes.sum(dtype=np.int64)) - len(at):
        return False
    codes = marked[at].astype(np.uint32)
    for number in (1, 2, 3):
        tails = marked[at + number]
        inside = sizes > number
        if not ((tails[inside] & 0xC0) == 0x80).all():
            return False
        codes = codes << np.uint32(8) | np.where(inside, tails, np.uint8(0))
    try:
        # A text of millions of characters has few different ones: Python is asked once for each of these.
        strange = [code for code in np.unique(codes).tolist() if not _rune(code).isalnum()]
    except UnicodeDecodeError:
        return False
    is_strange = np.isin(codes, np.array(strange, np.uint32))
    at, sizes = at[is_strange], sizes[is_strange]
    for number in range(4):
        marked[at[sizes > number] + number] = _SPACE
    return True


def _rune(code: int) -> str:
    """The rune whose bytes are those of a code, filled up with zeros."""
    return int(code).to_bytes(4).rstrip(b"\0").decode()
