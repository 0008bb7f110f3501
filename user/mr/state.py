"""What a coordinator decides (MR-12). Pure: how runs of tasks ended goes in, what becomes of the tasks comes out.

Nothing of it outlives the coordinator: the next one counts failures from 0 on, and finds with the task servers what is
done.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec

from sigmaos_ray.ft.fttask import TaskStatus
from user.mr.tasks import CUT_OFF, RESTART
from user.mr.tuning import COORD

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sigmaos_ray.ft.fttask import TaskResult

Kind: TypeAlias = Literal["map", "reduce"]


class JobFailed(Exception):  # ends the coordinator's work, and becomes the job's result
    """There is no use in going on: the text says why."""


class Counters(msgspec.Struct):
    """What a job took: how many runs of tasks, but for the bytes."""

    ntask: int = 0
    """All of them."""
    nmap: int = 0
    """Map tasks that ended well."""
    nreduce: int = 0
    """Reduce tasks that ended well."""
    nfail: int = 0
    """Those that came to nothing, by an error or by a loss."""
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
        """Map tasks whose files are gone, as reducers found: to run again after this round."""
        self.failures: Counter[Kind] = Counter()
        self._errors: Counter[tuple[Kind, int]] = Counter()
        self._losses: Counter[tuple[Kind, int]] = Counter()

    def end_run(self, kind: Kind, result: TaskResult) -> TaskStatus:
        """Takes note of how a run ended; what the task is to be: DONE, TODO once more, or ERROR, for a reducer whose
        input has to be made again first. JobFailed if the task cannot be done.

        An error is the program's own word; a loss, of a process, a node or a connection, says nothing about the task,
        so many more of these are put up with.
        """
        counters = self.counters
        counters.ntask += 1
        status = result.status
        if status is not None and status.is_ok():
            self._count(kind, status.data)
            return TaskStatus.DONE
        if status is not None and kind == "reduce" and status.is_err() and status.msg == RESTART:
            counters.nrestart += 1
            # ERROR keeps the reducer from running again in this round: its input would still be missing.
            self.lost.update(_numbers(status.data))
            return TaskStatus.ERROR
        counters.nfail += 1
        self.failures[kind] += 1
        reason = str(status if status is not None else result.error)
        task = (kind, result.id)
        # The program says itself that no try can help, such as input that is wrong.
        if status is not None and status.is_fatal():
            raise JobFailed(f"{kind} task {result.id}: {status.msg}")
        # A crash counts as a loss: a process that the system or a fault ended looks the same as one that ended itself.
        if status is not None and status.is_err() and not status.is_crash() and status.data != CUT_OFF:
            self._errors[task] += 1
            if self._errors[task] >= COORD.errors_max:
                raise JobFailed(f"{kind} task {result.id} failed {COORD.errors_max} times: {reason}")
        else:
            self._losses[task] += 1
            if self._losses[task] >= COORD.losses_max:
                raise JobFailed(f"{kind} task {result.id} was lost {COORD.losses_max} times: {reason}")
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

    def take_over(self, maps_count: int, reduces_count: int) -> None:
        """Takes note of so many tasks that a former coordinator left under way, and that begin anew."""
        self.counters.nrecover_map += maps_count
        self.counters.nrecover_reduce += reduces_count

    def take_lost(self) -> list[int]:
        """The map tasks that have to run again, and forgets them."""
        lost, self.lost = sorted(self.lost), set()
        self.counters.nrecover_map += len(lost)
        return lost


def _numbers(data: object) -> Iterable[int]:
    # Data of a status come from a proc, and could be anything.
    return [number for number in data if isinstance(number, int)] if isinstance(data, list) else []
