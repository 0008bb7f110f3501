"""How long logs of ended procs are kept: within a number of bytes, and an age.

What nobody takes away fills the disk of a node that runs procs for weeks. The oldest go first; the log of a proc whose
process lives stays, and so does one that was written just now, since its end may still be looked into.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sigmaos_ray import debug
from sigmaos_ray.runner import proclog

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sigmaos_ray.config import Scheduling

_log = debug.selector("SCHEDD")


class KeptLog(NamedTuple):
    """One log, as the disk has it."""

    changed_s: float
    size_bytes: int
    name: str


def prune(directory: Path, limits: Scheduling, now_s: float) -> Sequence[str]:
    """Removes the logs of ended procs that are too old, or too many bytes together; returns their names. Blocks."""
    logs = sorted(_logs(directory))
    total_bytes = sum(log.size_bytes for log in logs)
    removed = []
    for log in logs:
        age_s = now_s - log.changed_s
        is_too_much = age_s > limits.proc_logs_age_s_max or total_bytes > limits.proc_logs_bytes_max
        if not is_too_much or age_s < limits.proc_logs_poll_s:
            break
        if not _is_living(directory / log.name):
            with contextlib.suppress(FileNotFoundError):  # another node's schedd of this machine was quicker
                (directory / log.name).unlink()
            total_bytes -= log.size_bytes
            removed.append(log.name)
    return removed


def _logs(directory: Path) -> Iterator[KeptLog]:
    with contextlib.suppress(FileNotFoundError), os.scandir(directory) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                if entry.name.endswith(".log") and entry.is_file(follow_symlinks=False):
                    found = entry.stat(follow_symlinks=False)
                    yield KeptLog(found.st_mtime, found.st_size, entry.name)


def _is_living(log: Path) -> bool:
    # A number that another process has by now keeps the log until that has ended as well: better than the reverse.
    number = proclog.os_pid(log)
    return number is not None and os.path.exists(f"/proc/{number}")


class LogRetention:
    """Of the procs of one node and realm. On the schedd's loop; ``stop`` ends it."""

    def __init__(self, log_dir: str, limits: Scheduling) -> None:
        """``log_dir`` "": there are no logs."""
        self._directory = Path(log_dir) / proclog.DIR if log_dir else None
        self._limits = limits
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self._directory is not None:
            self._task = asyncio.create_task(self._run(self._directory), name="schedd-logs")

    async def _run(self, directory: Path) -> None:
        while True:
            await asyncio.sleep(self._limits.proc_logs_poll_s)
            try:
                removed = await asyncio.to_thread(prune, directory, self._limits, time.time())
            except OSError as error:  # a disk that fails: it is tried again
                debug.error(f"logs of ended procs: {error}")
                continue
            if removed:
                _log(f"{len(removed)} logs of ended procs are gone, {removed[0]} the first")

    async def stop(self) -> None:
        """May be repeated."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
