"""Which part of the input each map task gets (MR-2). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from user.mr.compressed import suffix_of
from user.mr.tuning import TASK

if TYPE_CHECKING:
    from collections.abc import Iterable


class Split(msgspec.Struct, frozen=True, array_like=True):
    """A part of one file."""

    file: str
    offset: int
    length: int


class InputFile(NamedTuple):
    """A file of the input, and its length in bytes."""

    pathname: str
    length: int


def is_input(name: str) -> bool:
    """Whether a file or directory in a directory of input is read: not what is hidden, or written by the way, as
    Hadoop's readers have it (``_SUCCESS``, ``.crc``, copies that are under way)."""
    return not name.startswith(("_", ".")) and not name.endswith("._COPYING_")


def splits_of(file: InputFile, split_bytes: int = TASK.split_bytes) -> list[Split]:
    """The file in parts of ``split_bytes``, the last one shorter. None for an empty file; one that is compressed is one
    part."""
    if suffix_of(file.pathname) and file.length:
        return [Split(file.pathname, 0, file.length)]
    return [
        Split(file.pathname, offset, min(split_bytes, file.length - offset))
        for offset in range(0, file.length, split_bytes)
    ]


def bins_of(files: Iterable[InputFile], bin_bytes: int) -> list[list[Split]]:
    """All files in bins, one for each map task: a bin is full when one more split could make it larger than
    ``bin_bytes``, of which only a compressed file can have more. Splits that follow each other in one file are put
    together again: they are read in one go."""
    bins: list[list[Split]] = []
    size = 0
    for file in files:
        # A split that is larger than a bin would make its bin larger than it may be.
        for split in splits_of(file, min(TASK.split_bytes, bin_bytes)):
            if not bins or size + split.length > bin_bytes:
                bins.append([])
                size = 0
            _add(bins[-1], split)
            size += split.length
    return bins


def _add(splits: list[Split], split: Split) -> None:
    last = splits[-1] if splits else None
    if last is not None and last.file == split.file and last.offset + last.length == split.offset:
        splits[-1] = Split(last.file, last.offset, last.length + split.length)
    else:
        splits.append(split)
