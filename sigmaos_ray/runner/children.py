"""The processes that a proc left behind end with it."""

from __future__ import annotations

import ctypes
import os
from typing import Final

import psutil

from sigmaos_ray import config

# Of prctl(2), for which Python has neither a function nor names.
_PR_SET_CHILD_SUBREAPER: Final = 36


def adopt_orphans() -> None:
    """From now on this process leads a process group, and descendants whose parent ended become its children: so
    whoever ends them finds them all. To be called in a process that runs procs, before the first one."""
    # Who leads a session leads a group already, and setpgid refuses it.
    if os.getpgid(0) != os.getpid():
        os.setpgid(0, 0)
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def own() -> frozenset[int]:
    """The process ids of this process's children; costs one system call if there are none."""
    try:
        # WNOWAIT: a child that ended is looked at and left, for it is its program that reaps it.
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return frozenset()
    return frozenset(child.pid for child in psutil.Process().children())


def end_all(spared: frozenset[int] = frozenset()) -> None:
    """Kills and reaps this process's descendants, but not those below ``spared``. Blocks for at most about 2 s."""
    # Again and again: those whose parent is killed become this process's children meanwhile, and some fork.
    while remaining := own() - spared:
        children = [child for child in psutil.Process().children() if child.pid in remaining]
        tree = children + [process for child in children for process in _below(child)]
        for process in tree:
            _kill(process)
        _, alive = psutil.wait_procs(tree, timeout=config.current().workers.reap_timeout_s)
        if alive:  # in an uninterruptible call: the kernel ends them when it is over
            return


def _below(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _kill(process: psutil.Process) -> None:
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return
