"""Word count: how often each word occurs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sigmaos_ray import extras

if TYPE_CHECKING:
    from user.mr.app import Pairs

cut: Final = "word"
block_bytes: Final = 4 << 20


def map_block(_name: str, block: bytes, into: Pairs) -> None:
    """Adds the block's words to the counts; their sum over all blocks is the output (``add_counts`` merges them)."""
    # Here, for mappers alone: what counts fast takes its time to import.
    extras.need("numpy", "pyarrow", for_="the app wc of MapReduce")
    from user.mr.counting import count_words

    count_words(block, into)
