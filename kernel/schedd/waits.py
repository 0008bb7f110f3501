"""Who waits for what of which proc. Each wait has a future of its own; one loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sigmaos_ray import serr

if TYPE_CHECKING:
    from kernel.schedd.procstate import ProcState
    from kernel.schedd.state import Signal


class Waits:
    """All waits of one schedd. Used from one loop; ``fail`` ends them."""

    def __init__(self) -> None:
        self._futures: dict[tuple[ProcState, Signal], list[asyncio.Future[None]]] = {}

    async def wait(self, proc: ProcState, signal: Signal, timeout_s: float | None) -> None:
        """Returns when the signal is given. Timeout after ``timeout_s``; 0 does not wait at all."""
        if timeout_s is not None and timeout_s <= 0:
            raise serr.Timeout(proc.pid, f"no {signal.name.lower()} yet")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        waiting = self._futures.setdefault((proc, signal), [])
        waiting.append(future)
        timer = None
        if timeout_s is not None:
            error = serr.Timeout(proc.pid, f"no {signal.name.lower()} within {timeout_s:g} s")
            timer = loop.call_later(timeout_s, _fail, future, error)
        try:
            await future
        finally:
            if timer is not None:
                timer.cancel()
            # The list stays, though it may be empty: a proc's end gives all its signals, and takes the lists with it.
            if future in waiting:  # timed out, or the caller went away
                waiting.remove(future)

    def wake(self, proc: ProcState, signal: Signal) -> None:
        """The signal is given: ends the waits for it."""
        for future in self._futures.pop((proc, signal), ()):
            # It may have timed out, or its caller have gone, in this same turn of the loop.
            if not future.done():
                future.set_result(None)

    def fail(self, error: serr.SigmaError) -> None:
        """Ends every wait with an error: nobody will give its signal."""
        everybody, self._futures = self._futures, {}
        for waiting in everybody.values():
            for future in waiting:
                _fail(future, error)


def _fail(future: asyncio.Future[None], error: serr.SigmaError) -> None:
    if not future.done():
        future.set_exception(error)
