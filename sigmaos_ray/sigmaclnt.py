"""SigmaClnt: files and procs of SigmaOS for one client, blocking or asyncio, with the same names.

``AsyncSigmaClnt`` does the work on the loop that it was made on; ``SigmaClnt`` is a thin face that runs it on the
process's loop thread. Inside a proc both find their instance in the proc's environment; outside, in the state file of
the running instance, or in ``SIGMAOS_NAMED``.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any, Self, TypeVar

from sigmaos_ray import loopthread, serr
from sigmaos_ray.blocking import FsLib
from sigmaos_ray.fslib import AsyncFsLib
from sigmaos_ray.instance import PROC_ENV_VARIABLE, find_proc_env
from sigmaos_ray.leaseclnt import AsyncLeaseClnt
from sigmaos_ray.procclnt import AsyncProcClnt, parking

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from types import TracebackType

    from sigmaos_ray.config import ProcEnv
    from sigmaos_ray.proc import Proc, Status
    from sigmaos_ray.procclnt import ProcInfo

T = TypeVar("T")


class AsyncSigmaClnt(AsyncFsLib):
    """One client on asyncio. An async context manager; closing it ends its sessions.

    Every coroutine raises ``serr`` errors that carry the pathname. After ``close`` everything is Unreachable.
    """

    def __init__(self, proc_env: ProcEnv | None = None) -> None:
        super().__init__(proc_env or find_proc_env())
        self.leases = AsyncLeaseClnt(self)
        self.procclnt = AsyncProcClnt(self)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends the sessions; leases are left to expire, as a crash would. May be repeated."""
        await self.leases.stop_extending()
        await self.procclnt.close()
        await self.close_fs()

    async def spawn(self, proc: Proc) -> str:
        """Hands a proc to the node's schedd; returns its pid. Queued, not started."""
        return await self.procclnt.spawn(proc)

    async def wait_start(self, pid: str, timeout_s: float | None = None) -> None:
        """Returns when the proc said that it started, or ended before it could. NotFound for an unknown pid."""
        await self.procclnt.wait_start(pid, timeout_s)

    async def wait_exit(self, pid: str, timeout_s: float | None = None, *, peek: bool = False) -> Status:
        """Waits for the end of a proc, and collects its status: a second wait by its parent is NotFound. ``peek``
        looks without collecting."""
        return await self.procclnt.wait_exit(pid, timeout_s, peek=peek)

    async def evict(self, pid: str, grace_s: float | None = None) -> None:
        """Asks a proc to end; with ``grace_s`` it is killed after so long. A queued proc ends evicted."""
        await self.procclnt.evict(pid, grace_s)

    async def started(self) -> None:
        """A proc tells its parent that it runs."""
        await self.procclnt.started()

    async def exited(self, status: Status) -> None:
        """A proc reports its status; the first report counts. Afterwards it cannot spawn."""
        await self.procclnt.exited(status)

    async def wait_evict(self, timeout_s: float | None = None) -> None:
        """A proc waits until it is asked to end."""
        await self.procclnt.wait_evict(timeout_s)

    async def clnt_exit(self, status: Status) -> None:
        """Reports the status, ends leases, closes sessions (X: ClntExit)."""
        await self.procclnt.exited(status)
        await self.leases.end_leases()
        await self.close()

    async def clnt_exit_ok(self) -> None:
        """``clnt_exit`` with OK."""
        await self.procclnt.exited_ok()
        await self.leases.end_leases()
        await self.close()

    async def procs(self) -> list[ProcInfo]:
        """What every schedd of the realm has: queued, running, and ended procs that nobody collected."""
        return await self.procclnt.procs()


class _Core:
    """An asynchronous client on the loop thread, and how many blocking faces share it."""

    def __init__(self, proc_env: ProcEnv) -> None:
        self.loop = loopthread.shared()
        self.clnt = AsyncSigmaClnt(proc_env)
        self.faces_count = 0

    def close(self) -> None:
        self.loop.run(self.clnt.close())


