"""The event loop behind the blocking faces: one daemon thread per process, shared by all clients, kept warm.

A worker runs many procs, each with its client; the thread and its gRPC channels serve them all.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from _thread import allocate_lock
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from sigmaos_ray import config, serr
from sigmaos_ray.sessp.channel import FORKED, close_channels

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Callable, Coroutine

T = TypeVar("T")


class Call(Generic[T]):
    """A coroutine that runs on a loop, and the thread that waits for it.

    ``asyncio.run_coroutine_threadsafe`` gives the same; its chain of futures costs a blocking call about a third of
    what crossing two threads costs at all.
    """

    __slots__ = ("_began", "_callbacks", "_coroutine", "_done", "_error", "_lock", "_loop", "_task", "_value")

    def __init__(self, loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T]) -> None:
        self._loop = loop
        self._coroutine = coroutine
        self._began = False
        self._task: asyncio.Task[None] | None = None
        self._value: T | None = None
        self._error: BaseException | None = None
        self._done = allocate_lock()  # a gate rather than a lock: profiles of lock contention leave it out
        """Held until the result is there."""
        self._done.acquire()
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], None]] | None = []
        """None once it is done."""
        loop.call_soon_threadsafe(self._start)

    def _start(self) -> None:
        self._task = self._loop.create_task(self._run())

    async def _run(self) -> None:
        self._began = True
        try:
            self._value = await self._coroutine
        except BaseException as error:  # noqa: BLE001  # whatever it is, it is for the thread that waits
            self._error = error
        self._finish()

    def _finish(self) -> None:
        with self._lock:
            callbacks, self._callbacks = self._callbacks or [], None
        self._done.release()
        # Outside of the lock: a callback may add another one, which would wait for it for ever.
        for callback in callbacks:
            callback()

    def done(self) -> bool:
        """True once ``result`` returns at once."""
        return self._callbacks is None

    def succeeded(self) -> bool:
        """True if it is done, and raised nothing."""
        return self.done() and self._error is None

    def wait(self, timeout_s: float | None = None) -> bool:
        """Blocks until the result is there, or the time is over; tells which."""
        if not self._done.acquire(timeout=-1 if timeout_s is None else timeout_s):
            return False
        self._done.release()
        return True

    def result(self) -> T:
        """Blocks for what the coroutine returns or raises."""
        self.wait()
        if self._error is not None:
            try:
                # The error's traceback holds this frame, and by it the call: unless the call lets go of the error, that
                # is a circle.
                raise self._error
            finally:
                self._error = None
        return cast("T", self._value)

    def add_done_callback(self, callback: Callable[[], None]) -> None:
        """Runs it once the result is there: on the loop, or here and now."""
        with self._lock:
            if self._callbacks is not None:
                self._callbacks.append(callback)
                return
        callback()

    def cancel(self) -> None:
        """Cancels the coroutine, from any thread; a result that is there already stays."""
        self._loop.call_soon_threadsafe(self._cancel)

    def _cancel(self) -> None:
        if self._task is None or self.done():
            return
        self._task.cancel()
        if not self._began:  # then nothing of it runs any more, and nobody else would tell
            self._coroutine.close()
            self._error = asyncio.CancelledError()
            self._finish()


class LoopThread:
    """A thread that runs one event loop until ``stop``."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.os_pid = os.getpid()
        # A daemon: a program that forgets its client ends all the same, and ``atexit`` still closes the channels.
        self._thread = threading.Thread(target=self._main, name="sigmaos-loop", daemon=True)
        self._thread.start()

    def _main(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def run(self, coroutine: Coroutine[Any, Any, T], wait: Callable[[Call[T]], T] | None = None) -> T:
        """Runs a coroutine on the loop and blocks for its result, through ``wait`` if there is one. A
        KeyboardInterrupt here cancels it there, and blocks for what it ends then, which it began; a second one does
        not. Unreachable in a forked child, which the thread has not come along to."""
        if self.is_forked:
            coroutine.close()
            raise serr.Unreachable("name", FORKED)
        # It would wait for itself, for ever.
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise RuntimeError("a blocking client call on the client's own loop: use AsyncSigmaClnt there")
        call = Call(self.loop, coroutine)
        try:
            return call.result() if wait is None else wait(call)
        except BaseException:
            if not call.done():
                call.cancel()
                # Whoever is interrupted closes the client next, without which nothing could be ended any more.
                call.wait(config.current().procs.interrupt_s)
            raise

    @property
    def is_forked(self) -> bool:
        """True in a child of the process whose thread this is."""
        return self.os_pid != os.getpid()

    def start(self, coroutine: Coroutine[Any, Any, T]) -> Call[T]:
        """Runs a coroutine on the loop; whoever gets the call cancels it, or waits for its end."""
        return Call(self.loop, coroutine)

    def future(self, coroutine: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Runs a coroutine on the loop, for those who wait by ``concurrent.futures``. Whoever gets the future cancels
        it, or waits for its end. Unreachable as in ``run``."""
        if self.is_forked:
            coroutine.close()
            raise serr.Unreachable("name", FORKED)
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def stop(self) -> None:
        """Closes the channels and ends the thread. May be repeated."""
        if not self._thread.is_alive():
            return
        # Bounded: at the end of a process a channel that does not close must not keep it.
        Call(self.loop, close_channels()).wait(timeout_s=2)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(timeout=2)


_lock = threading.Lock()
_shared: LoopThread | None = None


def shared() -> LoopThread:
    """The process's loop thread, started when it is first needed; a forked child starts its own."""
    global _shared
    with _lock:
        # A fork takes no thread along but its own: on the parent's loop a call would wait for ever.
        if _shared is None or _shared.is_forked:
            _shared = LoopThread()
        return _shared


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()  # whoever held the old one is not here


os.register_at_fork(after_in_child=_after_fork)


def _stop_shared() -> None:
    if _shared is not None and not _shared.is_forked:
        _shared.stop()


atexit.register(_stop_shared)
