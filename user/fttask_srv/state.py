"""Tasks and their moves, pure: requests are decided here and become changes, changes make the table.

A change is what the server writes to its journal before it answers; the table of a new server is made by applying what
was written. So deciding changes nothing, and applying cannot fail: a change that was acknowledged must never be refused
by the server that reads it back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import msgspec

from sigmaos_ray import serr
from sigmaos_ray.pb import fttask_pb2 as pb
from sigmaos_ray.sigmap import NO_FENCE, Fence

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

STATUSES = (pb.TODO, pb.WIP, pb.DONE, pb.ERROR)

# The tags stand in journals that outlive this version of the program: a class may be renamed, its tag may not.


class TasksSubmitted(msgspec.Struct, frozen=True, tag="Submit", array_like=True):
    """New tasks, id and data of each: TODO."""

    tasks: list[tuple[int, bytes]]


class TasksEdited(msgspec.Struct, frozen=True, tag="Edit", array_like=True):
    """New data of tasks; their status stays."""

    tasks: list[tuple[int, bytes]]


class TasksMoved(msgspec.Struct, frozen=True, tag="Move", array_like=True):
    """Tasks came to a status; if that is WIP, for an acquirer."""

    ids: list[int]
    status: int
    acquirer: str = ""


class OutputsAdded(msgspec.Struct, frozen=True, tag="Output", array_like=True):
    """Outputs of tasks, which replace those they had. ``mark_done``: they came to DONE as well."""

    ids: list[int]
    outputs: list[bytes]
    mark_done: bool


class LastTaskSubmitted(msgspec.Struct, frozen=True, tag="Last", array_like=True):
    """No more tasks come: once none is TODO or WIP, acquisitions end."""


class FenceRaised(msgspec.Struct, frozen=True, tag="Raise", array_like=True):
    """A newer fence of the clients."""

    fence: Fence


TaskChange: TypeAlias = TasksSubmitted | TasksEdited | TasksMoved | OutputsAdded | LastTaskSubmitted | FenceRaised


class _Task:
    __slots__ = ("acquirer", "data", "output", "status")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.status: int = pb.TODO
        self.acquirer = ""
        self.output: bytes | None = None


class TaskTable:
    """All tasks of one server, by id, and by status."""

    def __init__(self) -> None:
        self._tasks: dict[int, _Task] = {}
        self._by_status: dict[int, dict[int, None]] = {status: {} for status in STATUSES}
        """Ids in the order in which they came to the status: dictionaries as ordered sets."""
        self.submitted_last = False
        self.fence = NO_FENCE

    # -- deciding

    def check_fence(self, fence: Fence) -> None:
        """Inval for a fence older than the clients' newest; no fence passes."""
        if fence and self.fence and fence < self.fence:
            raise serr.Inval("fence", f"epoch {fence.epoch} is over, now {self.fence.epoch}")

    def check_exact_fence(self, fence: Fence) -> None:
        """Inval unless it is just the clients' newest (FT-2). Acquiring is stricter than the other calls, since who
        holds a task works on it: no two clients of different epochs may."""
        if fence != self.fence:
            raise serr.Inval("fence", f"{fence} acquires, but the newest is {self.fence}")

    def submit(self, tasks: Sequence[tuple[int, bytes]]) -> tuple[list[int], TasksSubmitted | None]:
        """The ids that exist already, which are left as they are, and the change for the others. Inval for new ones
        after the last one was said to be submitted."""
        new: dict[int, bytes] = {}
        existing: list[int] = []
        for number, data in tasks:
            # A repetition, by a client that got no reply: the task may be done by now, and must not begin anew.
            if number in self._tasks or number in new:
                existing.append(number)
            else:
                new[number] = data
        if new and self.submitted_last:
            raise serr.Inval(str(next(iter(new))), "the last task was submitted before")
        return existing, TasksSubmitted(list(new.items())) if new else None

    def edit(self, tasks: Sequence[tuple[int, bytes]]) -> tuple[list[int], TasksEdited | None]:
        """The ids that do not exist, and the change for the others."""
        existing = [(number, data) for number, data in tasks if number in self._tasks]
        missing = [number for number, _ in tasks if number not in self._tasks]
        return missing, TasksEdited(existing) if existing else None

    def acquire(self, acquirer: str, limit: int) -> TasksMoved | None:
        """What is TODO becomes WIP, the oldest first, at most ``limit`` (0: all); None if nothing is."""
        todo = self._by_status[pb.TODO]
        ids = list(todo)[: limit or None]
        return TasksMoved(ids, pb.WIP, acquirer) if ids else None

    def acquired(self, acquirer: str) -> list[int]:
        """What is WIP for that acquirer."""
        return [number for number in self._by_status[pb.WIP] if self._tasks[number].acquirer == acquirer]

    def move(self, ids: Sequence[int], status: int) -> TasksMoved:
        """NotFound for an id that does not exist: then nothing moves."""
        _check_status(status)
        self._check_ids(ids)
        return TasksMoved(list(ids), status)

    def output(self, ids: Sequence[int], outputs: Sequence[bytes], *, mark_done: bool) -> OutputsAdded:
        """NotFound for an id that does not exist, Inval for another number of outputs than of ids: then none is
        added."""
        if len(ids) != len(outputs):
            raise serr.Inval("outputs", f"{len(outputs)} outputs of {len(ids)} tasks")
        self._check_ids(ids)
        return OutputsAdded(list(ids), list(outputs), mark_done)

    def raise_fence(self, fence: Fence) -> FenceRaised | None:
        """Inval for an older one than the clients' newest, or none at all; None for the same."""
        if not fence:
            raise serr.Inval("fence", "no fence at all")
        self.check_fence(fence)
        return FenceRaised(fence) if fence != self.fence else None

    # -- looking

    def ids_of(self, status: int) -> list[int]:
        """Ids in the order in which they came to the status. Inval for what is no status."""
        _check_status(status)
        return list(self._by_status[status])

    def data_of(self, ids: Iterable[int]) -> list[bytes]:
        """NotFound for an id that does not exist."""
        return [self._task(number).data for number in ids]

    def outputs_of(self, ids: Iterable[int]) -> list[bytes]:
        """NotFound for an id that does not exist, or a task without an output."""
        outputs: list[bytes] = []
        for number in ids:
            output = self._task(number).output
            if output is None:
                raise serr.NotFound(_object_of(number), "no output yet")
            outputs.append(output)
        return outputs

    def counts(self) -> dict[int, int]:
        """How many tasks there are of each status."""
        return {status: len(ids) for status, ids in self._by_status.items()}

    @property
    def has_stopped(self) -> bool:
        """The last task was submitted, and none is TODO or WIP: no acquisition gets one any more."""
        return self.submitted_last and not (self._by_status[pb.TODO] or self._by_status[pb.WIP])

    def _task(self, number: int) -> _Task:
        task = self._tasks.get(number)
        if task is None:
            raise serr.NotFound(_object_of(number), "no such task")
        return task

    def _check_ids(self, ids: Iterable[int]) -> None:
        for number in ids:
            self._task(number)

    # -- applying

    def apply(self, change: TaskChange) -> None:
        """Carries out a change that was decided by this table, or by one that all earlier changes made."""
        if isinstance(change, TasksSubmitted):
            for number, data in change.tasks:
                self._tasks[number] = _Task(data)
                self._by_status[pb.TODO][number] = None
        elif isinstance(change, TasksEdited):
            for number, data in change.tasks:
                self._tasks[number].data = data
        elif isinstance(change, TasksMoved):
            for number in change.ids:
                self._move(number, change.status, change.acquirer)
        elif isinstance(change, OutputsAdded):
            for number, output in zip(change.ids, change.outputs, strict=True):
                self._tasks[number].output = output
                if change.mark_done:
                    self._move(number, pb.DONE, "")
        elif isinstance(change, LastTaskSubmitted):
            self.submitted_last = True
        else:
            self.fence = change.fence

    def _move(self, number: int, status: int, acquirer: str) -> None:
        task = self._tasks[number]
        self._by_status[task.status].pop(number, None)
        self._by_status[status][number] = None
        task.status, task.acquirer = status, acquirer

    def as_changes(self) -> list[TaskChange]:
        """Changes that make this table from an empty one. Of one task each, so that a snapshot of any table can be cut
        into files that the store takes."""
        changes: list[TaskChange] = []
        # By status, in the order in which they came to it: the new table hands them out in the same order.
        for status in STATUSES:
            for number in self._by_status[status]:
                task = self._tasks[number]
                changes.append(TasksSubmitted([(number, task.data)]))
                if status != pb.TODO:
                    changes.append(TasksMoved([number], status, task.acquirer))
                if task.output is not None:
                    changes.append(OutputsAdded([number], [task.output], mark_done=False))
        if self.submitted_last:
            changes.append(LastTaskSubmitted())
        if self.fence:
            changes.append(FenceRaised(self.fence))
        return changes


def _check_status(status: int) -> None:
    if status not in STATUSES:
        raise serr.Inval("status", f"{status} is none of TODO, WIP, DONE, ERROR")


def _object_of(number: int) -> str:
    """What errors call a task: no component of a pathname, or a service of that name would seem to be away."""
    return f"task/{number}"
