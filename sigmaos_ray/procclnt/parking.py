"""Giving a core back while a proc waits.

A proc that waits for another one must not hold the core which that one needs. What gives a core back is known to the
runner's host alone, a Ray worker: it installs a ``Parking`` here. Blocking faces wait through ``result``.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Protocol, TypeVar

from sigmaos_ray import config

T = TypeVar("T")


class Parking(Protocol):
    def park(self, future: Future[T]) -> None:
        """Blocks the calling thread, with the proc's core given back, until the future is done; may return earlier,
        if the core cannot be given back. Called on the main thread of a proc."""


_parking: Parking | None = None


def install(parking: Parking | None) -> None:
    """How this process gives its core back; None: it has none to give."""
    global _parking
    _parking = parking


def result(future: Future[T]) -> T:
    """``future.result()``. On the main thread of a proc the core is given back if it takes long."""
    parking = _parking
    if parking is None or threading.current_thread() is not threading.main_thread():
        return future.result()
    try:
        return future.result(config.current().procs.wait_rpc_s)
    except FutureTimeoutError:
        if future.done():  # the call's own time-out, not ours
            raise
    parking.park(future)
    return future.result()
