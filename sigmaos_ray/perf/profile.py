"""A profile: how much (microseconds, bytes) was spent in which stack; its text is the folded one of flame graphs."""

from __future__ import annotations

import gzip
from collections import defaultdict
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

Stack: TypeAlias = tuple[str, ...]
"""Frames, outermost first."""

MICROSECONDS: Final = "microseconds"
BYTES: Final = "bytes"

_PACKED_BYTES_MAX: Final = 3 << 20
"""Of a profile that travels: a message's most, with room for its frame."""


class Profile:
    """Weights by stack, in microseconds or bytes (``unit``). Not for several threads at a time."""

    def __init__(self, unit: str = MICROSECONDS, stacks: dict[Stack, int] | None = None) -> None:
        self.unit = unit
        self.stacks: dict[Stack, int] = defaultdict(int, stacks or {})

    def add(self, stack: Iterable[str], weight: int) -> None:
        """Adds to what a stack has, outermost frame first. Nothing for a weight of 0 or less."""
        if weight > 0:
            self.stacks[tuple(stack)] += weight

    @property
    def total(self) -> int:
        """The weight of all stacks together."""
        return sum(self.stacks.values())

    def functions(self) -> list[tuple[str, int, int]]:
        """Each frame with what it spent itself and with all it called, the largest own share first."""
        own: dict[str, int] = defaultdict(int)
        with_callees: dict[str, int] = defaultdict(int)
        for stack, weight in self.stacks.items():
            if stack:
                own[stack[-1]] += weight
            for frame in set(stack):
                with_callees[frame] += weight
        return sorted(((frame, own[frame], all_of) for frame, all_of in with_callees.items()), key=lambda row: -row[1])

    def to_text(self) -> str:
        """One line a stack: ``outer;inner weight``, the heaviest first."""
        ordered = sorted(self.stacks.items(), key=lambda item: -item[1])
        return "".join(f"{';'.join(stack)} {weight}\n" for stack, weight in ordered)

    @classmethod
    def from_text(cls, text: str, unit: str = MICROSECONDS, weight_of_one: int = 1) -> Profile:
        """What ``to_text`` wrote, or another tool in the same format. ``weight_of_one``: of one sample, where the text
        counts samples. ValueError for a line that is none."""
        profile = cls(unit)
        for line in filter(None, text.splitlines()):
            stack, _, weight = line.rpartition(" ")
            profile.add(stack.split(";") if stack else [], int(weight) * weight_of_one)
        return profile

    def pack(self) -> bytes:
        """For a message. Of a profile that is too large the lightest stacks are left out."""
        smaller = self
        while len(packed := gzip.compress(smaller.to_text().encode(), 6)) > _PACKED_BYTES_MAX:
            # By halves: how large the rest will be is known only once it is compressed.
            heaviest = sorted(smaller.stacks.items(), key=lambda item: -item[1])
            smaller = Profile(self.unit, dict(heaviest[: len(heaviest) // 2]))
        return packed

    @classmethod
    def unpack(cls, data: bytes, unit: str) -> Profile:
        """What ``pack`` made. OSError or ValueError for anything else."""
        return cls.from_text(gzip.decompress(data).decode(), unit)


def frame_label(function: str, file: str, line: int) -> str:
    """One frame as text, with the end of the file's path. Without semicolons: those part frames."""
    parts = file.split("/")
    short = "/".join(parts[parts.index("site-packages") + 1 :]) if "site-packages" in parts else "/".join(parts[-2:])
    return f"{function} ({short}:{line})".replace(";", ",")
