"""The client of a task server (FT-2, FT-3). Calls go on by themselves when the server is replaced.

All are repeated until they are answered, as repeating them does no harm: all but the acquisition, which would take
other tasks the second time. It asks instead what it holds, by an id of its own.
"""

from __future__ import annotations

import asyncio
import enum
import secrets
import time
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from google.protobuf.message import Message

from sigmaos_ray import debug, serr
from sigmaos_ray.ft.fttask.paths import checked_id, server_pathname
from sigmaos_ray.ft.tuning import TASK_CLNT
from sigmaos_ray.pb import fttask_pb2 as pb
from sigmaos_ray.rpcclnt import AsyncRPCClnt
from sigmaos_ray.sessp import wire
from sigmaos_ray.sigmap import NO_FENCE, Fence

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sigmaos_ray.blocking import BlockingClient
    from sigmaos_ray.fslib import AsyncFsLib

_log = debug.selector("FTTASKCLNT")

R = TypeVar("R", bound=Message)

_GONE: Final = (serr.Unreachable, serr.IOErr, serr.Closed, serr.UnknownFid)
"""Errors that say that the server is away, and nothing of the call."""


class TaskStatus(enum.IntEnum):
    """SigmaOS's words (FT-1). Any may follow any: what becomes of a task is its owner's decision."""

    TODO = pb.TODO
    """Nobody has taken it yet."""
    WIP = pb.WIP
    """Somebody has acquired it."""
    DONE = pb.DONE
    ERROR = pb.ERROR


class Acquired(NamedTuple):
    """What an acquisition got."""

    ids: list[int]
    """What is WIP now, for the caller."""
    stopped: bool
    """True once the last task was submitted and none is TODO or WIP: nothing will come any more."""


class TaskStats(NamedTuple):
    """How many tasks there are of each status, and whether more may come."""

    todo: int
    wip: int
    done: int
    error: int
    submitted_last: bool


