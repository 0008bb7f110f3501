"""Fences (L-20, L-21)."""

from __future__ import annotations

import pytest

from sigmaos_ray import serr
from sigmaos_ray.protsrv.fences import FenceTable
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


def test_order_is_epoch_then_seqno() -> None:
    assert Fence("x", 1, 9) < Fence("x", 2, 0) < Fence("x", 2, 1)
    assert not NO_FENCE
