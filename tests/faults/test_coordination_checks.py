"""The plans, and that the checks find what they are there for: pure."""

from __future__ import annotations

from typing import Any

import pytest
from coordination_history import FinalState, Record, check
from coordination_plan import VICTIMS, each_fault, plan

FINAL = FinalState(
    entries={"10-a-0": 11, "20-b-0": 25},
    locked={"12-a-0": 13, "14-b-0": 15},
    files=["last", "x"],
    tasks_done={1: "a", 2: "the run's end"},
    raised_s={"0": 5.0},
)
WELL = [
    Record("a", "lead", "", 10, 0.0, 1.0),
    Record("a", "write", "10-a-0", 10, 1.0, 2.0),
    Record("a", "write", "10-a-1", 10, 9.0, 9.5, "Stale"),
    Record("a", "write", "10-a-2", 10, 9.0, 9.5, "IOErr"),
    Record("b", "lead", "", 20, 3.0, 4.0),
    Record("b", "write", "20-b-0", 20, 4.0, 5.0),
    Record("a", "held", "", 12, 1.0, 1.0),
    Record("a", "held", "", 12, 2.0, 2.0),
    Record("a", "locked", "12-a-0", 12, 1.0, 2.0),
    Record("b", "held", "", 14, 3.0, 3.0),
    Record("b", "locked", "14-b-0", 14, 3.0, 4.0),
    Record("a", "down", "0", 0, 0.0, 5.1),
    Record("a", "view", "last x", 0, 0.0, 9.0),
    Record("a", "acquire", "", 1, 0.0, 1.0),
    Record("a", "output", "", 1, 1.0, 2.0),
]
WRONG = {
    "two leaders in an epoch": Record("b", "lead", "", 10, 0.0, 1.0),
    "an epoch that does not grow": Record("c", "lead", "", 9, 6.0, 7.0),
    "a write of a deposed leader": Record("c", "lead", "", 11, 0.5, 5.0),
    "a lost write": Record("a", "write", "10-a-3", 10, 1.0, 2.0),
    "a refused write that is there": Record("a", "write", "10-a-0", 10, 1.0, 2.0, "Stale"),
    "two holders at a time": Record("c", "held", "", 13, 1.5, 1.5),
    "a write under somebody else's lock": Record("c", "held", "", 13, 2.5, 2.5),
    "two that hold the same": Record("b", "held", "", 12, 2.0, 2.0),
    "a semaphore that lets pass": Record("b", "down", "0", 0, 0.0, 4.9),
    "a watcher that missed one": Record("b", "view", "last", 0, 0.0, 9.0),
    "a watcher that heard of one too many": Record("b", "view", "last x y", 0, 0.0, 9.0),
    "a task for two": Record("b", "acquire", "", 1, 0.0, 1.0),
    "an output that is lost": Record("b", "output", "", 2, 1.0, 2.0),
    "a client that hangs": Record("a", "stuck", "_lock", 0, 1.0, 2.0),
}


def test_nothing_is_wrong_with_what_may_be() -> None:
    assert check(WELL, FINAL) == []


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
def test_what_must_not_be_is_found(wrong: Record) -> None:
    final = FINAL
    if wrong.number == 13:  # a lock file between the two
        final = FinalState(**{**final_fields(), "locked": {"12-a-0": 14, "14-b-0": 15}})
    assert check([*WELL, wrong], final)


def final_fields() -> dict[str, Any]:
    return {name: getattr(FINAL, name) for name in FinalState.__struct_fields__}


def test_what_is_left_behind_is_wrong() -> None:
    (violation,) = check(WELL, FinalState(**{**final_fields(), "left_behind": ["name/ux/run/lock"]}))
    assert "name/ux/run/lock" in violation


def test_a_seed_makes_one_plan() -> None:
    assert plan(7, 2) == plan(7, 2)
    assert plan(7, 2) != plan(8, 2)


def test_all_faults_come_up_alone_and_together() -> None:
    steps = [step for seed in range(300) for step in plan(seed, 2)]
    all_of_them = {(how, whom) for how, victims in VICTIMS.items() for whom in victims}
    assert {(fault.how, fault.whom) for step in steps for fault in step.faults} == all_of_them
    assert {len(step.faults) for step in steps} == {1, 2, 3}
    assert [(fault.how, fault.whom) for step in each_fault(2) for fault in step.faults] == [
        (how, whom) for how, victims in VICTIMS.items() for whom in victims
    ]
