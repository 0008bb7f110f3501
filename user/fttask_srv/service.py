"""What the task server answers (FT-2). Each request is decided on the table, applied, written, and then answered."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sigmaos_ray import crash
from sigmaos_ray.ft.fttask.table import Last, TaskTable
from sigmaos_ray.pb import fttask_pb2 as pb
from sigmaos_ray.sessp import wire

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sigmaos_ray.ft.fttask.table import Change
    from sigmaos_ray.rpcsrv import RpcContext
    from user.fttask_srv.journal import Journal


_submit_crash = crash.point("FTTASKSRV_SUBMIT_CRASH")


class TaskSrv:
    """One server's tasks. A reply tells of nothing that is not written: a question waits for the journal too."""

    def __init__(self, table: TaskTable, journal: Journal) -> None:
        self._table = table
        self._journal = journal
        self._changed = asyncio.Event()

    async def _commit(self, change: Change | None) -> None:
        if change is not None:
            self._table.apply(change)
            changed, self._changed = self._changed, asyncio.Event()
            changed.set()
        await self._journal.write(change)

    async def Ping(self, ctx: RpcContext, request: pb.FenceRequest) -> pb.NothingReply:
        """Answers once the server serves."""
        return pb.NothingReply()

    async def Fence(self, ctx: RpcContext, request: pb.FenceRequest) -> pb.NothingReply:
        """Raises the clients' fence; Inval for an older one."""
        await self._commit(self._table.raised(wire.fence_from_pb(request.fence)))
        return pb.NothingReply()

    async def SubmitTasks(self, ctx: RpcContext, request: pb.TasksRequest) -> pb.TaskIdsReply:
        """Ids that are there already are told, and left as they are."""
        self._table.check_fence(wire.fence_from_pb(request.fence))
        existing, change = self._table.submit(_tasks(request.tasks))
        await self._commit(change)
        if _submit_crash.on:
            _submit_crash.passed()
        return pb.TaskIdsReply(ids=existing)

    async def EditTasks(self, ctx: RpcContext, request: pb.TasksRequest) -> pb.TaskIdsReply:
        """Replaces data; tells which ids are not there."""
        self._table.check_fence(wire.fence_from_pb(request.fence))
        unknown, change = self._table.edit(_tasks(request.tasks))
        await self._commit(change)
        return pb.TaskIdsReply(ids=unknown)

    async def SubmittedLastTask(self, ctx: RpcContext, request: pb.FenceRequest) -> pb.NothingReply:
        """No more tasks will come."""
        self._table.check_fence(wire.fence_from_pb(request.fence))
        await self._commit(None if self._table.submitted_last else Last())
        return pb.NothingReply()

    async def AcquireTasks(self, ctx: RpcContext, request: pb.AcquireTasksRequest) -> pb.AcquireTasksReply:
        """Tasks from TODO to WIP. With ``wait`` until there is one, or all are finished."""
        fence = wire.fence_from_pb(request.fence)
        while True:
            self._table.check_exact_fence(fence)
            change = self._table.acquire(request.acquirer, request.limit)
            stopped = self._table.has_stopped
            if change is not None or stopped or not request.wait:
                await self._commit(change)
                return pb.AcquireTasksReply(ids=change.ids if change else [], stopped=stopped)
            await self._changed.wait()

    async def Acquired(self, ctx: RpcContext, request: pb.TaskIdsRequest) -> pb.AcquireTasksReply:
        """What an acquirer has: asked by a client that does not know whether its acquisition arrived."""
        self._table.check_exact_fence(wire.fence_from_pb(request.fence))
        await self._commit(None)
        return pb.AcquireTasksReply(ids=self._table.acquired(request.acquirer))

    async def MoveTasks(self, ctx: RpcContext, request: pb.TaskIdsRequest) -> pb.CountReply:
        """All or, if one is unknown, none."""
        self._table.check_fence(wire.fence_from_pb(request.fence))
        await self._commit(self._table.move(request.ids, request.status))
        return pb.CountReply(count=len(request.ids))

    async def MoveTasksByStatus(self, ctx: RpcContext, request: pb.MoveTasksByStatusRequest) -> pb.CountReply:
        """All of one status; tells how many."""
        self._table.check_fence(wire.fence_from_pb(request.fence))
        ids = self._table.ids_of(request.old_status)
        await self._commit(self._table.move(ids, request.new_status) if ids else None)
        return pb.CountReply(count=len(ids))

    async def AddTaskOutputs(self, ctx: RpcContext, request: pb.AddTaskOutputsRequest) -> pb.NothingReply:
        """With ``mark_done`` they are DONE in the same moment."""
        self._table.check_fence(wire.fence_from_pb(request.fence))
        await self._commit(self._table.output(request.ids, request.outputs, mark_done=request.mark_done))
        return pb.NothingReply()

    async def ReadTasks(self, ctx: RpcContext, request: pb.TaskIdsRequest) -> pb.TasksReply:
        """Their data. NotFound for an unknown id."""
        await self._commit(None)
        data = self._table.data_of(request.ids)
        return pb.TasksReply(tasks=[pb.Task(id=number, data=d) for number, d in zip(request.ids, data, strict=True)])

    async def GetTaskOutputs(self, ctx: RpcContext, request: pb.TaskIdsRequest) -> pb.TaskOutputsReply:
        """NotFound for an unknown id, or one without an output."""
        await self._commit(None)
        return pb.TaskOutputsReply(outputs=self._table.outputs_of(request.ids))

    async def GetTasksByStatus(self, ctx: RpcContext, request: pb.TaskIdsRequest) -> pb.TaskIdsReply:
        """The ids of one status."""
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
