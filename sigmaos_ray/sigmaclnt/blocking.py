"""``SigmaClnt``: a thin face of ``AsyncSigmaClnt``, which runs on the process's loop thread once it needs it."""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar

from sigmaos_ray import loopthread, serr
from sigmaos_ray.blocking.face import can_be_direct
from sigmaos_ray.deadlines import bounded
from sigmaos_ray.instance import PROC_ENV_VARIABLE, find_proc_env
from sigmaos_ray.proc import Status
from sigmaos_ray.procclnt import parking
from sigmaos_ray.procclnt.lease import installed as installed_lease
from sigmaos_ray.procclnt.threads import ThreadCalls
from sigmaos_ray.sessp.aside import Elsewhere, run_direct
from sigmaos_ray.sessp.channel import FORKED
from sigmaos_ray.sigmaclnt.asynchronous import AsyncSigmaClnt, leave
from sigmaos_ray.sigmaclnt.calls import SigmaCalls

if TYPE_CHECKING:
    import asyncio
    import concurrent.futures
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
    from types import TracebackType

    from sigmaos_ray.config import ProcEnv
    from sigmaos_ray.proc import Proc

P = ParamSpec("P")
T = TypeVar("T")


class _Core:
    """An asynchronous client, which lives on the loop thread, and how many blocking faces share it. As long as no call
    needs the loop there is none, nor a thread for it."""

    def __init__(self, proc_env: ProcEnv) -> None:
        self.clnt = AsyncSigmaClnt(proc_env)
        # Most procs are short. A client that stays has its session looked after, which takes a loop.
        if installed_lease() is not None:
            self.clnt.core.fids.loop_keeper = self
        self.faces_count = 0
        self.is_lent = False
        """Somebody has the client beneath, and may use it on the loop without this knowing."""
        self._loop: loopthread.LoopThread | None = None
        self._beginning = threading.RLock()
        """Held while the client begins something, or ends without the loop. May be taken again by a signal's
        handler."""
        self._os_pid: int | None = None
        """Of the process in which something was begun."""

    @property
    def loop(self) -> loopthread.LoopThread:
        """Begins to use the loop, if nothing did yet. Unreachable in a forked child."""
        loop = self._loop
        if loop is None:
            with self._beginning:
                if self.is_forked:
                    raise serr.Unreachable("name", FORKED)
                self._os_pid = os.getpid()
                loop = self._loop = self._loop or loopthread.shared()
        return loop

    @contextlib.contextmanager
    def without_loop(self) -> Iterator[None]:
        """See ``LoopKeeper``."""
        with self._beginning:
            if self._loop is not None or self.is_forked:
                raise Elsewhere
            self._os_pid = os.getpid()
            yield

    def begin_loop(self) -> asyncio.AbstractEventLoop:
        """See ``LoopKeeper``."""
        return self.loop.loop

    @property
    def is_forked(self) -> bool:
        """True in a child of the process in which something was begun: it is that one's."""
        return self._os_pid not in (None, os.getpid())

    def run_last(self, call: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Makes a call that ends the client: in this thread, if nothing of it was on the loop yet."""
        if not self.is_lent:
            with contextlib.suppress(Elsewhere), self.without_loop():
                return run_direct(call(*args, **kwargs))
        return self.loop.run(bounded(call(*args, **kwargs)), parking.result)

    def close(self) -> None:
        if not self.is_forked:  # a parent's is the parent's to close
            self.run_last(self.clnt.close)

    def forked(self) -> bool:
        """In a forked child: whether the client is its own, too: then the parent had begun nothing with it."""
        self._beginning = threading.RLock()
        return not self.is_forked


class _Cores:
    """The clients of this process. Inside a proc all ``SigmaClnt()`` objects share one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_pid: dict[str, _Core] = {}
        self._all: set[_Core] = set()

    def acquire(self, proc_env: ProcEnv | None) -> _Core:
        """A client for one more face: within a proc the one that is there, unless ``proc_env`` asks for another."""
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
        core.close()  # without the lock: it waits for servers

    def _forget(self, core: _Core) -> None:
        self._all.discard(core)
        pid = core.clnt.pid
        if self._by_pid.get(pid) is core:
            del self._by_pid[pid]

    def forked(self) -> _Cores:
        """A child's: it has none of its parent's clients, but for those with which nothing was begun."""
        child = _Cores()
        child._all = {core for core in self._all if core.forked()}
        child._by_pid = {pid: core for pid, core in self._by_pid.items() if core in child._all}
        return child

    def close_all(self) -> None:
        """Whatever still uses them gets Unreachable from now on."""
        with self._lock:
            cores = list(self._all)
            for core in cores:
                self._forget(core)
        for core in cores:
            core.close()


_cores = _Cores()


def _after_fork() -> None:
    global _cores
    _cores = _cores.forked()


os.register_at_fork(after_in_child=_after_fork)


def close_all() -> None:
    """Closes every blocking client of this process: what a program forgot, its runner closes."""
    _cores.close_all()


class SigmaClnt(SigmaCalls):
    """One client, blocking; may be shared by threads. A context manager; closing the last one of a proc ends its
    sessions. All calls are those of ``AsyncSigmaClnt``."""

    def __init__(self, proc_env: ProcEnv | None = None) -> None:
        self._core = _cores.acquire(proc_env)
        self._clnt = self._core.clnt
        self._thread_calls: ThreadCalls | None = None
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

    def clnt_exit(self, status: Status) -> None:
        """Reports the status, ends leases, closes sessions."""
        self.exited(status)
        self._core.run_last(leave, self._clnt)

    def clnt_exit_ok(self) -> None:
        """``clnt_exit`` with OK."""
        self.clnt_exit(Status.ok())

    @property
    def _threads(self) -> ThreadCalls:
        if self._thread_calls is None:
            self._thread_calls = ThreadCalls(self, self._clnt.procclnt)
        return self._thread_calls

    def spawn(self, proc: Proc) -> str:
        """Hands a proc to the schedd of this node; returns its pid. Queued, not started."""
        if can_be_direct() and not self._closed and self._threads.spawn(proc):
            return proc.pid
        return super().spawn(proc)

    def wait_exit(self, pid: str, timeout_s: float | None = None, *, peek: bool = False) -> Status:
        """Waits for the end of a proc, and collects its status: a second wait by its parent is NotFound. ``peek``
        looks without collecting."""
        if not peek and can_be_direct() and not self._closed:
            status = self._threads.wait_exit(pid, timeout_s)
            if status is not None:
                return status
        return super().wait_exit(pid, timeout_s, peek=peek)

    @property
    def asynchronous(self) -> AsyncSigmaClnt:
        """The client beneath, which lives on the loop thread; for faces such as ``RPCClnt``."""
        self._core.is_lent = True
        return self._clnt

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine on the client's loop and blocks for its result."""
        if self._closed:
            coroutine.close()
            raise serr.Unreachable(self._clnt.pid, "the client is closed")
        try:
            loop = self._core.loop
        except serr.Unreachable:
            coroutine.close()
            raise
        return loop.run(bounded(coroutine), parking.result)

    def direct(self, call: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """See ``Face.direct``."""
        self._check_open()
        return super().direct(call, *args, **kwargs)

    def _check_open(self) -> None:
        if self._closed:
            raise serr.Unreachable(self._clnt.pid, "the client is closed")

    def as_completed(self, pids: Iterable[str], timeout_s: float | None = None) -> Iterator[tuple[str, Status]]:
        """Pids and statuses of procs as they end, each pid once: ``for pid, status in sc.as_completed(pids)``. What is
        told is collected, the rest is left. Timeout ``timeout_s`` after this call, if some have not ended."""
        # Both before the first one is asked for: what blocks, if the pids are made on the way, and the time begins.
        return self._each(self._clnt.as_completed(list(pids), timeout_s))

    def _each(self, ends: AsyncIterator[tuple[str, Status]]) -> Iterator[tuple[str, Status]]:
        while (end := self.run(_next_end(ends))) is not None:
            yield end

    def wait_exit_chan(self, pid: str = "") -> concurrent.futures.Future[Status]:
        """A future that gets a proc's status, as ``wait_exit`` returns it. Without a pid it is about this proc: it gets
        ``Status.evicted()`` once the proc is asked to end. Cancelled when the client is closed."""
        self._check_open()
        return self._core.loop.future(_result_of(self._clnt, pid))

    @property
    def is_closed(self) -> bool:
        """True once this object or the client beneath was closed: every call fails."""
        return self._closed or self._clnt.is_closed


async def _next_end(ends: AsyncIterator[tuple[str, Status]]) -> tuple[str, Status] | None:
    return await anext(ends, None)


async def _result_of(clnt: AsyncSigmaClnt, pid: str) -> Status:
    return await clnt.wait_exit_chan(pid)