class AsyncFtTaskClnt:
    """The tasks of the service ``service_id``. May be shared by tasks of one loop.

    Each call raises Unreachable if no server answers for half a minute: it may have taken effect. Once a client has a
    fence, its calls raise Inval when another client has a newer one.
    """

    def __init__(self, sc: AsyncFsLib, service_id: str) -> None:
        self._rpc = AsyncRPCClnt(sc, server_pathname(checked_id(service_id)))
        self._pathname = server_pathname(service_id)
        self._fence = NO_FENCE

    async def _call(self, method: str, request: Message, reply_class: type[R], timeout_s: float | None = None) -> R:
        """Calls a method, again and again until a server answers: at least once."""
        deadline_s = time.monotonic() + TASK_CLNT.absent_s
        while True:
            try:
                return await self._rpc.rpc(f"TaskSrv.{method}", request, reply_class, timeout_s)
            except (*_GONE, serr.NotFound) as error:
                if isinstance(error, serr.NotFound) and not self._is_away(error):
                    raise
                if time.monotonic() >= deadline_s:
                    raise self._no_server(error) from error
                _log(f"{method}: {error}")
            await asyncio.sleep(TASK_CLNT.pause_s)

    def _is_away(self, error: serr.SigmaError) -> bool:
        """True for NotFound of the server's name; False for that of a task, which is the server's answer."""
        return error.obj in self._pathname.split("/")

    def _no_server(self, error: serr.SigmaError) -> serr.Unreachable:
        return serr.Unreachable(self._pathname, f"no server for {TASK_CLNT.absent_s:.0f} s: {error}")

    async def fence(self, fence: Fence) -> None:
        """From now on older clients are refused (Inval), and this one's calls carry the fence. Inval if it is old."""
        await self._call("Fence", pb.FenceRequest(fence=wire.fence_to_pb(fence)), pb.NothingReply)
        self._fence = fence

    async def ping(self) -> None:
        """Returns once a server answers."""
        await self._call("Ping", pb.FenceRequest(), pb.NothingReply)

    async def submit_tasks(self, tasks: Mapping[int, bytes]) -> list[int]:
        """Makes tasks, TODO. Returns the ids that were there already: those are left as they are, and so are all of
        them when a submission is repeated."""
        reply = await self._call("SubmitTasks", self._tasks(tasks), pb.TaskIdsReply)
        return list(reply.ids)

    async def edit_tasks(self, tasks: Mapping[int, bytes]) -> list[int]:
        """Replaces the data of tasks; returns the ids that are not there."""
        reply = await self._call("EditTasks", self._tasks(tasks), pb.TaskIdsReply)
        return list(reply.ids)

    def _tasks(self, tasks: Mapping[int, bytes]) -> pb.TasksRequest:
        wanted = [pb.Task(id=number, data=data) for number, data in tasks.items()]
        return pb.TasksRequest(tasks=wanted, fence=wire.fence_to_pb(self._fence))

    async def submitted_last_task(self) -> None:
        """Says that no more tasks will come: acquisitions end when all are DONE or ERROR."""
        await self._call("SubmittedLastTask", pb.FenceRequest(fence=wire.fence_to_pb(self._fence)), pb.NothingReply)

    async def acquire_tasks(self, wait: bool = True, limit: int = 0) -> Acquired:
        """Takes tasks that are TODO, at most ``limit`` (0: all); they are WIP until somebody moves them. ``wait``:
        until there is one, or all are finished. What it returns nobody else got, also if a server died meanwhile."""
        # One for all tries of this call, and for no other call: by it the server tells what these tries got.
        acquirer = secrets.token_hex(12)
        deadline_s = time.monotonic() + TASK_CLNT.absent_s
        request = pb.AcquireTasksRequest(wait=wait, acquirer=acquirer, limit=limit, fence=wire.fence_to_pb(self._fence))
        while True:
            try:
                reply = await self._rpc.rpc("TaskSrv.AcquireTasks", request, pb.AcquireTasksReply, TASK_CLNT.acquire_s)
                return Acquired(list(reply.ids), reply.stopped)
            except (*_GONE, serr.NotFound, serr.Timeout) as error:
                if isinstance(error, serr.NotFound) and not self._is_away(error):
                    raise
                _log(f"acquire: {error}")
                if isinstance(error, serr.Timeout):  # a server is there, and had nothing to give
                    deadline_s = time.monotonic() + TASK_CLNT.absent_s
                elif time.monotonic() >= deadline_s:
                    raise self._no_server(error) from error
            # The server may have given tasks to this acquirer, and its reply got lost: asked again, it would give
            # others, and those would never be done.
            if ids := await self._acquired(acquirer):
                return Acquired(ids, False)
            await asyncio.sleep(TASK_CLNT.pause_s)

    async def _acquired(self, acquirer: str) -> list[int]:
        """What an acquisition of unknown fate got."""
        request = pb.TaskIdsRequest(acquirer=acquirer, fence=wire.fence_to_pb(self._fence))
        return list((await self._call("Acquired", request, pb.AcquireTasksReply)).ids)

    async def move_tasks(self, ids: Iterable[int], status: TaskStatus) -> None:
        """Moves tasks to a status. NotFound if one of them is unknown: then none is moved."""
        request = pb.TaskIdsRequest(ids=ids, status=_value(status), fence=wire.fence_to_pb(self._fence))
        await self._call("MoveTasks", request, pb.CountReply)

    async def move_tasks_by_status(self, old: TaskStatus, new: TaskStatus) -> int:
        """Moves all tasks of one status to another; returns how many."""
        request = pb.MoveTasksByStatusRequest(
            old_status=_value(old), new_status=_value(new), fence=wire.fence_to_pb(self._fence)
        )
        return (await self._call("MoveTasksByStatus", request, pb.CountReply)).count

    async def read_tasks(self, ids: Iterable[int]) -> dict[int, bytes]:
        """The data of tasks. NotFound for an unknown one."""
        reply = await self._call("ReadTasks", pb.TaskIdsRequest(ids=ids), pb.TasksReply)
        return {task.id: task.data for task in reply.tasks}

    async def add_task_outputs(self, outputs: Mapping[int, bytes], mark_done: bool = True) -> None:
        """Keeps outputs of tasks; ``mark_done``: they are DONE in the same moment. NotFound for an unknown id."""
        request = pb.AddTaskOutputsRequest(
            ids=list(outputs),
            outputs=list(outputs.values()),
            mark_done=mark_done,
            fence=wire.fence_to_pb(self._fence),
        )
        await self._call("AddTaskOutputs", request, pb.NothingReply)

    async def get_task_outputs(self, ids: Sequence[int]) -> dict[int, bytes]:
        """The outputs of tasks. NotFound for an unknown id, or one without an output."""
        reply = await self._call("GetTaskOutputs", pb.TaskIdsRequest(ids=ids), pb.TaskOutputsReply)
        return dict(zip(ids, reply.outputs, strict=True))

    async def get_tasks_by_status(self, status: TaskStatus) -> list[int]:
        """The ids of one status, in the order in which they came to it."""
        request = pb.TaskIdsRequest(status=_value(status))
        return list((await self._call("GetTasksByStatus", request, pb.TaskIdsReply)).ids)

    async def get_task_stats(self) -> TaskStats:
        """How many tasks there are of each status."""
        reply = await self._call("GetTaskStats", pb.FenceRequest(), pb.TaskStatsReply)
        return TaskStats(reply.todo, reply.wip, reply.done, reply.error, reply.submitted_last)


