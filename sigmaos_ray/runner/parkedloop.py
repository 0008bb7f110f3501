"""Event loops that give their proc's core back while it waits for other procs, as the blocking faces do.

Ray takes a core back from a task whose main thread is in ``ray.get``. A program's own loop runs on that thread: when
it has nothing to do but to wait, a helper thread waits for its events instead, and the main thread parks.
"""

from __future__ import annotations

import asyncio
import os
import selectors
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeAlias

from sigmaos_ray import config
from sigmaos_ray.procclnt import parking

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

Events: TypeAlias = list[tuple[selectors.SelectorKey, int]]


class ParkingSelector(selectors.EpollSelector):
    """Waits as its base does; parks when that takes long and the proc waits for another one. One thread uses it."""

    def __init__(self) -> None:
        super().__init__()
        self._helper: ThreadPoolExecutor | None = None
        self._stop = -1
        """An eventfd that ends the helper's wait."""

    def select(self, timeout: float | None = None) -> Events:
        first_s = config.current().procs.wait_rpc_s
        held = parking.installed()
        # Only while a coroutine waits for another proc: what waits for a timer or a peer of its own keeps its core.
        if held is None or not parking.waits_count() or (timeout is not None and timeout <= first_s):
            return super().select(timeout)
        events = super().select(first_s)
        return events or self._parked(held, None if timeout is None else timeout - first_s)

    def _parked(self, held: parking.Parking, timeout_s: float | None) -> Events:
        if self._helper is None:
            self._helper = ThreadPoolExecutor(1, thread_name_prefix="sigmaos-select")
            self._stop = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            self.register(self._stop, selectors.EVENT_READ)
        waiting = self._helper.submit(self._wait, timeout_s)
        try:
            held.park(_Waiting(waiting))
            events = waiting.result()
        except BaseException:  # a signal's handler raised
            # Two threads must never wait on one selector: the helper is out of it before the loop goes on.
            os.eventfd_write(self._stop, 1)
            waiting.exception()
            os.eventfd_read(self._stop)
            raise
        return [event for event in events if event[0].fd != self._stop]

    def _wait(self, timeout_s: float | None) -> Events:
        """Waits in the helper's thread, for the whole time: a signal may end one wait of the system's early."""
        ends_s = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left_s = None if ends_s is None else ends_s - time.monotonic()
            if left_s is not None and left_s <= 0:
                return []
            if events := super().select(left_s):
                return events

    def close(self) -> None:
        if self._helper is not None:
            self._helper.shutdown()
            self.unregister(self._stop)
            os.close(self._stop)
            self._helper = None
        super().close()


class _Waiting:
    """A future, as ``Parking`` wants it."""

    def __init__(self, future: Future[Events]) -> None:
        self._future = future

    def add_done_callback(self, callback: Callable[[], None]) -> None:
        self._future.add_done_callback(lambda _: callback())


class _Policy(asyncio.DefaultEventLoopPolicy):
    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        # Ray lends out the core of a task whose main thread waits: loops of other threads have nothing to give back.
        if threading.current_thread() is threading.main_thread():
            return asyncio.SelectorEventLoop(ParkingSelector())
        return super().new_event_loop()


def install() -> None:
    """From now on the loops that programs make on this process's main thread park."""
    asyncio.set_event_loop_policy(_Policy())
