"""Adds up numbers; something is wrong with it."""

from __future__ import annotations


def main(argv: list[str]) -> int:
    """The sum of the numbers."""
    total = 0
    for number in set(argv):
        # Your code here: tell, by the selector TALLY.
        total += int(number)
    return total
