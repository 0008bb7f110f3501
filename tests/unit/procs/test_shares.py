"""Shares of realms that have more to do than runs (C-4)."""

from __future__ import annotations

import itertools

import pytest

from kernel.schedd.shares import Shares, Turn
from sigmaos_ray.config import Scheduling

SLOTS = 4
LIMITS = Scheduling()


def test_whoever_is_alone_is_told_so() -> None:
    shares = Shares(LIMITS)
    assert shares.busy("red", "a", 0.0) == Turn()
    assert Turn().share(SLOTS) == SLOTS


@pytest.mark.parametrize("realms_count", [2, 3, 4, 5, 7])
def test_all_slots_are_given_at_each_moment_and_equally_over_time(realms_count: int) -> None:
    shares = Shares(LIMITS)
    realms = [f"realm-{number}" for number in range(realms_count)]
    slots_of = dict.fromkeys(realms, 0)
    for realm in realms:
        shares.busy(realm, "a", 0.0)
    for step in range(realms_count * 3):
        parts = {realm: shares.busy(realm, "a", step * LIMITS.turn_s).share(SLOTS) for realm in realms}
        assert sum(parts.values()) == SLOTS
        assert max(parts.values()) - min(parts.values()) <= 1
        for realm, part in parts.items():
            slots_of[realm] += part
    assert len(set(slots_of.values())) == 1


def test_a_realms_share_is_divided_among_its_schedds() -> None:
    shares = Shares(LIMITS)
    who = [("red", "a"), ("red", "b"), ("red", "c"), ("blue", "a")]
    for each in who:
        shares.busy(*each, 0.0)
    parts = {each: shares.busy(*each, 0.0).share(SLOTS) for each in who}
    assert parts["blue", "a"] == 2
    assert sorted(parts["red", kernel] for kernel in "abc") == [0, 1, 1]


def test_who_is_not_heard_of_has_no_share() -> None:
    shares = Shares(LIMITS)
    shares.busy("red", "a", 0.0)
    for now_s in itertools.takewhile(lambda now_s: now_s < LIMITS.share_memory_s, itertools.count(0.0, 0.1)):
        assert shares.busy("blue", "a", now_s).realms_count == 2
    assert shares.busy("blue", "a", LIMITS.share_memory_s).is_alone