class _Cores:
    """The clients of this process. Inside a proc all ``SigmaClnt()`` objects share one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_pid: dict[str, _Core] = {}
        self._all: set[_Core] = set()

    def acquire(self, proc_env: ProcEnv | None) -> _Core:
        env = proc_env or find_proc_env()
        shared = proc_env is None and PROC_ENV_VARIABLE in os.environ
        with self._lock:
            core = self._by_pid.get(env.pid) if shared else None
            if core is None:
                core = _Core(env)
                self._all.add(core)
                if shared:
                    self._by_pid[env.pid] = core
            core.faces_count += 1
            return core

    def release(self, core: _Core) -> None:
        """One face less; the last one closes the client."""
        with self._lock:
            core.faces_count -= 1
            if core.faces_count > 0 or core not in self._all:
                return
            self._forget(core)
        core.close()

    def _forget(self, core: _Core) -> None:
        self._all.discard(core)
        pid = core.clnt.pid
        if self._by_pid.get(pid) is core:
            del self._by_pid[pid]

    def close_all(self) -> None:
        with self._lock:
            cores = list(self._all)
            for core in cores:
                self._forget(core)
        for core in cores:
            core.close()


_cores = _Cores()


def close_all() -> None:
    """Closes every blocking client of this process: what a program forgot, its runner closes."""
    _cores.close_all()


class SigmaClnt(FsLib):
    """One client, blocking; may be shared by threads. A context manager; closing the last one of a proc ends its
    sessions. All calls are those of ``AsyncSigmaClnt``, where they are described."""

    def __init__(self, proc_env: ProcEnv | None = None) -> None:
        self._core = _cores.acquire(proc_env)
        self._clnt: AsyncSigmaClnt = self._core.clnt
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the client's sessions, unless another object of the same proc still uses them. May be repeated."""
        if not self._closed:
            self._closed = True
            _cores.release(self._core)

    @property
    def asynchronous(self) -> AsyncSigmaClnt:
        """The client beneath, which lives on the loop thread; for faces such as ``RPCClnt``."""
        return self._clnt

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine on the client's loop and blocks for its result."""
        if self._closed:
            coroutine.close()
            raise serr.Unreachable(self._clnt.pid, "the client is closed")
        return self._core.loop.run(coroutine, parking.result)

    @property
    def pid(self) -> str:
        return self._clnt.pid

    @property
    def realm(self) -> str:
        return self._clnt.realm

    @property
    def kernel_id(self) -> str:
        return self._clnt.kernel_id

    @property
    def is_closed(self) -> bool:
        return self._closed or self._clnt.is_closed

    @property
    def proc_env(self) -> ProcEnv:
        return self._clnt.proc_env

    def stats(self) -> dict[str, dict[str, int]]:
        return self._clnt.stats()

    # -- procs

    def spawn(self, proc: Proc) -> str:
        return self.run(self._clnt.spawn(proc))

    def wait_start(self, pid: str, timeout_s: float | None = None) -> None:
        self.run(self._clnt.wait_start(pid, timeout_s))

    def wait_exit(self, pid: str, timeout_s: float | None = None, *, peek: bool = False) -> Status:
        return self.run(self._clnt.wait_exit(pid, timeout_s, peek=peek))

    def evict(self, pid: str, grace_s: float | None = None) -> None:
        self.run(self._clnt.evict(pid, grace_s))

    def started(self) -> None:
        self.run(self._clnt.started())

    def exited(self, status: Status) -> None:
        self.run(self._clnt.exited(status))

    def wait_evict(self, timeout_s: float | None = None) -> None:
        self.run(self._clnt.wait_evict(timeout_s))

    def clnt_exit(self, status: Status) -> None:
        self.run(self._clnt.clnt_exit(status))

    def clnt_exit_ok(self) -> None:
        self.run(self._clnt.clnt_exit_ok())

    def procs(self) -> list[ProcInfo]:
        return self.run(self._clnt.procs())
