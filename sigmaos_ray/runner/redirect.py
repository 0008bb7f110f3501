"""Standard output and error of a proc, children included, go to its own log while it runs."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import threading
from typing import TYPE_CHECKING

from sigmaos_ray.runner import proclog

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType
    from typing import TextIO

_libc = ctypes.CDLL(None)


def flush(*more: TextIO) -> None:
    """Empties the buffers of Python, ``more`` of them included, and of the C library."""
    for stream in (sys.stdout, sys.stderr, *more):
        with contextlib.suppress(Exception):  # the program closed it, or put one of its own in its place
            stream.flush()
    _libc.fflush(None)


def _take_any_text() -> None:
    """What cannot be encoded is shown escaped, and no reason to fail: Ray's workers have strict streams."""
    for stream in (sys.stdout, sys.stderr):
        # By their names: Ray puts objects of its own around Python's.
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None and getattr(stream, "errors", "") != "backslashreplace":
            reconfigure(errors="backslashreplace")


class Redirect:
    """Within the block, file descriptors 1 and 2 are the proc's log. Without a log directory they stay as they are.

    Making a file is the dearest thing that a short proc would do. So a proc writes to its worker's spare log, which
    becomes its own when there is something to keep: it printed, it dies, or it runs for a while (``keep_log``).
    """

    def __init__(self, log_dir: str, pid: str, program: str) -> None:
        self._log_dir = log_dir
        self._pid = pid
        self._program = program
        self._log = -1
        self._header_bytes = 0
        self._kept = False
        self._keeping = threading.Lock()
        self._saved: list[int] = []
        self._streams = (sys.stdin, sys.stdout, sys.stderr)

    @property
    def pid(self) -> str:
        return self._pid

    def __enter__(self) -> None:
        global _current
        if not self._log_dir:
            return
        flush()  # what the worker printed before is not the proc's
        _take_any_text()
        self._log = _spare.take(self._log_dir)
        try:
            self._header_bytes = os.write(self._log, proclog.header(self._pid, self._program, os.getpid()))
            self._saved = [os.dup(1), os.dup(2)]
            os.dup2(self._log, 1)
            os.dup2(self._log, 2)
        except OSError:
            os.close(self._log)
            raise
        _current = self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        global _current
        # What is still in the program's own streams, and in those that it has replaced, belongs to the log as well.
        flush(*self._streams[1:])
        sys.stdin, sys.stdout, sys.stderr = self._streams
        for fd, saved in zip((1, 2), self._saved, strict=False):
            os.dup2(saved, fd)
            os.close(saved)
        if self._saved:
            _current = None
            # The file's size tells, not what Python wrote: children and C libraries write to the descriptor, too.
            if os.fstat(self._log).st_size != self._header_bytes:
                self.keep()
            self._end()
        self._saved = []

    def keep(self) -> None:
        """The log gets its name, in place of an older one of the same pid. From any thread, and more than once."""
        with self._keeping:
            if not self._kept and self._log >= 0:
                self._kept = True
                os.replace(proclog.spare(self._log_dir, os.getpid()), proclog.path(self._log_dir, self._pid))

    def _end(self) -> None:
        # Not beside a ``keep`` of another thread: a log that has just got its name must not be emptied for the next
        # proc.
        with self._keeping:
            if self._kept:
                os.close(self._log)
            else:
                _spare.give(self._log_dir, self._log)
            self._log = -1

    def note(self, words: str) -> None:
        """Leaves the cause of a death that is about to happen."""
        if self._saved:
            # Past Python's stream: the signal that led here may have come in the middle of a write to it.
            os.write(2, proclog.footer(self._pid, words))


# One is enough: a process runs one proc at a time.
_current: Redirect | None = None


def keep_log(pid: str) -> None:
    """The proc that runs in this process keeps its log, if it is this one. From any thread."""
    redirect = _current
    if redirect is not None and redirect.pid == pid:
        redirect.keep()


class _Spare:
    """This process's spare log: an empty file, for the next proc."""

    def __init__(self) -> None:
        self._fd = -1
        self._log_dir = ""
        self._os_pid = 0

    def take(self, log_dir: str) -> int:
        """A descriptor to append with; whoever takes it closes it or gives it back."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            # Not in a forked child, and not if somebody removed the file meanwhile.
            if (self._log_dir, self._os_pid) == (log_dir, os.getpid()) and os.fstat(fd).st_nlink:
                return fd
            os.close(fd)
        return _open(proclog.spare(log_dir, os.getpid()))

    def give(self, log_dir: str, fd: int) -> None:
        """Takes back a log that its proc did not need: it is emptied for the next one."""
        os.ftruncate(fd, 0)
        self._fd, self._log_dir, self._os_pid = fd, log_dir, os.getpid()


_spare = _Spare()


def _open(spare: Path) -> int:
    # O_APPEND: children write through descriptors of their own, and after the truncation for the next proc none of them
    # goes on at its old offset, behind a hole.
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
    try:
        return os.open(spare, flags, 0o644)
    except FileNotFoundError:
        spare.parent.mkdir(parents=True, exist_ok=True)
        return os.open(spare, flags, 0o644)
