"""Counting all files of a directory at a time."""

from __future__ import annotations

from sigmaos_ray import Proc, SigmaClnt


def count_all(sc: SigmaClnt, directory: str) -> dict[str, int | None]:
    """Words by file; None for what cannot be counted. A proc for each file, all at a time."""
    procs = [Proc("counter", [f"{directory}/{entry.name}"]) for entry in sc.get_dir(directory)]
    names = {proc.pid: proc.args[0].rpartition("/")[2] for proc in procs}
    failed, _ = sc.spawn_burst(procs)
    counts: dict[str, int | None] = dict.fromkeys(names.values())
    running = [proc.pid for proc in procs if proc not in failed]
    for pid, status in sc.as_completed(running):
        if status.is_ok() and isinstance(status.data, int):
            counts[names[pid]] = status.data
    return counts
