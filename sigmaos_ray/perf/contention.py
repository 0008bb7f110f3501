"""Where threads and tasks wait for locks that others hold.

While ``Contention`` is on, locks that are made by ``threading.Lock`` and ``RLock`` time those who find them taken, and
so do all locks of asyncio. A lock that nobody holds costs one more call. A lock of threads that was made before is not
timed: begin early. Those made meanwhile cannot be changed back; afterwards they go on as plain ones.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from _thread import allocate_lock
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from sigmaos_ray.perf.profile import Profile, frame_label

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

_DEPTH_MAX: Final = 128
# A wait is the matter of whoever takes the lock: frames of the locks' own code would all look alike.
_OWN: Final = (__file__, threading.__file__)

# As they are at import: timed locks are made of them, and ``stop`` puts them back.
_plain_lock: Final = threading.Lock
_plain_rlock: Final = threading.RLock
_plain_acquire: Final = asyncio.Lock.acquire


class Contention:
    """Records between ``start`` and ``stop``, into ``profile``; one at a time in a process (RuntimeError for a second).
    Whoever starts it stops it: it replaces functions of ``threading`` and ``asyncio``."""

    def __init__(self) -> None:
        self.profile = Profile()
        self._adding = allocate_lock()  # one that is never timed itself

    def start(self) -> None:
        global _current
        if _current is not None:
            raise RuntimeError("lock contention is being recorded already")
        _current = self
        threading.Lock = _TimedLock  # type: ignore[assignment]
        threading.RLock = _TimedRLock  # type: ignore[assignment]
        asyncio.Lock.acquire = _acquire_timed  # type: ignore[method-assign]

    def stop(self) -> None:
        """May be repeated."""
        global _current
        if _current is not self:
            return
        _current = None
        threading.Lock = _plain_lock
        threading.RLock = _plain_rlock
        asyncio.Lock.acquire = _plain_acquire  # type: ignore[method-assign]

    def add(self, waited_s: float, frame: FrameType | None) -> None:
        """Counts a wait for the stack that ends at a frame, without the frames of locks. From any thread."""
        stack: list[str] = []
        while frame is not None and len(stack) < _DEPTH_MAX:
            code = frame.f_code
            if stack or code.co_filename not in _OWN:
                stack.append(frame_label(code.co_qualname, code.co_filename, frame.f_lineno or 0))
            frame = frame.f_back
        stack.reverse()
        with self._adding:
            self.profile.add(stack, round(waited_s * 1e6))


_current: Contention | None = None


def _wait_begins() -> float:
    """Somebody is about to wait for a lock. Hand the result to ``_wait_ends``."""
    return time.perf_counter() if _current is not None else 0.0


def _wait_ends(began_s: float) -> None:
    """The wait is over; it counts for the stack of whoever calls this. ``began_s`` 0: nothing was recorded then."""
    recording = _current
    if began_s and recording is not None:
        recording.add(time.perf_counter() - began_s, sys._getframe(1))


class _TimedLock:
    """A lock of ``threading``'s kind, with its whole interface."""

    _make: Callable[[], Any] = staticmethod(_plain_lock)

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = self._make()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        lock = self._lock
        if lock.acquire(False):
            return True
        if not blocking:
            if timeout != -1:
                raise ValueError("can't specify a timeout for a non-blocking call")
            return False
        began_s = _wait_begins()
        try:
            is_acquired: bool = lock.acquire(True, timeout)
            return is_acquired
        finally:
            _wait_ends(began_s)

    def release(self) -> None:
        self._lock.release()

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> Literal[False]:
        self._lock.release()
        return False

    def __getattr__(self, name: str) -> Any:
        # ``locked``, and what Condition asks a lock for where it has it.
        return getattr(self._lock, name)

    def __repr__(self) -> str:
        return f"<timed {self._lock!r}>"


class _TimedRLock(_TimedLock):
    """The same for ``threading.RLock``: whoever holds it already finds it free."""

    _make = staticmethod(_plain_rlock)

    __slots__ = ()


async def _acquire_timed(self: asyncio.Lock) -> Literal[True]:
    began_s = _wait_begins() if self.locked() else 0.0
    try:
        return await _plain_acquire(self)
    finally:
        _wait_ends(began_s)
