"""What goes on behind its caller: a call whose time is over waits for no server, and yet leaves nothing behind."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sigmaos_ray import debug, serr
from sigmaos_ray.deadlines import is_cancelled
from sigmaos_ray.fslib.repeats import outermost

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

_log = debug.selector("SESSCLNT")


class Behind:
    """Work of one client that goes on behind its callers. ``close`` it after what the work needs was closed."""

    def __init__(self, held_s: float) -> None:
        """``held_s``: for how long a caller whose time is over is held for it."""
        self._held_s = held_s
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Begins work that nobody need wait for; its ``serr`` errors are told nobody else."""
        # Whatever it is called from: nobody above it repeats it any more.
        task = asyncio.create_task(work, name=name, context=outermost())
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        # Of the server's errors nobody need hear: who waited has it, and who did not is gone. Any other is a mistake.
        tell = _log if isinstance(error, serr.SigmaError) else debug.error
        tell(f"{task.get_name()}: {error!r}")

    async def settle(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Waits for the work and raises its error. Who is being cancelled, or is meanwhile, is held a moment only, so
        that most often all is done when the caller goes on; the rest happens behind it."""
        task = self.start(work, name)
        if is_cancelled():
            await asyncio.wait({task}, timeout=self._held_s)
            return
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if not task.done():
                await asyncio.wait({task}, timeout=self._held_s)
            raise

    async def briefly(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Waits a moment for work that nobody depends on; the rest happens behind the caller."""
        await asyncio.wait({self.start(work, name)}, timeout=self._held_s)

    async def close(self) -> None:
        """Ends what is still under way. May be repeated."""
        while self._tasks:
            tasks = set(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
