"""Tasks and their moves (FT-2), pure: requests are decided here and become changes, changes make the table.

A change is what the server writes down before it answers; the table of a new server is made by applying what was
written. Deciding changes nothing; applying cannot fail.
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


class Submit(msgspec.Struct, frozen=True, tag=True, array_like=True):
    tasks: list[tuple[int, bytes]]


class Edit(msgspec.Struct, frozen=True, tag=True, array_like=True):
    tasks: list[tuple[int, bytes]]


class Move(msgspec.Struct, frozen=True, tag=True, array_like=True):
    ids: list[int]
    status: int
    acquirer: str = ""


class Output(msgspec.Struct, frozen=True, tag=True, array_like=True):
    ids: list[int]
    outputs: list[bytes]
    mark_done: bool


class Last(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """The last task was submitted."""


class Raise(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """A newer fence of the clients."""

    fence: Fence


Change: TypeAlias = Submit | Edit | Move | Output | Last | Raise


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
        """Ids in the order in which they came to the status."""
        self.submitted_last = False
        self.fence = NO_FENCE

    # -- deciding

    def check_fence(self, fence: Fence) -> None:
        """Inval for a fence older than the clients' newest; no fence passes."""
        if fence and self.fence and fence < self.fence:
            raise serr.Inval("fence", f"epoch {fence.epoch} is over, now {self.fence.epoch}")

    def check_exact_fence(self, fence: Fence) -> None:
        """Inval unless it is just the clients' newest (FT-2: who acquires must lead)."""
        if fence != self.fence:
            raise serr.Inval("fence", f"{fence} acquires, but the newest is {self.fence}")

    def submit(self, tasks: Sequence[tuple[int, bytes]]) -> tuple[list[int], Submit | None]:
        """Ids that are there already, and the change. Inval after the last one was said to be submitted."""
        seen: dict[int, bytes] = {}
        existing: list[int] = []
        for number, data in tasks:
            if number in self._tasks or number in seen:
                existing.append(number)
            else:
                seen[number] = data
        if seen and self.submitted_last:
            raise serr.Inval(str(next(iter(seen))), "the last task was submitted before")
        return existing, Submit(list(seen.items())) if seen else None

    def edit(self, tasks: Sequence[tuple[int, bytes]]) -> tuple[list[int], Edit | None]:
        """Ids that are not there, and the change."""
        known = [(number, data) for number, data in tasks if number in self._tasks]
        return [number for number, _ in tasks if number not in self._tasks], Edit(known) if known else None

    def acquire(self, acquirer: str, limit: int) -> Move | None:
        """What is TODO, the oldest first, at most ``limit`` (0: all)."""
        todo = self._by_status[pb.TODO]
        ids = list(todo)[: limit or None]
        return Move(ids, pb.WIP, acquirer) if ids else None

    def acquired(self, acquirer: str) -> list[int]:
        """What is WIP for that acquirer."""
        return [number for number in self._by_status[pb.WIP] if self._tasks[number].acquirer == acquirer]

    def move(self, ids: Sequence[int], status: int) -> Move:
        """NotFound for an id that is not there: then nothing moves."""
        _check_status(status)
        self._known(ids)
        return Move(list(ids), status)

    def output(self, ids: Sequence[int], outputs: Sequence[bytes], *, mark_done: bool) -> Output:
        if len(ids) != len(outputs):
            raise serr.Inval("outputs", f"{len(outputs)} outputs of {len(ids)} tasks")
        self._known(ids)
        return Output(list(ids), list(outputs), mark_done)

    def raised(self, fence: Fence) -> Raise | None:
        """Inval for an older one; None for the same."""
        if not fence:
            raise serr.Inval("fence", "no fence at all")
        self.check_fence(fence)
        return Raise(fence) if fence != self.fence else None

    # -- looking

    def ids_of(self, status: int) -> list[int]:
        _check_status(status)
        return list(self._by_status[status])

    def data_of(self, ids: Iterable[int]) -> list[bytes]:
        return [self._task(number).data for number in ids]

    def outputs_of(self, ids: Iterable[int]) -> list[bytes]:
        """NotFound also for a task without an output."""
        outputs: list[bytes] = []
        for number in ids:
            output = self._task(number).output
            if output is None:
                raise serr.NotFound(str(number), "no output yet")
            outputs.append(output)
        return outputs

    def counts(self) -> dict[int, int]:
        return {status: len(ids) for status, ids in self._by_status.items()}

    @property
    def has_stopped(self) -> bool:
        """The last task was submitted, and none is TODO or WIP."""
        return self.submitted_last and not (self._by_status[pb.TODO] or self._by_status[pb.WIP])

    def _task(self, number: int) -> _Task:
        task = self._tasks.get(number)
        if task is None:
            raise serr.NotFound(str(number), "no such task")
        return task

    def _known(self, ids: Iterable[int]) -> None:
        for number in ids:
            self._task(number)

    # -- applying

    def apply(self, change: Change) -> None:
        if isinstance(change, Submit):
            for number, data in change.tasks:
                self._tasks[number] = _Task(data)
                self._by_status[pb.TODO][number] = None
        elif isinstance(change, Edit):
            for number, data in change.tasks:
                self._tasks[number].data = data
        elif isinstance(change, Move):
            for number in change.ids:
                self._move(number, change.status, change.acquirer)
        elif isinstance(change, Output):
            for number, output in zip(change.ids, change.outputs, strict=True):
                self._tasks[number].output = output
                if change.mark_done:
                    self._move(number, pb.DONE, "")
        elif isinstance(change, Last):
            self.submitted_last = True
        else:
            self.fence = change.fence

    def _move(self, number: int, status: int, acquirer: str) -> None:
        task = self._tasks[number]
        self._by_status[task.status].pop(number, None)
        self._by_status[status][number] = None
        task.status, task.acquirer = status, acquirer

    def as_changes(self) -> list[Change]:
        """Changes that make this table from an empty one, small ones."""
        changes: list[Change] = []
        for status in STATUSES:
            for number in self._by_status[status]:
                task = self._tasks[number]
                changes.append(Submit([(number, task.data)]))
                if status != pb.TODO:
                    changes.append(Move([number], status, task.acquirer))
                if task.output is not None:
                    changes.append(Output([number], [task.output], mark_done=False))
        if self.submitted_last:
            changes.append(Last())
        if self.fence:
            changes.append(Raise(self.fence))
        return changes


def _check_status(status: int) -> None:
    if status not in STATUSES:
        raise serr.Inval("status", f"{status} is none of TODO, WIP, DONE, ERROR")