def _value(status: TaskStatus) -> pb.TaskStatus:
    try:
        return TaskStatus(status).value
    except ValueError:
        raise serr.Inval("status", f"{status!r} is none of TODO, WIP, DONE, ERROR") from None


class FtTaskClnt:
    """The blocking face of ``AsyncFtTaskClnt``."""

    def __init__(self, sc: BlockingClient, service_id: str) -> None:
        self._sc = sc
        self._clnt = AsyncFtTaskClnt(sc.asynchronous, service_id)

    @property
    def asynchronous(self) -> AsyncFtTaskClnt:
        """The asynchronous client beneath, for other faces that are built on it."""
        return self._clnt

    def fence(self, fence: Fence) -> None:
        """See ``AsyncFtTaskClnt.fence``."""
        self._sc.run(self._clnt.fence(fence))

    def ping(self) -> None:
        """See ``AsyncFtTaskClnt.ping``."""
        self._sc.run(self._clnt.ping())

    def submit_tasks(self, tasks: Mapping[int, bytes]) -> list[int]:
        """See ``AsyncFtTaskClnt.submit_tasks``."""
        existing: list[int] = self._sc.run(self._clnt.submit_tasks(tasks))
        return existing

    def edit_tasks(self, tasks: Mapping[int, bytes]) -> list[int]:
        """See ``AsyncFtTaskClnt.edit_tasks``."""
        unknown: list[int] = self._sc.run(self._clnt.edit_tasks(tasks))
        return unknown

    def submitted_last_task(self) -> None:
        """See ``AsyncFtTaskClnt.submitted_last_task``."""
        self._sc.run(self._clnt.submitted_last_task())

    def acquire_tasks(self, wait: bool = True, limit: int = 0) -> Acquired:
        """See ``AsyncFtTaskClnt.acquire_tasks``."""
        acquired: Acquired = self._sc.run(self._clnt.acquire_tasks(wait, limit))
        return acquired

    def move_tasks(self, ids: Iterable[int], status: TaskStatus) -> None:
        """See ``AsyncFtTaskClnt.move_tasks``."""
        self._sc.run(self._clnt.move_tasks(ids, status))

    def move_tasks_by_status(self, old: TaskStatus, new: TaskStatus) -> int:
        """See ``AsyncFtTaskClnt.move_tasks_by_status``."""
        count: int = self._sc.run(self._clnt.move_tasks_by_status(old, new))
        return count

    def read_tasks(self, ids: Iterable[int]) -> dict[int, bytes]:
        """See ``AsyncFtTaskClnt.read_tasks``."""
        tasks: dict[int, bytes] = self._sc.run(self._clnt.read_tasks(ids))
        return tasks

    def add_task_outputs(self, outputs: Mapping[int, bytes], mark_done: bool = True) -> None:
        """See ``AsyncFtTaskClnt.add_task_outputs``."""
        self._sc.run(self._clnt.add_task_outputs(outputs, mark_done))

    def get_task_outputs(self, ids: Sequence[int]) -> dict[int, bytes]:
        """See ``AsyncFtTaskClnt.get_task_outputs``."""
        outputs: dict[int, bytes] = self._sc.run(self._clnt.get_task_outputs(ids))
        return outputs

    def get_tasks_by_status(self, status: TaskStatus) -> list[int]:
        """See ``AsyncFtTaskClnt.get_tasks_by_status``."""
        ids: list[int] = self._sc.run(self._clnt.get_tasks_by_status(status))
        return ids

    def get_task_stats(self) -> TaskStats:
        """See ``AsyncFtTaskClnt.get_task_stats``."""
        stats: TaskStats = self._sc.run(self._clnt.get_task_stats())
        return stats
