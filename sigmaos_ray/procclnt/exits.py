"""How a client's procs ended: waits that begin together with the spawn, and statuses that are given back in batches.

A wait that begins ahead only looks: the status stays with the schedd, for others to see, until ``wait_exit`` takes it
here. Then the schedd is told to forget it, a moment later and together with others.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from sigmaos_ray import debug, serr

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from sigmaos_ray.config import Procs
    from sigmaos_ray.pb import proc_pb2 as pb
    from sigmaos_ray.proc import Tpid

_log = debug.selector("PROCCLNT")


class Exits:
    """Waits under way. One that its caller gave up stays here, so that the status it collects is not lost. Used from
    one loop; ``close`` ends all."""

    def __init__(self, limits: Procs) -> None:
        self._waits: dict[Tpid, asyncio.Task[pb.StatusReply]] = {}
        self._ahead: set[Tpid] = set()
        self._ahead_max = limits.exits_ahead_max

    def expect(self, pid: Tpid, looking: Callable[[], Coroutine[None, None, pb.StatusReply]]) -> None:
        """Begins to look for the end of a proc that is about to be spawned, if there are not too many of them."""
        if len(self._ahead) < self._ahead_max and pid not in self._waits:
            self._ahead.add(pid)
            self._begin(pid, looking())

    def unexpect(self, pid: Tpid) -> None:
        """Gives up a wait that ``expect`` began: the proc was not spawned, or its status was collected otherwise."""
        if pid in self._ahead:
            self._ahead.discard(pid)
            self._waits.pop(pid).cancel()

    async def wait(
        self, pid: Tpid, waiting: Callable[[], Coroutine[None, None, pb.StatusReply]], timeout_s: float | None
    ) -> tuple[pb.StatusReply, bool]:
        """The end of a proc, and whether this is the first to get it. Timeout leaves the wait to the next one."""
        wait = self.under_way(pid, waiting)
        if not wait.done():
            # Not wait_for, which cancels: several callers may share the task, and its status must not get lost.
            await asyncio.wait({wait}, timeout=timeout_s)
        if not wait.done():
            raise serr.Timeout(pid, f"not ended within {timeout_s} s")
        return self.take(pid, wait)

    def under_way(
        self, pid: Tpid, waiting: Callable[[], Coroutine[None, None, pb.StatusReply]]
    ) -> asyncio.Task[pb.StatusReply]:
        """The wait for a proc's end that has begun, or begins here; others may share it, and ``take`` what it gets."""
        wait = self._waits.get(pid)
        # A wait that began with the spawn may have failed before anybody asked, with a session that is there again.
        if wait is None or (pid in self._ahead and _broke(wait)):
            self._ahead.discard(pid)
            wait = self._begin(pid, waiting())
        return wait

    def take(self, pid: Tpid, wait: asyncio.Task[pb.StatusReply]) -> tuple[pb.StatusReply, bool]:
        """What a wait that is over got, and whether this is the first to get it. Unreachable for one that was given
        up."""
        # Several may have waited for this one: only one of them has it collected. Out of the table also if it failed,
        # so that who asks next begins another wait.
        is_first = self._waits.get(pid) is wait
        if is_first:
            del self._waits[pid]
            self._ahead.discard(pid)
        if wait.cancelled():
            raise serr.Unreachable(pid, "the client is closed")
        return wait.result(), is_first

    def _begin(self, pid: Tpid, waiting: Coroutine[None, None, pb.StatusReply]) -> asyncio.Task[pb.StatusReply]:
        wait = self._waits[pid] = asyncio.create_task(waiting, name=f"wait-exit-{pid}")
        wait.add_done_callback(noticed)
        return wait

    async def close(self) -> None:
        """Gives up all waits."""
        waits = [wait for wait in self._waits.values() if not wait.done()]
        self._waits.clear()
        self._ahead.clear()
        for wait in waits:
            wait.cancel()
        if waits:
            await asyncio.wait(waits)


def noticed(wait: asyncio.Future[Any]) -> None:
    """Takes note of an error that no caller waits for any more."""
    if not wait.cancelled():
        wait.exception()


def _broke(wait: asyncio.Task[pb.StatusReply]) -> bool:
    """True for a wait that ended with its session or its schedd, not with the proc: another one is worth a try."""
    return wait.done() and not wait.cancelled() and wait.exception() is not None


class Collector:
    """Tells schedds which statuses were taken. ``tell(kernel, pids)`` sends; its errors are of no consequence, as a
    schedd that is gone has no statuses."""

    def __init__(self, tell: Callable[[str, list[Tpid]], Awaitable[None]], limits: Procs) -> None:
        self._tell = tell
        self._limits = limits
        self._taken: dict[str, list[Tpid]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._telling: dict[asyncio.Task[None], list[Tpid]] = {}
        """What is on its way, and of whom."""
        self._untold: set[Tpid] = set()
        """All of whom schedds may not have heard yet."""

    def taken_by_threads(self, pids: dict[str, list[Tpid]]) -> None:
        """The same, of several."""
        for kernel, those in pids.items():
            for pid in those:
                self.taken(kernel, pid)

    def taken(self, kernel: str, pid: Tpid) -> None:
        """A caller has the status of a proc: its schedd may forget it, soon."""
        self._untold.add(pid)
        self._taken.setdefault(kernel, []).append(pid)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._limits.collect_pause_s, self.soon)

    def soon(self) -> None:
        """Sends without waiting: together with what the caller sends in the same breath."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        taken, self._taken = self._taken, {}
        for kernel, pids in taken.items():
            task = asyncio.create_task(self._send(kernel, pids), name="collect")
            self._telling[task] = pids
            task.add_done_callback(self._told)

    def _told(self, task: asyncio.Task[None]) -> None:
        self._untold.difference_update(self._telling.pop(task))

    def is_untold(self, pid: Tpid) -> bool:
        """Whether the schedd of a proc that was taken may still have it. In any thread."""
        return pid in self._untold

    async def before(self, pid: Tpid) -> None:
        """For a spawn: sends without waiting, unless the pid is one that is used again: its schedd would refuse the
        spawn while it still has the old status. So it would if the word were on its way: on another connection."""
        if any(pid in pids for pids in (*self._taken.values(), *self._telling.values())):
            await self.now()
        elif self._taken:
            self.soon()

    async def now(self) -> None:
        """Returns when the schedds have forgotten what was taken: for calls that would show it."""
        if self._taken:
            self.soon()
        if self._telling:
            await asyncio.wait(self._telling)

    async def close(self) -> None:
        """Does as ``now``, but not for long: a schedd that is gone has nothing to forget."""
        if self._taken:
            self.soon()
        telling = list(self._telling)
        if telling:
            _, late = await asyncio.wait(telling, timeout=self._limits.close_timeout_s)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)

    async def _send(self, kernel: str, pids: list[Tpid]) -> None:
        try:
            await self._tell(kernel, pids)
        except serr.SigmaError as error:
            _log(f"collect {pids} at {kernel}: {error}")
