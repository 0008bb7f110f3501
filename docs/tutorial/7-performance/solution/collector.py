"""Collects the numbers in the files of a directory."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from sigmaos_ray import SigmaClnt
from sigmaos_ray.perf import Perf


def main(argv: list[str]) -> dict[str, int]:
    """The sum of all numbers, and how often the directory was listed."""
    with SigmaClnt() as sc, Perf("COLLECTOR") as perf, ThreadPoolExecutor(8) as threads:
        total = 0
        for contents in threads.map(sc.get_file, [f"{argv[0]}/{entry.name}" for entry in sc.get_dir(argv[0])]):
            total += int(contents)
            perf.tpt_tick(1)
        return {"total": total, "listed": 1}
