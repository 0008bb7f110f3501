"""What a coordinator decides (MR-12). Pure: how runs of tasks ended goes in, what becomes of the tasks comes out."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import msgspec

from sigmaos_ray.ft.fttask import TaskStatus
from user.mr.tasks import CUT_OFF, RESTART

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sigmaos_ray.ft.fttask import TaskResult

Kind: TypeAlias = Literal["map", "reduce"]

ERRORS_MAX: Final = 4
"""A task whose program says so often that it cannot goes wrong for a reason that another try does not cure."""
LOSSES_MAX: Final = 40
"""A task may be lost, with its process or its node, so often: by faults, or since it kills its process itself."""


class JobFailed(Exception):  # ends the coordinator's work, and becomes the job's result
    """There is no use in going on."""


class Counters(msgspec.Struct):
    """What a job took. Runs of tasks, but for the bytes."""

    ntask: int = 0
    nmap: int = 0
    nreduce: int = 0
    nfail: int = 0
    nrestart: int = 0
    """Reducers that lost some of their input."""
    nrecover_map: int = 0
    """Map tasks that ran again since their files were lost, or that a former coordinator had begun."""
    nrecover_reduce: int = 0
    in_bytes: int = 0
    shuffle_bytes: int = 0
    out_bytes: int = 0


class JobState:
    """The failures of one job's tasks so far, and what reducers lack."""

    def __init__(self) -> None:
        self.counters = Counters()
        self.lost: set[int] = set()
        """Map tasks whose files are gone."""
        self.failures: Counter[Kind] = Counter()
        self._errors: Counter[tuple[Kind, int]] = Counter()
        self._losses: Counter[tuple[Kind, int]] = Counter()

    def ended(self, kind: Kind, result: TaskResult) -> TaskStatus:
        """A run ended: DONE, TODO once more, or ERROR, which a reducer gets until its input is there again. JobFailed
        if a task cannot be done."""
        counters = self.counters
        counters.ntask += 1
        status = result.status
        if status is not None and status.is_ok():
            self._count(kind, status.data)
            return TaskStatus.DONE
        if status is not None and kind == "reduce" and status.is_err() and status.msg == RESTART:
            counters.nrestart += 1
            self.lost.update(_numbers(status.data))
            return TaskStatus.ERROR
        counters.nfail += 1
        self.failures[kind] += 1
        told = str(status if status is not None else result.error)
        task = (kind, result.id)
        if status is not None and status.is_fatal():
            raise JobFailed(f"{kind} task {result.id}: {status.msg}")
        if status is not None and status.is_err() and not status.is_crash() and status.data != CUT_OFF:
            self._errors[task] += 1
            if self._errors[task] >= ERRORS_MAX:
                raise JobFailed(f"{kind} task {result.id} failed {ERRORS_MAX} times: {told}")
        else:
            self._losses[task] += 1
            if self._losses[task] >= LOSSES_MAX:
                raise JobFailed(f"{kind} task {result.id} was lost {LOSSES_MAX} times: {told}")
        return TaskStatus.TODO

    def _count(self, kind: Kind, data: Any) -> None:
        counters = self.counters
        if kind == "map":
            counters.nmap += 1
            counters.in_bytes += data["in"]
            counters.shuffle_bytes += data["out"]
        else:
            counters.nreduce += 1
            counters.out_bytes += data["out"]

    def taken_over(self, maps_count: int, reduces_count: int) -> None:
        """What a former coordinator left under way begins anew."""
        self.counters.nrecover_map += maps_count
        self.counters.nrecover_reduce += reduces_count

    def take_lost(self) -> list[int]:
        """The map tasks that have to run again, once."""
        lost, self.lost = sorted(self.lost), set()
        self.counters.nrecover_map += len(lost)
        return lost


def _numbers(data: object) -> Iterable[int]:
    return [number for number in data if isinstance(number, int)] if isinstance(data, list) else []
