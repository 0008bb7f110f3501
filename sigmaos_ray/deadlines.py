"""Time-outs of calls: made where the user calls, they bound all that is done below.

A deadline travels down as asyncio's cancellation: whatever waits below is cancelled once the time is over. That ends
the call in time only if nothing on the way up waits for a server again, so what is to be cleaned up goes on behind the
caller (``fslib.behind``, ``RemoteFid.free``). asyncio's own ``TimeoutError`` says neither of what nor how long;
``serr.Timeout`` says both.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeVar

from sigmaos_ray import serr

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator
    from types import TracebackType
    from typing import Any

T = TypeVar("T")


def is_cancelled() -> bool:
    """True while the running task is being cancelled, by a time-out or otherwise: it is to wait for no server."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


_ends_s: ContextVar[float | None] = ContextVar("ends_s", default=None)
"""For a thread: when what it does now is to be over."""


@contextlib.contextmanager
def ending_within(timeout_s: float | None) -> Iterator[None]:
    """In the block, each blocking call of this thread ends by ``serr.Timeout`` once the time is over. None, and 0,
    which is to look once, leave the calls as they are."""
    token = _ends_s.set(time.monotonic() + timeout_s) if timeout_s else None
    try:
        yield
    finally:
        if token is not None:
            _ends_s.reset(token)


def has_deadline() -> bool:
    """True within ``ending_within``."""
    return _ends_s.get() is not None


def bounded(coroutine: Coroutine[Any, Any, T]) -> Coroutine[Any, Any, T]:
    """The call of a thread within what is left of its time."""
    ends_s = _ends_s.get()
    return coroutine if ends_s is None else _until(ends_s, coroutine)


async def _until(ends_s: float, coroutine: Coroutine[Any, Any, T]) -> T:
    async with within(max(ends_s - time.monotonic(), 0.0), "call", "not done"):
        return await coroutine


class within:  # reads as a statement: async with within(2.0, pathname, "no reply")
    """Ends its block by ``serr.Timeout`` of ``obj`` once ``timeout_s`` is over; None waits for ever.

    What the block raises by itself passes as it is, also a Timeout or ``TimeoutError`` of its own: that one is about
    something else."""

    __slots__ = ("_obj", "_timeout", "_timeout_s", "_why")

    def __init__(self, timeout_s: float | None, obj: str, why: str = "not done", taken_s: float = 0.0) -> None:
        """``taken_s``: how much of the caller's time was over before, for what the error says."""
        self._timeout = asyncio.timeout(timeout_s)
        self._timeout_s = None if timeout_s is None else timeout_s + taken_s
        self._obj = obj
        self._why = why

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self._timeout.__aexit__(kind, error, traceback)
        except TimeoutError as expired:  # raised here alone, where the time-out itself ended the block
            raise serr.Timeout(self._obj, f"{self._why} in {round(self._timeout_s or 0.0, 3):g} s") from expired
