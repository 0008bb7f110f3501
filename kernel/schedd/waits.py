"""Who waits for what of which proc. A wait is a future; one loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sigmaos_ray import serr

if TYPE_CHECKING:
    from kernel.schedd.state import ProcState, Signal


class Waits:
    def __init__(self) -> None:
        self._futures: dict[tuple[ProcState, Signal], asyncio.Future[None]] = {}

    async def wait(self, proc: ProcState, signal: Signal, timeout_s: float | None) -> None:
        """Returns when the signal is given. Timeout after ``timeout_s``; 0 does not wait at all."""
        if timeout_s is not None and timeout_s <= 0:
            raise serr.Timeout(proc.pid, f"no {signal.name.lower()} yet")
        key = (proc, signal)
        future = self._futures.get(key)
        if future is None:
            future = self._futures[key] = asyncio.get_running_loop().create_future()
        done, _ = await asyncio.wait({future}, timeout=timeout_s)
        if not done:
            raise serr.Timeout(proc.pid, f"no {signal.name.lower()} within {timeout_s} s")
        future.result()

    def wake(self, proc: ProcState, signal: Signal) -> None:
        future = self._futures.pop((proc, signal), None)
        if future is not None and not future.done():
            future.set_result(None)

    def fail(self, error: serr.SigmaError) -> None:
        """Ends every wait with an error: nobody will give its signal."""
        futures, self._futures = self._futures, {}
        for future in futures.values():
            if not future.done():
                future.set_exception(error)
                future.exception()  # those who still wait see it; if nobody does, that is no news
