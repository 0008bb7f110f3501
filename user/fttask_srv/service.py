"""What the task server answers (FT-2). Each request is decided on the table, applied, written, and then answered.

Applied before it is written, so that the next request is decided on it at once, and both share a write. What is not
written yet is told to nobody: every answer, that to a question too, waits for the changes before it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sigmaos_ray import crash
from sigmaos_ray.pb import fttask_pb2 as pb
from sigmaos_ray.sessp import wire
from user.fttask_srv.state import LastTaskSubmitted, TaskTable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sigmaos_ray.rpcsrv import RpcContext
    from user.fttask_srv.journal import TaskJournal
    from user.fttask_srv.state import TaskChange


_submit_crash = crash.point("FTTASKSRV_SUBMIT_CRASH")


class TaskSrv:
    """The RPC service ``TaskSrv`` of one server. Errors reach the client as their class; NotFound is of a task."""

    def __init__(self, table: TaskTable, journal: TaskJournal) -> None:
        self._table = table
        self._journal = journal
        self._changed = asyncio.Event()
        """Set, and replaced by a new one, at each change: who waits for tasks looks again."""

    async def _commit(self, change: TaskChange | None) -> None:
        """Applies a change, if there is one, and returns once it and all before it are written."""
        if change is not None:
            self._journal.check(change)
            self._table.apply(change)
            # Not cleared but replaced: whoever begins to wait from now on waits for the next change.
            changed, self._changed = self._changed, asyncio.Event()
            changed.set()
        await self._journal.write(change)

    async def Ping(self, ctx: RpcContext, request: pb.FenceRequest) -> pb.NothingReply:
        """Answers once the server serves."""
        return pb.NothingReply()

    async def Fence(self, ctx: RpcContext, request: pb.FenceRequest) -> pb.NothingReply:
        """Raises the clients' fence; Inval for an older one."""
        await self._commit(self._table.raise_fence(wire.fence_from_pb(request.fence)))
        return pb.NothingReply()

    async def SubmitTasks(self, ctx: RpcContext, request: pb.TasksRequest) -> pb.TaskIdsReply:
        """Makes tasks; returns the ids that exist already, which are left as they are."""
        self._table.check_fence(wire.fence_from_pb(request.fence))
        existing, change = self._table.submit(_tasks(request.tasks))
        await self._commit(change)
        # The worst moment for a client: what it submitted is there, and it is not told.
        if _submit_crash.on:
            _submit_crash.passed()
        return pb.TaskIdsReply(ids=existing)

    async def EditTasks(self, ctx: RpcContext, request: pb.TasksRequest) -> pb.TaskIdsReply:
        """Replaces data; returns the ids that do not exist."""
        self._table.check_fence(wire.fence_from_pb(request.fence))
        missing, change = self._table.edit(_tasks(request.tasks))
        await self._commit(change)
        return pb.TaskIdsReply(ids=missing)

    async def SubmittedLastTask(self, ctx: RpcContext, request: pb.FenceRequest) -> pb.NothingReply:
        """No more tasks will come."""
        self._table.check_fence(wire.fence_from_pb(request.fence))
        await self._commit(None if self._table.submitted_last else LastTaskSubmitted())
        return pb.NothingReply()

    async def AcquireTasks(self, ctx: RpcContext, request: pb.AcquireTasksRequest) -> pb.AcquireTasksReply:
        """Tasks from TODO to WIP. With ``wait``, blocks until there is one, or all are finished."""
        fence = wire.fence_from_pb(request.fence)
        while True:
            # Anew after each wait: another client may lead by now, and this one must get nothing any more.
            self._table.check_exact_fence(fence)
            change = self._table.acquire(request.acquirer, request.limit)
            stopped = self._table.has_stopped
            if change is not None or stopped or not request.wait:
                await self._commit(change)
                return pb.AcquireTasksReply(ids=change.ids if change else [], stopped=stopped)
            await self._changed.wait()

    async def Acquired(self, ctx: RpcContext, request: pb.TaskIdsRequest) -> pb.AcquireTasksReply:
        """What an acquirer holds, for a client that does not know whether its acquisition took effect."""
        self._table.check_exact_fence(wire.fence_from_pb(request.fence))
        await self._commit(None)
        return pb.AcquireTasksReply(ids=self._table.acquired(request.acquirer))

    async def MoveTasks(self, ctx: RpcContext, request: pb.TaskIdsRequest) -> pb.CountReply:
        """Moves tasks to a status: all, or none if one of them does not exist."""
        self._table.check_fence(wire.fence_from_pb(request.fence))
        await self._commit(self._table.move(request.ids, request.status))
        return pb.CountReply(count=len(request.ids))

    async def MoveTasksByStatus(self, ctx: RpcContext, request: pb.MoveTasksByStatusRequest) -> pb.CountReply:
        """Moves all tasks of one status to another; returns how many."""
        self._table.check_fence(wire.fence_from_pb(request.fence))
        ids = self._table.ids_of(request.old_status)
        await self._commit(self._table.move(ids, request.new_status) if ids else None)
        return pb.CountReply(count=len(ids))

    async def AddTaskOutputs(self, ctx: RpcContext, request: pb.AddTaskOutputsRequest) -> pb.NothingReply:
        """Keeps outputs; with ``mark_done`` their tasks are DONE in the same moment. All, or none if one does not
        exist."""
        self._table.check_fence(wire.fence_from_pb(request.fence))
        await self._commit(self._table.output(request.ids, request.outputs, mark_done=request.mark_done))
        return pb.NothingReply()

    async def ReadTasks(self, ctx: RpcContext, request: pb.TaskIdsRequest) -> pb.TasksReply:
        """The data of tasks. NotFound for an unknown id."""
        await self._commit(None)
        data = self._table.data_of(request.ids)
        return pb.TasksReply(tasks=[pb.Task(id=number, data=d) for number, d in zip(request.ids, data, strict=True)])

    async def GetTaskOutputs(self, ctx: RpcContext, request: pb.TaskIdsRequest) -> pb.TaskOutputsReply:
        """The outputs of tasks. NotFound for an unknown id, or one without an output."""
        await self._commit(None)
        return pb.TaskOutputsReply(outputs=self._table.outputs_of(request.ids))

    async def GetTasksByStatus(self, ctx: RpcContext, request: pb.TaskIdsRequest) -> pb.TaskIdsReply:
        """The ids of one status, in the order in which they came to it."""
        await self._commit(None)
        return pb.TaskIdsReply(ids=self._table.ids_of(request.status))

    async def GetTaskStats(self, ctx: RpcContext, request: pb.FenceRequest) -> pb.TaskStatsReply:
        """How many there are of each status."""
        await self._commit(None)
        counts = self._table.counts()
        return pb.TaskStatsReply(
            todo=counts[pb.TODO],
            wip=counts[pb.WIP],
            done=counts[pb.DONE],
            error=counts[pb.ERROR],
            submitted_last=self._table.submitted_last,
        )


def _tasks(tasks: Iterable[pb.Task]) -> list[tuple[int, bytes]]:
    return [(task.id, task.data) for task in tasks]
