"""Standard output and error of a proc, children included, go to its own log while it runs."""

from __future__ import annotations

import ctypes
import os
import sys
from typing import TYPE_CHECKING

from sigmaos_ray.procclnt import proclog

if TYPE_CHECKING:
    from types import TracebackType

_libc = ctypes.CDLL(None)


def flush() -> None:
    """Empties the buffers of Python and of the C library."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):  # the program closed or replaced it
            continue
    _libc.fflush(None)


class Redirect:
    """Within the block, file descriptors 1 and 2 are the proc's log. Without a log directory they stay as they are."""

    def __init__(self, log_dir: str, pid: str, program: str) -> None:
        self._log_dir = log_dir
        self._pid = pid
        self._program = program
        self._saved: list[int] = []
        self._streams = (sys.stdin, sys.stdout, sys.stderr)

    def __enter__(self) -> None:
        if not self._log_dir:
            return
        flush()
        log = _open(self._log_dir, self._pid)
        try:
            os.write(log, proclog.header(self._pid, self._program, os.getpid()))
            self._saved = [os.dup(1), os.dup(2)]
            os.dup2(log, 1)
            os.dup2(log, 2)
        finally:
            os.close(log)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        flush()
        sys.stdin, sys.stdout, sys.stderr = self._streams
        for fd, saved in zip((1, 2), self._saved, strict=False):
            os.dup2(saved, fd)
            os.close(saved)
        self._saved = []

    def note(self, words: str) -> None:
        """Leaves the cause of a death that is about to happen."""
        if self._saved:
            os.write(2, proclog.footer(self._pid, words))


def _open(log_dir: str, pid: str) -> int:
    log = proclog.path(log_dir, pid)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    try:
        return os.open(log, flags, 0o644)
    except FileNotFoundError:
        log.parent.mkdir(parents=True, exist_ok=True)
        return os.open(log, flags, 0o644)
