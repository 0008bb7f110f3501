"""The processes that a proc left behind end with it."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import threading
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from sigmaos_ray import config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# Of prctl(2), for which Python has neither a function nor names.
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_libc: Final = ctypes.CDLL(None)


class Spared(NamedTuple):
    """What is left alone."""

    children: frozenset[int] = frozenset()
    threads: frozenset[str] = frozenset()
    """Threads of this process whose children are none of a program's."""


_NOTHING: Final = Spared()


def adopt_orphans() -> None:
    """From now on this process leads a process group, and descendants whose parent ended become its children: so
    whoever ends them finds them all. To be called in a process that runs procs, before the first one."""
    # Who leads a session leads a group already, and setpgid refuses it.
    if os.getpgid(0) != os.getpid():
        os.setpgid(0, 0)
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def outlive_parent() -> None:
    """Takes ``die_with_parent`` back."""
    _libc.prctl(_PR_SET_PDEATHSIG, 0, 0, 0, 0)


def die_with_parent(parent_os_pid: int) -> None:
    """From now on this process is killed when its parent ends, at once if it has ended. The parent must have forked it
    on its only thread."""
    _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent_os_pid:
        os.kill(os.getpid(), signal.SIGKILL)


def has_any() -> bool:
    """Whether this process has children; costs one system call."""
    try:
        # WNOWAIT: a child that ended is looked at and left, for it is its program that reaps it.
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def present() -> Spared:
    """What this process has before it runs a program: its children, and the threads that go on beside the program. To
    be called in the thread that runs programs."""
    if not has_any():
        return Spared()
    own_thread = str(threading.get_native_id())
    # The children of a thread that has ended become another one's, as a rule the first one's.
    threads = _threads(os.getpid()) - {own_thread, str(os.getpid())}
    return Spared(frozenset(_below(os.getpid(), threads)), threads)


def own(spared: Spared = _NOTHING) -> frozenset[int]:
    """The process ids of this process's children; costs one system call if there are none."""
    return frozenset(_below(os.getpid(), spared.threads)) - spared.children if has_any() else frozenset()


def _below(os_pid: int, threads_spared: frozenset[str] = frozenset()) -> list[int]:
    """The children of a process, those included that ended and were not reaped; none if it is gone."""
    found: list[int] = []
    # A child is its thread's that forked it.
    for thread in _threads(os_pid) - threads_spared:
        try:
            with open(f"/proc/{os_pid}/task/{thread}/children", "rb") as file:
                found += map(int, file.read().split())
        except (FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            continue
    return found


def _threads(os_pid: int) -> frozenset[str]:
    try:
        return frozenset(os.listdir(f"/proc/{os_pid}/task"))
    except (FileNotFoundError, ProcessLookupError):
        return frozenset()


def end_all(spared: Spared = _NOTHING, reaped: Callable[[int, int], None] | None = None) -> bool:
    """Kills and reaps this process's descendants, but not those below ``spared``. Blocks for at most about 2 s; false
    if some are left then: in an uninterruptible call, the kernel ends them when it is over. ``reaped(os_pid, status)``
    is called for each child, with the status of wait(2)."""
    if not has_any():
        return True
    ends_s = time.monotonic() + config.current().workers.reap_timeout_s
    # Again and again: those whose parent is killed become this process's children meanwhile, and some fork.
    while remaining := own(spared):
        for os_pid in remaining:
            _kill_tree(os_pid)
        if not _reap(remaining, ends_s, reaped):
            return False
    return True


def _kill_tree(os_pid: int) -> None:
    below = _below(os_pid)
    _kill(os_pid)
    for child in below:
        _kill_tree(child)


def _kill(os_pid: int) -> None:
    try:
        os.kill(os_pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _reap(os_pids: Iterable[int], ends_s: float, reaped: Callable[[int, int], None] | None) -> bool:
    """Whether all of these children ended in time."""
    for os_pid in os_pids:
        try:
            if not ends(os_pid, ends_s - time.monotonic()):
                return False
            _, status = os.waitpid(os_pid, 0)
        except (ChildProcessError, ProcessLookupError):  # a program's own thread was faster
            continue
        if reaped is not None:
            reaped(os_pid, status)
    return True


def ends(os_pid: int, timeout_s: float) -> bool:
    """Blocks until a process has ended; false if that takes too long. ProcessLookupError if there is none."""
    pidfd = os.pidfd_open(os_pid)
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        return bool(poll.poll(max(timeout_s, 0.0) * 1e3))
    finally:
        os.close(pidfd)
