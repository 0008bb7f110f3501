"""Measuring two things side by side, and telling it in one line.

Rounds alternate between ours and the peer, so that what else happens on the machine meets both. The figure is the
median of the rounds; the span beside it is the fastest and the slowest round.
"""

from __future__ import annotations

import time
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Work = Callable[[int], object]
    """Does something so many times."""


class Series(NamedTuple):
    """Seconds per operation, one figure per round."""

    name: str
    rounds_s: Sequence[float]

    @property
    def median_s(self) -> float:
        return median(self.rounds_s)

    def __str__(self) -> str:
        return f"{self.name} {_time(self.median_s)} ({_time(min(self.rounds_s))}..{_time(max(self.rounds_s))})"

    def as_rate(self) -> str:
        """The same as operations per second."""
        slowest, fastest = 1 / max(self.rounds_s), 1 / min(self.rounds_s)
        return f"{self.name} {1 / self.median_s:,.0f}/s ({slowest:,.0f}..{fastest:,.0f})"


class Comparison(NamedTuple):
    what: str
    ours: Series
    peer: Series | None
    goal: float | None = None
    """The ratio that we aim at, if there is one."""
    missing: str = ""
    """Why there is no peer, and what to do about it."""
    rates: bool = False
    """Told in operations per second; then the ratio is to be at least the goal."""

    @property
    def ratio(self) -> float | None:
        if self.peer is None:
            return None
        ratio = self.ours.median_s / self.peer.median_s
        return 1 / ratio if self.rates else ratio

    def __str__(self) -> str:
        ours, peer = ((each.as_rate() if self.rates else str(each)) if each else "" for each in (self.ours, self.peer))
        if self.ratio is None:
            return f"{self.what}: {ours}; no peer: {self.missing}"
        told = f"{self.what}: {ours}, {peer}: ratio {self.ratio:.2f}"
        if self.goal is None:
            return told
        is_met = self.ratio >= self.goal if self.rates else self.ratio <= self.goal
        return f"{told}, goal {'>=' if self.rates else '<='} {self.goal} {'met' if is_met else 'NOT met'}"


def timed(work: Work, times: int) -> float:
    """Seconds per operation."""
    began = time.perf_counter()
    work(times)
    return (time.perf_counter() - began) / times


def compare(
    what: str,
    ours: tuple[str, Work],
    peer: tuple[str, Work] | None,
    *,
    times: int,
    rounds: int = 7,
    warm_up: int | None = None,
    goal: float | None = None,
    missing: str = "",
    rates: bool = False,
) -> Comparison:
    """Measures, prints the line, and returns it. Errors of the work propagate; a goal that is missed is only told.
    ``rates``: tell operations per second."""
    runs: list[list[float]] = [[], []]
    works = [ours[1], *([peer[1]] if peer else [])]
    for work in works:
        if warm := times // 4 if warm_up is None else warm_up:
            work(warm)
    for _ in range(rounds):
        for run, work in zip(runs, works, strict=False):
            run.append(timed(work, times))
    found = Comparison(
        what,
        Series(ours[0], runs[0]),
        Series(peer[0], runs[1]) if peer else None,
        goal=goal,
        missing=missing,
        rates=rates,
    )
    print(f"\n  {found}")
    return found


def _time(seconds: float) -> str:
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} us"
    return f"{seconds * 1e3:.2f} ms" if seconds < 1 else f"{seconds:.2f} s"
