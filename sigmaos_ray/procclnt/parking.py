"""Giving a core back while a proc waits.

A proc that waits for another one must not hold the core which that one needs. A proc in a process of its own tells its
lease that it waits (``lease.ProcLease``), from whichever thread. For one that runs in a Ray worker itself the worker
installs a ``Parking`` here, and blocking faces wait through ``result``.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Protocol, TypeVar

from sigmaos_ray import config
from sigmaos_ray.procclnt.lease import installed as installed_lease

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sigmaos_ray.loopthread import Call

T = TypeVar("T")


class Awaited(Protocol):
    def add_done_callback(self, callback: Callable[[], None]) -> None:
        """Runs it, in any thread, once what is awaited is there."""


class Parking(Protocol):
    def park(self, call: Awaited) -> None:
        """Blocks the calling thread, with the proc's core given back, until the call is done; may return earlier,
        if the core cannot be given back. Called on the main thread of a proc."""


_parking: Parking | None = None
_waits_count = 0
_counting = threading.Lock()


def install(parking: Parking | None) -> None:
    """How this process gives its core back; None: it has none to give."""
    global _parking
    _parking = parking


def installed() -> Parking | None:
    """How this process gives its core back; None if it has none to give."""
    return _parking


@contextlib.contextmanager
def waiting() -> Iterator[None]:
    """Around a wait for another proc, on whichever loop: see ``parkedloop``."""
    lease = installed_lease()
    with _counted() if lease is None else lease.waiting():
        yield


@contextlib.contextmanager
def _counted() -> Iterator[None]:
    global _waits_count
    with _counting:
        _waits_count += 1
    try:
        yield
    finally:
        with _counting:
            _waits_count -= 1


def waits_count() -> int:
    """How many such waits are under way in this process."""
    return _waits_count


def result(call: Call[T]) -> T:
    """``call.result()``. On the main thread of a proc the core is given back if it takes long."""
    parking = _parking
    # Ray lends out a task's core while its main thread waits in Ray, and takes no notice of other threads.
    if parking is None or threading.current_thread() is not threading.main_thread():
        return call.result()
    # Most waits are short, and to park costs two messages to the schedd.
    if not call.wait(config.current().procs.wait_rpc_s):
        parking.park(call)
    return call.result()
