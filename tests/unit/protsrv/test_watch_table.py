"""Watches (W-2, W-4): each event once, in order, none lost; ends are told."""

from __future__ import annotations

import asyncio

import pytest

from sigmaos_ray import serr
from sigmaos_ray.config import Store
from sigmaos_ray.protsrv import watch as watches
from sigmaos_ray.protsrv.watch import Event, EventKind, WatchTable


async def test_events_queue_in_order_until_they_are_read() -> None:
    table = WatchTable()
    watch = table.add(1)
    table.created(1, "a")
    table.removed(1, "a")
    table.created(2, "elsewhere")
    assert await watch.read() == [Event(EventKind.CREATED, "a"), Event(EventKind.REMOVED, "a")]


async def test_a_blocked_reader_wakes() -> None:
    table = WatchTable()
    watch = table.add(1)
    reading = asyncio.create_task(watch.read())
    await asyncio.sleep(0)
    assert not reading.done()
    table.created(1, "a")
    assert [event.name for event in await reading] == ["a"]


async def test_dropping_ends_a_blocked_reader_with_closed() -> None:
    table = WatchTable()
    watch = table.add(1)
    reading = asyncio.create_task(watch.read())
    await asyncio.sleep(0)
    table.drop(watch)
    with pytest.raises(serr.Closed):
        await reading
    assert len(table) == 0


async def test_removal_of_the_directory_ends_its_watches_after_their_events() -> None:
    table = WatchTable()
    watch = table.add(1)
    table.removed(1, "last")
    table.end(1)
    assert [event.name for event in await watch.read()] == ["last"]
    with pytest.raises(serr.Closed):
        await watch.read()


async def test_a_reader_that_was_cancelled_loses_nothing() -> None:
    table = WatchTable()
    watch = table.add(1)
    reading = asyncio.create_task(watch.read())
    await asyncio.sleep(0)
    reading.cancel()
    await asyncio.wait({reading})
    table.created(1, "a")
    assert [event.name for event in await watch.read()] == ["a"]


async def test_a_watch_that_nobody_reads_is_bounded() -> None:
    table = WatchTable(Store(watch_events_max=3))
    watch = table.add(1)
    for number in range(5):
        table.created(1, str(number))
    assert len(await watch.read()) == 3
    with pytest.raises(serr.Version, match="over 3 unread events"):
        await watch.read()
    assert table.queued_count == 0


async def test_all_watches_that_nobody_reads_are_bounded_together() -> None:
    """One that is read goes on; the memory of the others stops growing; what is dropped is no longer counted."""
    table = WatchTable(Store(watch_events_total_max=2 * watches.EVENTS_FAIR))
    slow, slower, quick = table.add(1), table.add(1), table.add(1)
    for number in range(3 * watches.EVENTS_FAIR):
        table.created(1, str(number))
        assert [event.name for event in await quick.read()] == [str(number)]
    assert table.queued_count == 2 * watches.EVENTS_FAIR
    assert len(await slow.read()) == watches.EVENTS_FAIR
    with pytest.raises(serr.Version, match="the server's watches"):
        await slow.read()
    table.drop(slower)
    assert table.queued_count == 0


async def test_events_are_read_in_pages() -> None:
    table = WatchTable()
    watch = table.add(1)
    for number in range(5):
        table.created(1, str(number))
    assert [len(await watch.read(2)) for _ in range(3)] == [2, 2, 1]
