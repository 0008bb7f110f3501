"""A record is read once, whatever the splits and the parts that come (MR-2, MR-3)."""

from __future__ import annotations

import bz2
import gzip
import lzma
from typing import TYPE_CHECKING

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from sigmaos_ray import serr
from user.mr.app import lines_of
from user.mr.compressed import Decompressor
from user.mr.cutting import CUTS
from user.mr.reading import Blocks
from user.mr.splits import InputFile, Split, bins_of, is_input
from user.mr.tuning import TASK
from user.mr.words import words

if TYPE_CHECKING:
    from collections.abc import Callable

TEXT = st.text(alphabet="ab\n .é", max_size=60).map(str.encode)


def read(data: bytes, split: Split, cut: str, part_bytes: int, record_bytes_max: int = 1000) -> list[bytes]:
    """The blocks of a split, as a reader gives the file part by part."""
    blocks = Blocks(split, CUTS[cut], record_bytes_max)
    parts = []
    at = blocks.begin
    while not blocks.done:
        part = data[at : at + part_bytes]
        at += len(part)
        parts.append(blocks.add(part) if part else blocks.end())
    return [block for block in parts if block]


def splits_of(data: bytes, split_bytes: int) -> list[Split]:
    return [Split("f", at, min(split_bytes, len(data) - at)) for at in range(0, len(data), split_bytes)]


@pytest.mark.parametrize("cut", ["line", "word"])
@given(data=TEXT, split_bytes=st.integers(1, 20), part_bytes=st.integers(1, 20))
def test_splits_together_are_the_file(cut: str, data: bytes, split_bytes: int, part_bytes: int) -> None:
    splits = [read(data, split, cut, part_bytes) for split in splits_of(data, split_bytes)]
    assert b"".join(block for blocks in splits for block in blocks) == data


@given(data=TEXT, split_bytes=st.integers(1, 20), part_bytes=st.integers(1, 20))
def test_each_line_is_whole(data: bytes, split_bytes: int, part_bytes: int) -> None:
    blocks = [block for split in splits_of(data, split_bytes) for block in read(data, split, "line", part_bytes)]
    assert [line for block in blocks for line in block.splitlines(keepends=True)] == data.splitlines(keepends=True)


@given(data=TEXT, split_bytes=st.integers(1, 20), part_bytes=st.integers(1, 20))
def test_each_word_is_counted_once(data: bytes, split_bytes: int, part_bytes: int) -> None:
    blocks = [block for split in splits_of(data, split_bytes) for block in read(data, split, "word", part_bytes)]
    assert [word for block in blocks for word in words(block)] == words(data)


@pytest.mark.parametrize(("cut", "field"), [("line", "linesz"), ("word", "wordsz")])
@pytest.mark.parametrize("offset", [0, 5])
def test_a_record_that_is_too_long(cut: str, field: str, offset: int) -> None:
    with pytest.raises(serr.Inval, match=field):
        read(b"x" * 100, Split("f", offset, 50), cut, 10, 30)


def test_a_record_that_goes_on_behind_the_split_is_measured_too() -> None:
    with pytest.raises(serr.Inval, match="linesz"):
        read(b"a\n" + b"x" * 100 + b"\n", Split("f", 0, 10), "line", 10, 30)


def test_bins_are_full_before_the_next_begins() -> None:
    files = [InputFile("a", 10), InputFile("b", 0), InputFile("c", 25), InputFile("d", 5)]
    assert bins_of(files, 12) == [
        [Split("a", 0, 10)],
        [Split("c", 0, 12)],
        [Split("c", 12, 12)],
        [Split("c", 24, 1), Split("d", 0, 5)],
    ]


def test_splits_that_follow_each_other_are_one() -> None:
    (only,) = bins_of([InputFile("a", 3 * TASK.split_bytes - 7)], 4 * TASK.split_bytes)
    assert only == [Split("a", 0, 3 * TASK.split_bytes - 7)]


@given(st.lists(st.integers(0, 100), max_size=8), st.integers(1, 50))
def test_bins_hold_all_input_once_and_no_more_than_they_may(lengths: list[int], bin_bytes: int) -> None:
    files = [InputFile(f"f{number}", length) for number, length in enumerate(lengths)]
    bins = bins_of(files, bin_bytes)
    assert all(0 < sum(split.length for split in splits) <= bin_bytes for splits in bins)
    covered = sorted((split.file, at) for splits in bins for split in splits for at in _bytes_of(split))
    assert covered == sorted((file.pathname, at) for file in files for at in range(file.length))


def _bytes_of(split: Split) -> range:
    return range(split.offset, split.offset + split.length)


COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".zst": zstandard.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}


def decompressed(name: str, data: bytes, part_bytes: int) -> bytes:
    decompressor = Decompressor(name)
    parts = [part for at in range(0, len(data), part_bytes) for part in decompressor.feed(data[at : at + part_bytes])]
    decompressor.end()
    return b"".join(parts)


@pytest.mark.parametrize("suffix", COMPRESSORS)
@given(data=TEXT, more=TEXT, part_bytes=st.integers(1, 20))
def test_compressed_files_are_their_contents(suffix: str, data: bytes, more: bytes, part_bytes: int) -> None:
    """Also several streams in one file."""
    compress = COMPRESSORS[suffix]
    assert decompressed(f"name/in/f{suffix}", compress(data), part_bytes) == data
    assert decompressed(f"F{suffix.upper()}", compress(data) + compress(more) + bytes(9), part_bytes) == data + more


@pytest.mark.parametrize("suffix", COMPRESSORS)
def test_what_is_not_compressed_as_its_name_says(suffix: str) -> None:
    with pytest.raises(serr.Inval, match="as its name says"):
        decompressed(f"f{suffix}", b"plain text, long enough for a header", 100)
    with pytest.raises(serr.Inval, match="too early"):
        decompressed(f"f{suffix}", COMPRESSORS[suffix](b"text" * 100)[:-5], 100)


def test_a_compressed_file_is_one_split() -> None:
    assert bins_of([InputFile("a.gz", 30), InputFile("b", 10), InputFile("c.gz", 0)], 12) == [
        [Split("a.gz", 0, 30)],
        [Split("b", 0, 10)],
    ]


def test_what_directories_of_input_have_beside_input() -> None:
    names = ["_SUCCESS", ".part-0.crc", "_temporary", ".hidden", "part-0._COPYING_", "part-0", "a.gz", "a_b"]
    assert [name for name in names if is_input(name)] == ["part-0", "a.gz", "a_b"]


def test_lines_end_as_on_any_system() -> None:
    assert list(lines_of(b"one\r\ntwo\nthree\r\n\r\nfour\rfive")) == [b"one", b"two", b"three", b"", b"four\rfive"]
