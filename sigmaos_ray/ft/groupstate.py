"""What a group of procs decides (L-40 to L-44). Pure: starts and ends go in, restarts and pauses come out; no clock."""

from __future__ import annotations

import msgspec

from sigmaos_ray.ft.tuning import GROUP
from sigmaos_ray.proc import Status, Tpid


class Member(msgspec.Struct):
    """One member, through all its lives."""

    starts_count: int = 0
    pid: Tpid = ""
    """Of the life that runs, or was the last."""
    status: Status | None = None
    """Of the last life that ended."""
    failures_count: int = 0
    """Lives in a row that were too short to count, or could not begin."""


class GroupState:
    """The members of one group, and whether it goes on."""

    def __init__(self, members_count: int) -> None:
        self.members = [Member() for _ in range(max(members_count, 1))]
        self.ending = False
        """True once a member exited as it should, or somebody stopped the group: nobody is started again."""

    def starting(self, number: int, pid: Tpid) -> int:
        """A life begins, under that pid; returns how many that makes."""
        member = self.members[number]
        member.starts_count += 1
        member.pid = pid
        return member.starts_count

    def exited(self, number: int, status: Status, lived_s: float) -> float | None:
        """A life ended; how many seconds to wait before the next one, None if there is none.

        The first member that exits OK, evicted or fatal ends the group (L-42)."""
        member = self.members[number]
        member.status = status
        if status.is_ok() or status.is_evicted() or status.is_fatal():
            self.ending = True
        return self._pause_s(member, lived_s)

    def failed(self, number: int) -> float | None:
        """A life could not begin; returns the same as ``exited``."""
        return self._pause_s(self.members[number], 0.0)

    def _pause_s(self, member: Member, lived_s: float) -> float | None:
        if self.ending:
            return None
        if lived_s >= GROUP.lived_s:
            member.failures_count = 0
            return 0.0
        member.failures_count += 1
        # Bounded: after hours of crashes the shift would make a number that no float holds.
        doublings = min(member.failures_count - 1, 10)
        return min(GROUP.first_pause_s * float(1 << doublings), GROUP.pause_s_max)

    def nstart(self) -> int:
        """Starts of all members together (L-44)."""
        return sum(member.starts_count for member in self.members)
