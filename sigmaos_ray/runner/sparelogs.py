"""Spare logs: files that procs write to while it is not clear that there is anything to keep.

Making a file is the dearest thing that a short proc would do. So its process has one that was made ahead. It becomes
the proc's log, by a rename, when the proc has printed, dies, or runs for a while; else the next process gets it.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import NamedTuple

from sigmaos_ray.runner import proclog

# O_APPEND: children of the proc write through descriptors of their own, and after the truncation for the next proc none
# of them goes on at its old offset, behind a hole.
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC


class SpareLog(NamedTuple):
    """One of them, open."""

    fd: int
    path: str

    @property
    def name(self) -> str:
        """Among the spare ones."""
        return os.path.basename(self.path)


class SpareLogs:
    """Those of one template, which opens them for the processes that it forks. Without a directory there are none."""

    def __init__(self, log_dir: str) -> None:
        self._log_dir = log_dir
        self._free: list[SpareLog] = []
        self._made_count = 0

    def take(self) -> SpareLog | None:
        """One for a process about to be forked; None if there can be none."""
        if not self._log_dir:
            return None
        if self._free:
            return self._free.pop()
        self._made_count += 1
        name = f"{os.getpid()}.{self._made_count}"
        path = str(proclog.spare(self._log_dir, name))
        try:
            return SpareLog(_open(path), path)
        except OSError:  # a full disk, or nobody's to write: the proc runs, and its output goes where the worker's does
            return None

    def give(self, log: SpareLog) -> None:
        """Its process has ended. Whoever was to rename it may not have done so yet, then it has something in it."""
        if os.fstat(log.fd).st_size == 0 and os.path.exists(log.path):
            self._free.append(log)
        else:
            os.close(log.fd)

    def remove(self) -> None:
        """Those that nobody has."""
        while self._free:
            log = self._free.pop()
            os.close(log.fd)
            Path(log.path).unlink(missing_ok=True)


def _open(path: str) -> int:
    try:
        return os.open(path, _FLAGS, 0o644)
    except FileNotFoundError:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, _FLAGS, 0o644)


class ProcLog:
    """The log of the proc of this very process, which standard output and error go to."""

    def __init__(self, spare: SpareLog | None, header: bytes = b"") -> None:
        self.spare = spare
        self.header = header
        """What its file has by now that nobody printed."""

    def install(self) -> None:
        """Descriptors 1 and 2 are the log from now on. The proc may close them: another one stays here."""
        if self.spare is not None:
            os.dup2(self.spare.fd, 1)
            os.dup2(self.spare.fd, 2)

    def begin(self, pid: str, program: str) -> None:
        """A proc has it now."""
        if self.spare is not None:
            self.header = proclog.header(pid, program, os.getpid())
            os.write(self.spare.fd, self.header)

    def settle(self, log_dir: str, pid: str) -> None:
        """The proc is over: what it printed gets its name, else the file is as new. The worker may give it the name at
        the same time."""
        if self.spare is None:
            return
        # The file's size tells, not what Python wrote: children and C libraries write to the descriptor, too.
        if os.fstat(self.spare.fd).st_size != len(self.header):
            keep(self.spare.path, log_dir, pid)
        elif os.path.exists(self.spare.path):
            os.ftruncate(self.spare.fd, 0)
            if not os.path.exists(self.spare.path):
                os.write(self.spare.fd, self.header)


def keep(spare: str, log_dir: str, pid: str) -> None:
    """Gives a spare log its name, in place of an older one of the same pid. May be repeated, in any process."""
    with contextlib.suppress(FileNotFoundError):  # it has its name
        os.replace(spare, proclog.path(log_dir, pid))


def remove_of(log_dir: str, os_pid: int) -> None:
    """Removes what a template that has ended left behind: those that no proc wrote to."""
    if log_dir:
        _remove_empty(log_dir, f"{os_pid}.*")


def sweep(log_dir: str) -> None:
    """The same for all templates that are gone."""
    if log_dir:
        _remove_empty(log_dir, "[0-9]*.[0-9]*")


def _remove_empty(log_dir: str, pattern: str) -> None:
    for file in (Path(log_dir) / proclog.DIR / proclog.SPARES).glob(pattern):
        with contextlib.suppress(FileNotFoundError):
            if not os.path.exists(f"/proc/{file.name.partition('.')[0]}") and not file.stat().st_size:
                file.unlink()


def append(log: Path, data: bytes) -> None:
    """Adds to a log what its proc could not write itself."""
    with contextlib.suppress(FileNotFoundError), log.open("r+b") as file:
        file.seek(0, 2)
        file.write(data)
