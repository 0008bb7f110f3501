"""How often some words occur: names of programming languages (MR-4). Those with signs in them can never be words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from user.mr.words import clean

if TYPE_CHECKING:
    from collections import Counter

cut: Final = "word"
WANTED: Final = (
    *(b"JavaScript", b"Java", b"PHP", b"Python", b"C#", b"C++", b"Ruby", b"CSS", b"Objective-C", b"Perl", b"Scala"),
    *(b"Haskell", b"MATLAB", b"Clojure", b"Groovy"),
)
_POSSIBLE: Final = tuple(word for word in WANTED if word.isalnum())
_WORD: Final = re.compile(rb"(?<![0-9A-Za-z_\x80-\xff])(?:" + b"|".join(_POSSIBLE) + rb")(?![0-9A-Za-z_\x80-\xff])")


def map_block(_name: str, block: bytes, into: Counter[bytes]) -> None:
    """Most blocks have none: looking for that takes no time."""
    if any(word in block for word in _POSSIBLE):
        into.update(_WORD.findall(clean(block)))
