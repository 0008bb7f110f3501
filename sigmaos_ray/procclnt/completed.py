"""The ends of several procs, one after the other as they come."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, TypeAlias

from sigmaos_ray import serr

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sigmaos_ray.pb import proc_pb2 as pb
    from sigmaos_ray.proc import Tpid

    Wait: TypeAlias = asyncio.Task[pb.StatusReply]


class Ends:
    """Of one caller, used from one loop. ``begin(pid)`` gives the wait for a proc's end, which may be others' as well:
    it is left as it is, whatever becomes of this."""

    def __init__(self, pids: Iterable[Tpid], begin: Callable[[Tpid], Wait], at_once_max: int) -> None:
        self._begin = begin
        self._at_once_max = at_once_max
        self._to_begin = deque(dict.fromkeys(pids))
        self._waits: dict[Tpid, Wait] = {}
        self._over: asyncio.Queue[tuple[Tpid, Wait]] = asyncio.Queue()

    def __len__(self) -> int:
        """How many have not been told."""
        return len(self._to_begin) + len(self._waits)

    async def next(self, timeout_s: float | None) -> tuple[Tpid, Wait]:
        """The next that is over, with its wait, which is done. Timeout if none is within the time."""
        self._begin_more()
        try:
            async with asyncio.timeout(timeout_s):
                pid, wait = await self._over.get()
        except TimeoutError:
            raise serr.Timeout(self._first(), f"{len(self)} procs not ended in time") from None
        del self._waits[pid]
        return pid, wait

    def _begin_more(self) -> None:
        while self._to_begin and len(self._waits) < self._at_once_max:
            pid = self._to_begin.popleft()
            wait = self._waits[pid] = self._begin(pid)
            wait.add_done_callback(lambda wait, pid=pid: self._over.put_nowait((pid, wait)))  # type: ignore[misc]

    def _first(self) -> Tpid:
        return next(iter(self._waits), "")
