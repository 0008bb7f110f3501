"""Calls that may never return, as any may that asks Ray: made in daemon threads, for which nothing waits at the end.

``asyncio.to_thread`` is not for them: the end of an event loop, and of Python, waits for its threads.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import queue
import threading
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")


def _run(future: concurrent.futures.Future[T], call: Callable[[], T]) -> None:
    try:
        result = call()
    except BaseException as error:  # noqa: BLE001  # whatever it is, it is for who waits
        future.set_exception(error)
    else:
        future.set_result(result)


def started(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> concurrent.futures.Future[T]:
    """Starts the call in a thread of its own."""
    future: concurrent.futures.Future[T] = concurrent.futures.Future()
    work = (future, lambda: call(*args, **kwargs))
    threading.Thread(target=_run, args=work, name=f"aside-{call.__name__}", daemon=True).start()
    return future


async def aside(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What the call returns or raises. Who is cancelled meanwhile goes on at once; the call does, too."""
    # Shielded: a cancelled future would refuse the result that comes later.
    return await asyncio.shield(asyncio.wrap_future(started(call, *args, **kwargs)))


class Lane:
    """One thread that makes calls, one after the other, and lives as long as the process: what a call started, and
    what ends with the thread that started it, stays."""

    def __init__(self, name: str) -> None:
        self._work: queue.SimpleQueue[tuple[concurrent.futures.Future[object], Callable[[], object]]]
        self._work = queue.SimpleQueue()
        threading.Thread(target=self._main, name=name, daemon=True).start()

    def _main(self) -> None:
        while True:
            _run(*self._work.get())

    def call(self, call: Callable[[], None]) -> concurrent.futures.Future[object]:
        """Starts the call once the earlier ones are over."""
        future: concurrent.futures.Future[object] = concurrent.futures.Future()
        self._work.put((future, call))
        return future
