"""Giving a core back while a proc waits.

A proc that waits for another one must not hold the core which that one needs. What gives a core back is known to the
runner's host alone, a Ray worker: it installs a ``Parking`` here. Blocking faces wait through ``result``.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from sigmaos_ray import config

if TYPE_CHECKING:
    from sigmaos_ray.loopthread import Call

T = TypeVar("T")


class Parking(Protocol):
    def park(self, call: Call[Any]) -> None:
        """Blocks the calling thread, with the proc's core given back, until the call is done; may return earlier,
        if the core cannot be given back. Called on the main thread of a proc."""


_parking: Parking | None = None


def install(parking: Parking | None) -> None:
    """How this process gives its core back; None: it has none to give."""
    global _parking
    _parking = parking


def result(call: Call[T]) -> T:
    """``call.result()``. On the main thread of a proc the core is given back if it takes long."""
    parking = _parking
    if parking is None or threading.current_thread() is not threading.main_thread():
        return call.result()
    if not call.wait(config.current().procs.wait_rpc_s):
        parking.park(call)
    return call.result()
