"""Counts the words of one file: the program of exercise 4."""

from __future__ import annotations

from sigmaos_ray import SigmaClnt


def main(argv: list[str]) -> int:
    """What is returned is the status' data. UnicodeDecodeError for what is no text."""
    with SigmaClnt() as sc:
        return len(sc.get_file(argv[0]).decode().split())
