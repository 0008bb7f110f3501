"""A node that runs out of memory: the largest proc ends, and its status says why (C-13).

Ray's own monitor looks at its workers alone, and ends the largest of those. Procs have processes of their own: so their
node's schedd looks after them, and a little earlier than Ray.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil

from kernel.raylib import memory
from sigmaos_ray import debug
from sigmaos_ray.runner import proclog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sigmaos_ray.config import Scheduling
    from sigmaos_ray.machine import OsProcess

_log = debug.selector("SCHEDD")

_MIB: Final = 1 << 20


class MemoryGuard:
    """Of the procs that this node's workers run. On the schedd's loop; ``stop`` ends it."""

    def __init__(self, log_dir: str, limits: Scheduling, workers: Callable[[], Iterable[OsProcess]]) -> None:
        """``workers``: those that live on this machine."""
        self._log_dir = log_dir
        self._limits = limits
        self._workers = workers
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="schedd-memory")

    async def _run(self) -> None:
        total = memory.total_bytes()
        bytes_max = (await asyncio.to_thread(memory.threshold)) * total
        bytes_max -= min(self._limits.memory_margin_mb * _MIB, self._limits.memory_margin * total)
        while True:
            used = memory.used_bytes() if any(self._workers()) else 0
            if used > bytes_max:
                await asyncio.to_thread(self._relieve, bytes_max, list(self._workers()))
            await asyncio.sleep(self._pause_s(bytes_max - used))

    def _pause_s(self, left_bytes: float) -> float:
        """Until so much could be used up; long enough for what was killed to be gone."""
        limits = self._limits
        return min(limits.memory_poll_s, max(left_bytes / _MIB / limits.memory_growth_mb_s, limits.memory_pause_s))

    def _relieve(self, bytes_max: float, workers: list[OsProcess]) -> None:
        """Ends the largest proc, unless somebody else's process is larger: that would not help. In a thread."""
        groups = _groups_below(workers)
        if not groups:
            return
        group, held = max(groups.items(), key=lambda item: item[1])
        if held < _largest_elsewhere(set(groups)):
            return
        words = f"out of memory: it held {held // _MIB} MB when its node had used all but {_left(bytes_max)} MB"
        note(self._log_dir, group, words)
        _log(f"process group {group}: {words}")
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)

    async def stop(self) -> None:
        """May be repeated."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})


def _left(bytes_max: float) -> int:
    return int(memory.total_bytes() - bytes_max) // _MIB


def _groups_below(workers: Iterable[OsProcess]) -> dict[int, int]:
    """The process groups of procs that workers run, and how many bytes each holds. Not the workers' own."""
    held: dict[int, int] = {}
    for worker in workers:
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            for process in psutil.Process(worker.pid).children(recursive=True):
                with contextlib.suppress(psutil.Error, ProcessLookupError):
                    group = os.getpgid(process.pid)
                    held[group] = held.get(group, 0) + process.memory_info().rss
            held.pop(os.getpgid(worker.pid), None)
    return held


def _largest_elsewhere(groups: set[int]) -> int:
    """What the largest process holds that is of none of these groups."""
    largest = 0
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if os.getpgid(process.pid) not in groups:
                largest = max(largest, process.memory_info().rss)
    return largest


def note(log_dir: str, group: int, words: str) -> None:
    """Leaves word of why a process group is ended."""
    if log_dir:
        file = _file(log_dir, group)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(words)


def take_note(log_dir: str, group: int) -> str:
    """Why a process group was ended; empty if nobody left word. The word is taken away."""
    if not log_dir:
        return ""
    file = _file(log_dir, group)
    try:
        words = file.read_text()
        file.unlink()
    except FileNotFoundError:
        return ""
    return words


def _file(log_dir: str, group: int) -> Path:
    return Path(log_dir) / proclog.DIR / ".memory" / str(group)
