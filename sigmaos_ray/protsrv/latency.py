"""Latencies as a histogram: counted in well under a microsecond, told as percentiles. Pure."""

from __future__ import annotations

from typing import Any, Final

_SHIFT: Final = 10
"""The unit is 2^10 ns, about a microsecond."""
_STEPS_BITS: Final = 2
_STEPS: Final = 1 << _STEPS_BITS
_SLOTS: Final = _STEPS * 40
"""Four steps for each doubling, so that a percentile is off by an eighth at most; up to days."""


def _edge_us(slot: int) -> float:
    """Where a slot begins, in microseconds."""
    if slot < _STEPS:
        units = slot
    else:
        doubling, step = divmod(slot, _STEPS)
        units = (_STEPS + step) << (doubling - 1)
    return units * (1 << _SHIFT) / 1e3


class Latency:
    """Latencies of one kind of operation. Used from one thread."""

    __slots__ = ("count", "max_ns", "slots", "total_ns")

    def __init__(self) -> None:
        self.count = 0
        self.total_ns = 0
        self.max_ns = 0
        self.slots = [0] * _SLOTS

    def add(self, took_ns: int) -> None:
        """Counts one operation."""
        slot = took_ns >> _SHIFT
        if slot >= _STEPS:
            # The highest bit says how many doublings, the _STEPS_BITS behind it which step of the last one.
            doublings = slot.bit_length() - _STEPS_BITS - 1
            slot = (slot >> doublings) + (doublings << _STEPS_BITS)
        self.slots[slot if slot < _SLOTS else -1] += 1
        self.count += 1
        self.total_ns += took_ns
        if took_ns > self.max_ns:
            self.max_ns = took_ns

    def percentile_us(self, percent: float) -> float:
        """The latency that so many percent do not exceed, in microseconds; 0 if there are none."""
        rank = self.count * percent / 100
        for slot, count in enumerate(self.slots):
            if count and rank <= count:  # within a slot, as if they were spread evenly
                begins_us = _edge_us(slot)
                return min(begins_us + (_edge_us(slot + 1) - begins_us) * rank / count, self.max_ns / 1e3)
            rank -= count
        return self.max_ns / 1e3

    def report(self) -> dict[str, Any]:
        """As ``.statsd`` shows it, times in microseconds. ``slots``: where each begins, and its count; empty ones are
        left out."""
        return {
            "count": self.count,
            "total_us": round(self.total_ns / 1e3),
            "mean_us": round(self.total_ns / 1e3 / self.count, 1) if self.count else 0.0,
            "p50_us": round(self.percentile_us(50), 1),
            "p90_us": round(self.percentile_us(90), 1),
            "p99_us": round(self.percentile_us(99), 1),
            "max_us": round(self.max_ns / 1e3, 1),
            "slots": [[round(_edge_us(slot), 1), count] for slot, count in enumerate(self.slots) if count],
        }
