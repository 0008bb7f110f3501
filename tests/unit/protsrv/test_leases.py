"""Leases that a server keeps itself (L-1, L-4, L-6)."""

from __future__ import annotations

import asyncio

import pytest

from sigmaos_ray import serr
from sigmaos_ray.protsrv.leases import LeaseKeeper, LeaseTable
from sigmaos_ray.sigmap import NO_LEASE


@pytest.fixture
def table() -> LeaseTable:
    return LeaseTable(leases_max=3, ttl_s_min=1, ttl_s_max=10)


def test_a_lease_ends_unless_it_is_extended(table: LeaseTable) -> None:
    first, ttl_s = table.grant(5, now_s=100)
    second, _ = table.grant(5, now_s=100)
    assert ttl_s == 5
    table.extend(first, now_s=104)
    assert table.next_end_s() == 105
    assert table.take_expired(now_s=104.9) == []
    assert table.take_expired(now_s=105) == [second]
    table.check(first)
    with pytest.raises(serr.NotFound):
        table.check(second)
    with pytest.raises(serr.NotFound):
        table.extend(second, now_s=105)
    assert table.take_expired(now_s=109) == [first]
    assert table.next_end_s() is None


def test_times_are_kept_within_bounds(table: LeaseTable) -> None:
    assert table.grant(0.1, 0)[1] == 1
    assert table.grant(1e9, 0)[1] == 10
    for wrong in (0, -1, float("nan")):
        with pytest.raises(serr.Inval):
            table.grant(wrong, 0)


def test_too_many_leases(table: LeaseTable) -> None:
    leases = [table.grant(1, 0)[0] for _ in range(3)]
    with pytest.raises(serr.Retry, match="3 leases"):
        table.grant(1, 0)
    table.end(leases[0])
    table.grant(1, 0)


def test_no_lease_is_always_fine(table: LeaseTable) -> None:
    table.check(NO_LEASE)


def test_ending_twice(table: LeaseTable) -> None:
    lease, _ = table.grant(1, 0)
    table.end(lease)
    with pytest.raises(serr.NotFound):
        table.end(lease)


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


async def test_what_is_over_is_over_at_the_next_request() -> None:
    """L-4: also if the timer is late."""
    ended: list[int] = []
    clock = Clock()
    keeper = LeaseKeeper(ended.append, clock_s=clock)
    lease, _ = keeper.grant(5)
    clock.now_s = 4.9
    keeper.expire()
    assert not ended
    keeper.extend(lease)
    clock.now_s = 9.8
    keeper.expire()
    assert not ended
    clock.now_s = 9.9
    keeper.expire()
    assert ended == [lease]
    with pytest.raises(serr.NotFound):
        keeper.extend(lease)
    keeper.stop()


async def test_a_lease_ends_in_time_though_nobody_asks() -> None:
    over: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    keeper = LeaseKeeper(over.set_result, ttl_s_min=0.01)
    keeper.start()
    lease, _ = keeper.grant(0.01)
    assert await asyncio.wait_for(over, 5) == lease
    assert len(keeper) == 0
    keeper.stop()


async def test_an_ended_lease_takes_its_files_along() -> None:
    ended: list[int] = []
    keeper = LeaseKeeper(ended.append)
    lease, _ = keeper.grant(5)
    keeper.end(lease)
    assert ended == [lease]
    with pytest.raises(serr.NotFound):
        keeper.end(lease)
    keeper.stop()
