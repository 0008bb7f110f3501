"""Counting all files of a directory at a time."""

from __future__ import annotations

from sigmaos_ray import SigmaClnt


def count_all(sc: SigmaClnt, directory: str) -> dict[str, int | None]:
    """Words by file; None for what cannot be counted. A proc for each file, all at a time."""
    counts: dict[str, int | None] = {}
    for entry in sc.get_dir(directory):
        # Your code here: as procs of the program ``counter``.
        counts[entry.name] = len(sc.get_file(f"{directory}/{entry.name}").decode().split())
    return counts
