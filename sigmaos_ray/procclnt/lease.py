"""What a proc's own process says to the lease that runs it, and hears of it, over the socket between the two.

The process sends ``ProcWord``s, each behind its size, which nobody answers. What it hears is one byte that it never
reads: a socket with something to read, its end included, says that the proc is evicted, to any number of those who
wait, in whichever thread, loop or forked child. So none of this needs a session, a thread or a loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import math
import os
import select
import socket
import threading
import time
from typing import TYPE_CHECKING, Final, Protocol

from sigmaos_ray import config, debug, serr
from sigmaos_ray.deadlines import within
from sigmaos_ray.pb import proc_pb2 as pb
from sigmaos_ray.sessp import plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sigmaos_ray.proc import Status, Tpid

_log = debug.selector("PROCCLNT")

STARTED: Final = pb.ProcWord(started=True)
_WAITS: Final = pb.ProcWord(waits=True)
_WAITS_NO_MORE: Final = pb.ProcWord(waits=False)
_POLL_MS_MAX: Final = (1 << 31) - 1
"""The system takes no more at a time."""
_NOT_EVICTED: Final = "not evicted"


class ProcLease:
    """This process's proc, as its lease knows it. May be used by any number of threads, loops and forked children;
    whoever made the socket closes it. Errors are Unreachable: the lease is gone, and will have this process killed."""

    def __init__(self, pid: Tpid, sock: socket.socket) -> None:
        """``sock``: blocking; it is only written to."""
        self.pid = pid
        self._socket = sock
        self._forget_threads()

    def _forget_threads(self) -> None:
        # May be taken again by a signal's handler, which runs in whatever the thread does.
        self._sending = threading.RLock()
        self._waits: set[object] = set()
        self._tells_waits = False

    def forked(self) -> None:
        """This process is a forked child: the waits and threads of its parent are not its own."""
        self._forget_threads()

    # -- what it says

    def send(self, word: pb.ProcWord) -> None:
        """Sends one word, whole."""
        data = plain.message(word.SerializeToString())
        with self._sending:
            try:
                # Forked children write to the same socket, and the system divides what is long. A process keeps this
                # lock against others, and a fork does not hand it on.
                fcntl.lockf(self._socket, fcntl.LOCK_EX)
                try:
                    self._socket.sendall(data, socket.MSG_NOSIGNAL)
                finally:
                    fcntl.lockf(self._socket, fcntl.LOCK_UN)
            except OSError as error:
                raise serr.Unreachable(self.pid, f"its lease is gone: {error.strerror or error}") from error

    def started(self) -> None:
        """The proc says that it runs."""
        self.send(STARTED)

    def reported(self, status: Status) -> None:
        """The proc says how it ends; of several reports the first counts (X-27). Inval for data that is not
        JSON-like."""
        self.send(pb.ProcWord(reported=status.to_pb()))

    # -- waits for other procs

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Around what waits for another proc, in a coroutine. The lease is told that the proc waits once a wait has
        taken longer than ``Procs.wait_rpc_s``, and that it waits no more when none is left in this process. Each
        process of a proc tells of its own."""
        timer = asyncio.get_running_loop().call_later(config.current().procs.wait_rpc_s, self._tell_waits)
        try:
            with self._counted():
                yield
        finally:
            timer.cancel()

    @contextlib.contextmanager
    def _counted(self) -> Iterator[None]:
        wait = object()
        with self._sending:
            self._waits.add(wait)
        try:
            yield
        finally:
            with self._sending:
                self._waits.discard(wait)
                if self._tells_waits and not self._waits:
                    self._tells_waits = False
                    self._tell(_WAITS_NO_MORE)

    def _tell_waits(self) -> None:
        with self._sending:
            if self._waits and not self._tells_waits:
                self._tells_waits = True
                self._tell(_WAITS)

    def _tell(self, word: pb.ProcWord) -> None:
        try:
            self.send(word)
        except serr.Unreachable as error:  # whoever waits need not know: this process is about to be killed
            _log(f"{error}")

    # -- eviction

    def wait_evict(self, timeout_s: float | None = None) -> None:
        """Blocks the calling thread until the proc is asked to end; returns at once if it was. Timeout, 0 looks once.
        A signal's handler that raises ends the wait."""
        now_s = time.monotonic()
        ends_s = math.inf if timeout_s is None else now_s + timeout_s
        with self._counted():
            if self._is_evicted_by(min(ends_s, now_s + config.current().procs.wait_rpc_s)):
                return
            if time.monotonic() < ends_s:
                self._tell_waits()
                if self._is_evicted_by(ends_s):
                    return
        raise serr.Timeout(self.pid, f"{_NOT_EVICTED} in {round(timeout_s or 0.0, 3):g} s")

    def _is_evicted_by(self, ends_s: float) -> bool:
        """Blocks until then at most."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        while not poll.poll(min(max(ends_s - time.monotonic(), 0.0) * 1000, _POLL_MS_MAX)):
            if time.monotonic() >= ends_s:
                return False
        return True

    async def wait_evict_async(self, timeout_s: float | None = None) -> None:
        """Like ``wait_evict``, on the running loop, whichever that is."""
        if self._is_evicted_by(0.0):
            return
        with self.waiting():
            async with within(timeout_s, self.pid, _NOT_EVICTED):
                await self._readable()

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        readable: asyncio.Future[None] = loop.create_future()

        def tell() -> None:
            if not readable.done():
                readable.set_result(None)

        # A descriptor for each who waits: a loop has one callback for each.
        with select.epoll(1) as looked_at:
            looked_at.register(self._socket, select.EPOLLIN)
            loop.add_reader(looked_at.fileno(), tell)
            try:
                await readable
            finally:
                loop.remove_reader(looked_at.fileno())


class ProcHost(Protocol):
    """What runs a proc in a process that is not the proc's own, and hears there what it says of itself."""

    pid: Tpid

    def send(self, word: pb.ProcWord) -> None:
        """Takes a word. From any thread; does not block."""


class _Hosted:
    """A host, in the process that it is of: what it runs may fork, and the child speaks for itself."""

    def __init__(self, host: ProcHost) -> None:
        self.host = host
        self.os_pid = os.getpid()


_hosted: _Hosted | None = None


def install_host(host: ProcHost | None) -> None:
    """Says what runs a proc in this process; None: nothing."""
    global _hosted
    _hosted = None if host is None else _Hosted(host)


def hearer_of(pid: Tpid) -> ProcLease | ProcHost | None:
    """Who hears in this process what a proc says of itself; None: its schedd has to be told."""
    if _installed is not None:
        return _installed if _installed.pid == pid else None
    hosted = _hosted
    if hosted is None or hosted.host.pid != pid or hosted.os_pid != os.getpid():
        return None
    return hosted.host


_installed: ProcLease | None = None


def install(lease: ProcLease | None) -> None:
    """Says that this process is that of the lease's proc; None: of none. Its forked children are, too."""
    global _installed
    _installed = lease


def installed() -> ProcLease | None:
    """The lease of the proc whose process this is; None in any other process."""
    return _installed


def _after_fork() -> None:
    if _installed is not None:
        _installed.forked()


os.register_at_fork(after_in_child=_after_fork)
