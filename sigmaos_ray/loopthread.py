"""The event loop behind the blocking faces: one daemon thread per process, shared by all clients, kept warm.

A worker runs many procs, each with its client; the thread and its gRPC channels serve them all.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from sigmaos_ray.sessp.channel import close_channels

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from concurrent.futures import Future

T = TypeVar("T")


class LoopThread:
    """A thread that runs one event loop until ``stop``."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.os_pid = os.getpid()
        self._thread = threading.Thread(target=self._main, name="sigmaos-loop", daemon=True)
        self._thread.start()

    def _main(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def run(self, coroutine: Coroutine[Any, Any, T], wait: Callable[[Future[T]], T] | None = None) -> T:
        """Runs a coroutine on the loop and blocks for its result, through ``wait`` if there is one. A
        KeyboardInterrupt here cancels it there."""
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise RuntimeError("a blocking client call on the client's own loop: use AsyncSigmaClnt there")
        future = asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        try:
            return future.result() if wait is None else wait(future)
        except BaseException:
            future.cancel()
            raise

    def stop(self) -> None:
        """Closes the channels and ends the thread. May be repeated."""
        if not self._thread.is_alive():
            return
        asyncio.run_coroutine_threadsafe(close_channels(), self.loop).result(timeout=2)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(timeout=2)


_lock = threading.Lock()
_shared: LoopThread | None = None


def shared() -> LoopThread:
    """The process's loop thread, started when it is first needed; a forked child starts its own."""
    global _shared
    with _lock:
        if _shared is None or _shared.os_pid != os.getpid():
            _shared = LoopThread()
        return _shared


def _stop_shared() -> None:
    if _shared is not None and _shared.os_pid == os.getpid():
        _shared.stop()


atexit.register(_stop_shared)
