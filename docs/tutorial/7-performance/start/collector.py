"""Collects the numbers in the files of a directory: correct, and slow."""

from __future__ import annotations

from sigmaos_ray import SigmaClnt


def main(argv: list[str]) -> dict[str, int]:
    """The sum of all numbers, and how often the directory was listed."""
    total, listed = 0, 0
    with SigmaClnt() as sc:
        # Your code here: one listing, reads side by side, and Perf("COLLECTOR").
        index = 0
        while True:
            entries = sc.get_dir(argv[0])
            listed += 1
            if index >= len(entries):
                return {"total": total, "listed": listed}
            total += int(sc.get_file(f"{argv[0]}/{entries[index].name}"))
            index += 1
