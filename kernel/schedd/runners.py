"""The runners of this machine: how the workers that run procs ended, which Ray does not tell reliably.

A worker says hello once, before its first proc, to the schedd that owns the proc and to that of its own node; from then
on a pidfd stands for it. How it ended is read from the pidfd (Linux 6.15 and later) and kept for a while; what it left
behind is ended. Which workers there are is kept on the disk: a schedd that takes another one's place, maybe on a host
that was lost, goes on with them.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import select
import signal
import struct
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, TypeAlias

from kernel.schedd import begun
from sigmaos_ray import debug
from sigmaos_ray.machine import OsProcess
from sigmaos_ray.runner import proclog

if TYPE_CHECKING:
    from kernel.keeping import KeptFile
    from sigmaos_ray.config import Scheduling

_log = debug.selector("SCHEDD")

KeptRunners: TypeAlias = "KeptFile[list[OsProcess]]"

# From linux/pidfd.h, for which Python has no names: the first version of its struct pidfd_info, and the ioctl for it.
_INFO_BYTES: Final = 64
_INFO_EXIT: Final = 1 << 3
_EXIT_CODE_AT: Final = 60
_PIDFD_GET_INFO: Final = (3 << 30) | (_INFO_BYTES << 16) | (0xFF << 8) | 11


def exit_words(pidfd: int) -> str | None:
    """How a process ended that is reaped, in the words of X-11; None where the system cannot tell."""
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


def _is_reaped(pidfd: int) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return any(events & select.POLLHUP for _, events in poll.poll(0))


class Runners:
    """The workers of this machine that run procs. Used from one loop; ``close`` frees the descriptors."""

    def __init__(self, limits: Scheduling, kept: KeptRunners, log_dir: str = "") -> None:
        """``log_dir``: where workers of this machine keep what they have begun."""
        self._limits = limits
        self._log_dir = log_dir
        self._begun: OrderedDict[OsProcess, tuple[str, int] | None] = OrderedDict()
        self._kept = kept
        self._pidfds: dict[OsProcess, int] = {}
        self._ended: dict[OsProcess, asyncio.Event] = {}
        self._words: OrderedDict[OsProcess, str | None] = OrderedDict()
        self._reaping: set[asyncio.Task[None]] = set()

    def hello(self, process: OsProcess) -> None:
        """A worker is about to run its first proc. One of another machine cannot be watched from here."""
        if process not in self._pidfds and self._watch(process):
            self._kept.update(lambda before: [*filter(OsProcess.is_alive, before or ()), process])

    def recover(self) -> None:
        """Goes on with the workers that an earlier schedd of this node watched, and ends what those left behind that
        have ended since."""
        for process in self._kept.read() or ():
            if not self._watch(process):
                end_group(process)

    def _watch(self, process: OsProcess) -> bool:
        """False if there is nothing to watch: it has ended, or is of another machine."""
        pidfd = process.open()
        if pidfd is None:
            return False
        self._pidfds[process] = pidfd
        self._ended[process] = asyncio.Event()
        asyncio.get_running_loop().add_reader(pidfd, self._on_end, process)
        return True

    def living(self) -> list[OsProcess]:
        """Those of this machine that have not ended."""
        return list(self._pidfds)

    def watches(self, process: OsProcess) -> bool:
        """Whether this is a live runner of this machine."""
        return process in self._pidfds

    def _on_end(self, process: OsProcess) -> None:
        # The system tells of a zombie already, but how it ended only once its parent, Ray, has taken notice.
        asyncio.get_running_loop().remove_reader(self._pidfds[process])
        reaping = asyncio.create_task(self._reap(process), name=f"runner-{process.pid}")
        self._reaping.add(reaping)
        reaping.add_done_callback(self._reaping.discard)

    async def _reap(self, process: OsProcess) -> None:
        pidfd, loop = self._pidfds[process], asyncio.get_running_loop()
        try:
            gives_up_s = loop.time() + self._limits.cause_timeout_s
            while not _is_reaped(pidfd) and loop.time() < gives_up_s:  # noqa: ASYNC110  # the system tells nobody
                await asyncio.sleep(self._limits.reaped_poll_s)
            self._words[process] = exit_words(pidfd)
            self._begun[process] = begun.take(self._log_dir, process)
        finally:
            del self._pidfds[process]
            os.close(pidfd)
            # Whoever owned its proc: the owner's schedd may be gone, which is why Ray ended the worker.
            end_group(process)
            self._ended.pop(process).set()
        _log(f"runner {process.pid}: {self._words[process]}")
        while len(self._words) > self._limits.worker_ends_kept_max:
            self._words.popitem(last=False)
            self._begun.popitem(last=False)

    async def cause(self, process: OsProcess) -> str | None:
        """How a worker ended that Ray said is dead: waits a moment for the system to say so too."""
        ended = self._ended.get(process)
        if ended is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), self._limits.cause_timeout_s)
        return self._words.get(process)

    def has_begun(self, process: OsProcess, lease_id: str, number: int) -> bool | None:
        """Whether a worker that is gone had begun a proc that its lease was handed last; None if nobody knows."""
        record = self._begun.get(process)
        return None if record is None else record == (lease_id, number)

    async def close(self) -> None:
        """Watches no more. The workers go on."""
        loop = asyncio.get_running_loop()
        for reaping in self._reaping:
            reaping.cancel()
        if self._reaping:
            await asyncio.wait(self._reaping)
        for pidfd in self._pidfds.values():
            loop.remove_reader(pidfd)
            os.close(pidfd)
        self._pidfds.clear()


def end_group(process: OsProcess) -> None:
    """Kills what is left of a worker's process group: the children of a proc that died. Nothing happens for a worker
    that lives, whose group may run another proc by now, and on any machine but its own."""
    if not process.is_gone():
        return
    # No process gets the number while there is one left in the group. If somebody has it, it is not the worker (a
    # zombie apart) and the group, too, is another's.
    holder = OsProcess.of(process.pid)
    if holder is not None and holder != process:
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
