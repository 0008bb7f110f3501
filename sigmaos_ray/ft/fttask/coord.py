"""Running a proc for each task (FT-4).

A task is WIP while its proc runs, so a coordinator that dies leaves tasks that nobody does: whoever leads next moves
them back to TODO, under a newer fence, so that the old one cannot say any more what became of them.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from sigmaos_ray import debug, serr
from sigmaos_ray.ft.fttask.clnt import AsyncFtTaskClnt, FtTaskClnt, TaskStats, TaskStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from sigmaos_ray.proc import Proc, Status
    from sigmaos_ray.sigmaclnt import AsyncSigmaClnt, SigmaClnt

_log = debug.selector("FTTASKMGR")


class TaskResult(NamedTuple):
    """How one run of a task ended."""

    id: int
    status: Status | None
    """None: the proc could not be run, or nobody knows how it ended."""
    error: serr.SigmaError | None
    duration_s: float


def decide(result: TaskResult) -> TaskStatus:
    """What is to become of a task after a run, unless its owner knows better: OK is DONE, an error of its own is ERROR
    and not tried again; what crashed, was evicted or got lost is TODO once more."""
    status = result.status
    if status is not None and status.is_ok():
        return TaskStatus.DONE
    if status is not None and status.is_err() and not status.is_crash():
        return TaskStatus.ERROR
    return TaskStatus.TODO


class AsyncFtTaskCoord:
    """Takes tasks of one service and runs a proc for each. One coordinator of a service at a time."""

    def __init__(self, sc: AsyncSigmaClnt, clnt: AsyncFtTaskClnt) -> None:
        self._sc = sc
        self._clnt = clnt

    async def execute_tasks(
        self,
        make_proc: Callable[[int, bytes], Proc],
        on_result: Callable[[TaskResult], TaskStatus] = decide,
        *,
        in_flight_max: int = 64,
    ) -> TaskStats:
        """Runs ``make_proc(id, data)`` for each task until the last one was submitted and all are DONE or ERROR;
        returns how many there are of each. ``on_result`` says where a task goes after its run. The data of an OK
        status become the task's output, as JSON. At most ``in_flight_max`` procs run at a time.

        What ``make_proc`` and ``on_result`` raise ends it, and so does a cancellation: procs that run then are not
        ended, and their tasks stay WIP."""
        running: set[asyncio.Task[None]] = set()
        acquiring: asyncio.Task[object] | None = None
        try:
            while True:
                # One acquisition at a time, beside the procs that run: it waits at the server until there is a task.
                if acquiring is None and len(running) < in_flight_max:
                    limit = in_flight_max - len(running)
                    acquiring = asyncio.create_task(self._start(make_proc, on_result, limit, running))
                waited = {*running, *([acquiring] if acquiring else [])}
                await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
                for task in [task for task in running if task.done()]:
                    running.discard(task)
                    task.result()
                if acquiring is not None and acquiring.done():
                    stopped, acquiring = acquiring.result(), None
                    # Then no task is WIP: of those that run here, at most the reply to their last word is still on its
                    # way.
                    if stopped:
                        return await self._clnt.get_task_stats()
        finally:
            # Who waits for the procs is ended, not the procs. Their tasks stay WIP until a next leader moves them.
            unfinished = {*running, *([acquiring] if acquiring else [])}
            for each in unfinished:
                each.cancel()
            if unfinished:
                await asyncio.wait(unfinished)

    async def _start(
        self,
        make_proc: Callable[[int, bytes], Proc],
        on_result: Callable[[TaskResult], TaskStatus],
        limit: int,
        running: set[asyncio.Task[None]],
    ) -> bool:
        """Takes tasks, at most ``limit``, and begins to run them; True if there will be no more."""
        acquired = await self._clnt.acquire_tasks(wait=True, limit=limit)
        if acquired.ids:
            for number, data in (await self._clnt.read_tasks(acquired.ids)).items():
                run = self._run(number, make_proc(number, data), on_result)
                running.add(asyncio.create_task(run, name=f"fttask-{number}"))
        return acquired.stopped

    async def _run(self, number: int, proc: Proc, on_result: Callable[[TaskResult], TaskStatus]) -> None:
        began_s = time.monotonic()
        status: Status | None = None
        failure: serr.SigmaError | None = None
        try:
            await self._sc.spawn(proc)
            status = await self._sc.wait_exit(proc.pid)
        except serr.SigmaError as error:
            if self._sc.is_closed:
                raise
            failure = error
        result = TaskResult(number, status, failure, time.monotonic() - began_s)
        _log(f"task {number}: {status or failure}")
        await self._settle(result, on_result(result))

    async def _settle(self, result: TaskResult, to: TaskStatus) -> None:
        """Moves a task to where it goes; its output, if there is one, comes with it in the same moment."""
        if to is TaskStatus.DONE and result.status is not None:
            output = msgspec.json.encode(result.status.data)
            await self._clnt.add_task_outputs({result.id: output}, mark_done=True)
        else:
            await self._clnt.move_tasks([result.id], to)


class FtTaskCoord:
    """The blocking face of ``AsyncFtTaskCoord``. ``make_proc`` and ``on_result`` run on the client's loop: they must
    not block."""

    def __init__(self, sc: SigmaClnt, clnt: FtTaskClnt) -> None:
        self._sc = sc
        self._coord = AsyncFtTaskCoord(sc.asynchronous, clnt.asynchronous)

    def execute_tasks(
        self,
        make_proc: Callable[[int, bytes], Proc],
        on_result: Callable[[TaskResult], TaskStatus] = decide,
        *,
        in_flight_max: int = 64,
    ) -> TaskStats:
        """See ``AsyncFtTaskCoord.execute_tasks``."""
        return self._sc.run(self._coord.execute_tasks(make_proc, on_result, in_flight_max=in_flight_max))
