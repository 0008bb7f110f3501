"""What a group of procs decides (L-40 to L-44)."""

from __future__ import annotations

import pytest

from sigmaos_ray import Status
from sigmaos_ray.ft.groupstate import GroupState
from sigmaos_ray.ft.tuning import GROUP

CRASH = Status.err("signal: killed")


def test_no_members_means_one() -> None:
    assert len(GroupState(0).members) == 1
    assert len(GroupState(3).members) == 3


def test_a_failing_member_is_started_less_and_less_often() -> None:
    """L-41."""
    group = GroupState(2)
    pauses = [group.exited(0, CRASH, 0.1) for _ in range(8)]
    assert pauses[:4] == [
        GROUP.first_pause_s,
        2 * GROUP.first_pause_s,
        4 * GROUP.first_pause_s,
        8 * GROUP.first_pause_s,
    ]
    assert pauses[-1] == GROUP.pause_s_max
    assert group.failed(1) == GROUP.first_pause_s


def test_a_member_that_lived_long_comes_back_at_once() -> None:
    group = GroupState(1)
    group.exited(0, CRASH, 0.1)
    assert group.exited(0, CRASH, GROUP.lived_s) == 0
    assert group.exited(0, CRASH, 0.1) == GROUP.first_pause_s


@pytest.mark.parametrize("status", [Status.ok(), Status.evicted(), Status.fatal("no use")])
def test_the_first_good_end_ends_the_group(status: Status) -> None:
    """L-42: nobody is started again."""
    group = GroupState(2)
    assert group.exited(0, status, 1) is None
    assert group.ending
    assert group.exited(1, CRASH, 1) is None
    assert group.failed(1) is None
    assert [member.status for member in group.members] == [status, CRASH]


def test_starts_are_counted_together() -> None:
    """L-44."""
    group = GroupState(2)
    assert group.starting(0, "a-1") == 1
    assert group.starting(0, "a-2") == 2
    assert group.starting(1, "b-1") == 1
    assert group.nstart() == 3
    assert [member.pid for member in group.members] == ["a-2", "b-1"]
