"""What a group of procs decides (L-40 to L-44)."""

from __future__ import annotations

import pytest

from sigmaos_ray import Status
from sigmaos_ray.ft.groupstate import FIRST_PAUSE_S, LIVED_S, PAUSE_S_MAX, GroupState

CRASH = Status.err("signal: killed")


def test_no_members_means_one() -> None:
    assert len(GroupState(0).members) == 1
    assert len(GroupState(3).members) == 3


def test_a_failing_member_is_started_less_and_less_often() -> None:
    """L-41."""
    group = GroupState(2)
    pauses = [group.exited(0, CRASH, 0.1) for _ in range(8)]
    assert pauses[:4] == [FIRST_PAUSE_S, 2 * FIRST_PAUSE_S, 4 * FIRST_PAUSE_S, 8 * FIRST_PAUSE_S]
    assert pauses[-1] == PAUSE_S_MAX
    assert group.failed(1) == FIRST_PAUSE_S


def test_a_member_that_lived_long_comes_back_at_once() -> None:
    group = GroupState(1)
    group.exited(0, CRASH, 0.1)
    assert group.exited(0, CRASH, LIVED_S) == 0
    assert group.exited(0, CRASH, 0.1) == FIRST_PAUSE_S


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
