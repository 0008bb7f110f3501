"""Words as Go's ScanWords finds them, whatever the pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from user.example.count import Counter

GO_SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))


def count(*pieces: bytes) -> tuple[int, int]:
    counter = Counter()
    for piece in pieces:
        counter.add(piece)
    assert counter.bytes == sum(map(len, pieces))
    return counter.done()


def scan_words(text: str) -> tuple[int, int]:
    """ScanWords character by character, as the reference has it."""
    words, word = [], ""
    for char in text:
        if char in GO_SPACE:
            words.append(word)
            word = ""
        else:
            word += char
    words = [each for each in [*words, word] if each]
    return len(words), words.count("the")


@pytest.mark.parametrize(
    ("text", "words", "the"),
    [
        ("", 0, 0),
        (" \n\t ", 0, 0),
        ("the", 1, 1),
        ("the the\nthe", 3, 3),
        ("The THE the, the. 'the' then breathe", 7, 0),
        ("the\u00a0the\u2003the\u3000the", 4, 4),
        ("the\x1cthe the\x1f", 2, 0),
        ("the\u200bthe", 1, 0),
        ("caf\u00e9 the na\u00efve \u4e2d\u6587 the", 5, 2),
    ],
)
def test_words(text: str, words: int, the: int) -> None:
    assert count(text.encode()) == (words, the)
    assert scan_words(text) == (words, the)


def test_bytes_that_are_no_text_belong_to_words() -> None:
    assert count(b"\xff\xfe the \x80the the\xe2\x80 the") == (5, 2)


def test_a_wide_space_may_be_cut_in_two() -> None:
    assert count(b"the\xe2", b"\x80", b"\x83the") == (2, 2)
    assert count(b"the\xc2", b"\xa0the") == (2, 2)
    assert count(b"the\xe2", b"\x80") == (1, 0)


def test_a_long_word_is_one_word_and_not_kept() -> None:
    counter = Counter()
    for _ in range(100):
        counter.add(b"x" * 65_536)
    counter.add(b"\xe2\x80")
    assert len(counter._unfinished) <= 65_536 + 2
    counter.add(b"\x83the")
    assert counter.done() == (2, 1)


@given(st.text(st.sampled_from([*GO_SPACE, "t", "h", "e", "\u00e9", "\u200b", "\x1d", "\U0001f600"])), st.data())
def test_pieces_do_not_matter(text: str, data: st.DataObject) -> None:
    raw = text.encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=6)))
    pieces = [raw[start:end] for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    assert count(*pieces) == scan_words(text)


@given(st.binary())
def test_any_bytes_will_do(raw: bytes) -> None:
    words, the = count(raw)
    assert the <= words <= len(raw)
    assert count(*(raw[at : at + 1] for at in range(len(raw)))) == (words, the)
