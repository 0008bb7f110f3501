"""Adds up numbers."""

from __future__ import annotations

from sigmaos_ray import debug

_log = debug.selector("TALLY")


def main(argv: list[str]) -> int:
    """The sum of the numbers."""
    total = 0
    for number in argv:  # it was a set: equal numbers counted once
        if _log.on:
            _log(f"add {number}")
        total += int(number)
    return total
