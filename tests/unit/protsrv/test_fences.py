"""Fences (L-20, L-21)."""

from __future__ import annotations

import pytest

from sigmaos_ray import serr
from sigmaos_ray.config import Store
from sigmaos_ray.protsrv.fences import FORGOTTEN, FenceTable
from sigmaos_ray.sigmap import NO_FENCE, Fence


def test_older_is_stale_equal_passes_newer_is_remembered() -> None:
    table = FenceTable()
    table.check(Fence("election", 2, 1))
    table.check(Fence("election", 2, 1))
    with pytest.raises(serr.Stale, match="election"):
        table.check(Fence("election", 2, 0))
    table.check(Fence("election", 3, 0))
    with pytest.raises(serr.Stale):
        table.check(Fence("election", 2, 9))
    assert table.newest() == [Fence("election", 3, 0)]


def test_pathnames_are_apart_and_no_fence_always_passes() -> None:
    table = FenceTable()
    table.check(Fence("a", 5, 0))
    table.check(Fence("b", 1, 0))
    table.check(NO_FENCE)
    assert len(table.newest()) == 2


def test_what_was_not_used_for_longest_is_forgotten_and_its_leaders_stay_out() -> None:
    changes: list[list[Fence]] = []
    table = FenceTable(on_change=lambda: changes.append(table.newest()), limits=Store(fences_max=3))
    for pathname, epoch in (("a", 10), ("b", 11), ("c", 12), ("a", 10), ("d", 13)):
        table.check(Fence(pathname, epoch))
    assert table.newest() == [Fence("a", 10), Fence("c", 12), Fence("d", 13), Fence(FORGOTTEN, 11)]
    for out in (Fence("b", 10), Fence("b", 11), Fence("unknown", 11, 5)):
        with pytest.raises(serr.Stale, match="elected again"):
            table.check(out)
    table.check(Fence("a", 10))
    table.check(Fence("b", 14))
    assert table.newest() == [Fence("a", 10), Fence("b", 14), Fence("d", 13), Fence(FORGOTTEN, 12)]
    with pytest.raises(serr.Inval):
        table.check(Fence(FORGOTTEN, 99))
    restarted = FenceTable(changes[-1], limits=Store(fences_max=3))
    for epoch, pathname in ((12, "c"), (12, "unknown")):
        with pytest.raises(serr.Stale):
            restarted.check(Fence(pathname, epoch))
    restarted.check(Fence("unknown", 15))
    assert Fence(FORGOTTEN, 12) in restarted.newest(), "the oldest election that is known goes first"


def test_of_two_fences_none_is_remembered_if_one_is_refused() -> None:
    table = FenceTable([Fence("a", 5)])
    with pytest.raises(serr.Stale):
        table.check(Fence("b", 7), Fence("a", 4))
    assert table.newest() == [Fence("a", 5)]
    table.check(Fence("b", 7), Fence("a", 6))
    assert table.newest() == [Fence("a", 6), Fence("b", 7)]


def test_order_is_epoch_then_seqno() -> None:
    assert Fence("x", 1, 9) < Fence("x", 2, 0) < Fence("x", 2, 1)
    assert not NO_FENCE
