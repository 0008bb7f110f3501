"""Words are maximal runs of letters, numbers and ``_`` (MR-4), however a block is cut."""

from __future__ import annotations

import unicodedata
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from user.mr.counting import count_words
from user.mr.grep import map_block as grep_block
from user.mr.words import clean, words


def reference(text: str) -> list[bytes]:
    """One rune at a time, by category."""
    is_word = {rune: unicodedata.category(rune)[0] in "LN" or rune == "_" for rune in set(text)}
    return "".join(rune if is_word[rune] else " " for rune in text).encode().split()


def counted(block: bytes) -> dict[bytes, int]:
    counts: dict[bytes, int] = {}
    count_words(block, counts)  # type: ignore[arg-type]
    return counts


@given(st.text(alphabet=st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from("aé_1 \n.—½²人"))))
def test_words_are_those_of_the_categories(text: str) -> None:
    assert words(text.encode()) == reference(text)
    assert counted(text.encode()) == Counter(reference(text))


@given(st.lists(st.one_of(st.binary(max_size=4), st.sampled_from(["é".encode(), b"a ", b"b", "—".encode()]))))
def test_counts_are_those_of_words(parts: list[bytes]) -> None:
    block = b"".join(parts)
    assert counted(block) == Counter(words(block))


def test_many_different_separators() -> None:
    text = "".join(f"w{number}{chr(0x2190 + number)}" for number in range(200))
    assert words(text.encode()) == [b"w%d" % number for number in range(200)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"a\xffb", [b"a", b"b"]),
        (b"\xc3a\xa9", [b"a"]),  # two halves of one rune, with a letter between
        (b"na\xc3\xafve \xe2\x82", ["naïve".encode()]),
        ("snake_case x86 ½ 人—人".encode(), [b"snake_case", b"x86", "½".encode(), "人".encode(), "人".encode()]),
        (b"", []),
        (b"\0\x01 \t", []),
        (b"a\xed\xa0\x80b", [b"a", b"b"]),  # a surrogate
        (b"a\xc0\xafb \xf8\x88", [b"a", b"b"]),
        ("\U0001f600x\U00020000".encode(), ["x\U00020000".encode()]),
    ],
)
def test_words(text: bytes, expected: list[bytes]) -> None:
    assert words(text) == expected
    assert counted(text) == Counter(expected)


def test_clean_leaves_ascii_alone() -> None:
    assert clean(b"a.b-c") == b"a.b-c"


def test_grep_finds_whole_words_only() -> None:
    counts: Counter[bytes] = Counter()
    grep_block("f", "Java JavaScript Javanese —Java— éJava Java_ C# C++ Python.Python".encode(), counts)
    assert counts == {b"Java": 2, b"JavaScript": 1, b"Python": 2}
