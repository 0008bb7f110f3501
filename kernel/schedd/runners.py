"""The node's watcher of its runners: how the workers that run procs ended, which Ray does not tell reliably.

A worker says hello once, before its first proc; from then on a pidfd stands for it, so that its id cannot be mistaken
for another process's. How it ended is read from the pidfd (Linux 6.15 and later) and kept for a while.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Final

from sigmaos_ray import debug
from sigmaos_ray.runner import proclog

_log = debug.selector("SCHEDD")

# From linux/pidfd.h, for which Python has no names: the first version of its struct pidfd_info, and the ioctl for it.
_INFO_BYTES: Final = 64
_INFO_EXIT: Final = 1 << 3
_EXIT_CODE_AT: Final = 60
_PIDFD_GET_INFO: Final = (3 << 30) | (_INFO_BYTES << 16) | (0xFF << 8) | 11


def host_token() -> str:
    """The same in two processes if they see each other's process ids."""
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot_id}/{os.readlink('/proc/self/ns/pid')}"


def exit_words(pidfd: int) -> str | None:
    """How an ended process ended, in the words of X-11; None where the system cannot tell."""
    info = bytearray(_INFO_BYTES)
    struct.pack_into("Q", info, 0, _INFO_EXIT)
    try:
        fcntl.ioctl(pidfd, _PIDFD_GET_INFO, info, True)
    except OSError:  # an older kernel
        return None
    if not struct.unpack_from("Q", info, 0)[0] & _INFO_EXIT:
        return None
    status = struct.unpack_from("i", info, _EXIT_CODE_AT)[0]
    if os.WIFSIGNALED(status):
        return proclog.signal_words(os.WTERMSIG(status))
    return proclog.exit_words(os.WEXITSTATUS(status))


class Runners:
    """The workers of this host that run procs. Used from one loop; ``close`` frees the descriptors."""

    def __init__(self, ends_kept_max: int) -> None:
        self._ends_kept_max = ends_kept_max
        self._host = host_token()
        self._pidfds: dict[int, int] = {}
        self._words: OrderedDict[int, str | None] = OrderedDict()
        self._ended: dict[int, asyncio.Event] = {}

    def hello(self, os_pid: int, host: str) -> None:
        """A worker is about to run its first proc. One of another host cannot be watched from here."""
        if host != self._host or os_pid in self._pidfds:
            return
        try:
            pidfd = os.pidfd_open(os_pid)
        except ProcessLookupError:
            return
        # The number may have been another worker's, whose end is not this one's.
        self._words.pop(os_pid, None)
        self._pidfds[os_pid] = pidfd
        self._ended[os_pid] = asyncio.Event()
        asyncio.get_running_loop().add_reader(pidfd, self._on_end, os_pid)

    def watches(self, os_pid: int) -> bool:
        """Whether this is a live runner of this host."""
        return os_pid in self._pidfds

    def _on_end(self, os_pid: int) -> None:
        pidfd = self._pidfds.pop(os_pid)
        asyncio.get_running_loop().remove_reader(pidfd)
        self._words[os_pid] = exit_words(pidfd)
        os.close(pidfd)
        self._ended.pop(os_pid).set()
        _log(f"runner {os_pid}: {self._words[os_pid]}")
        while len(self._words) > self._ends_kept_max:
            self._words.popitem(last=False)

    def is_here(self, os_pid: int) -> bool:
        """True for a worker of this host, whether it lives or not."""
        return os_pid in self._pidfds or os_pid in self._words

    async def cause(self, os_pid: int, timeout_s: float) -> str | None:
        """How a worker ended that Ray said is dead: waits a moment for the system to say so too."""
        ended = self._ended.get(os_pid)
        if ended is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), timeout_s)
        return self._words.get(os_pid)

    def end_group(self, os_pid: int) -> None:
        """Kills what is left of a worker's process group: the children of a proc that died. Not for the living: their
        group may run another proc by now."""
        if not self.is_here(os_pid):
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(os_pid, signal.SIGKILL)

    def close(self) -> None:
        """Watches no more. The workers go on."""
        loop = asyncio.get_running_loop()
        for pidfd in self._pidfds.values():
            loop.remove_reader(pidfd)
            os.close(pidfd)
        self._pidfds.clear()
