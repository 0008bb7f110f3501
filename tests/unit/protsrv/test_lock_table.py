"""Locks by key: what excludes what, that all come in turn, and that a cancelled waiter leaves nothing behind."""

from __future__ import annotations

import asyncio

import pytest

from sigmaos_ray.protsrv.locks import LockTable

Key = tuple[int, str]


async def _turns(count: int = 3) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


class Holder:
    """Holds locks in a task until told to let go."""

    def __init__(self, table: LockTable[Key], **locks: list[Key]) -> None:
        self.inside = asyncio.Event()
        self.go = asyncio.Event()
        self.task = asyncio.create_task(self._hold(table, locks))

    async def _hold(self, table: LockTable[Key], locks: dict[str, list[Key]]) -> None:
        async with table.hold(**locks):
            self.inside.set()
            await self.go.wait()

    async def end(self) -> None:
        self.go.set()
        await self.task


A, B = (1, "a"), (2, "b")


@pytest.mark.parametrize(
    ("first", "second", "together"),
    [
        ({"exclusive": [A]}, {"exclusive": [A]}, False),
        ({"exclusive": [A]}, {"shared": [A]}, False),
        ({"shared": [A]}, {"exclusive": [A]}, False),
        ({"shared": [A]}, {"shared": [A]}, True),
        ({"exclusive": [A]}, {"exclusive": [B]}, True),
        ({"shared": [A], "exclusive": [A]}, {"shared": [A]}, False),
    ],
)
async def test_what_excludes_what(first: dict[str, list[Key]], second: dict[str, list[Key]], together: bool) -> None:
    table: LockTable[Key] = LockTable()
    one, two = Holder(table, **first), Holder(table, **second)
    await _turns()
    assert one.inside.is_set()
    assert two.inside.is_set() is together
    await one.end()
    await _turns()
    assert two.inside.is_set()
    await two.end()
    assert len(table) == 0


async def test_readers_do_not_starve_a_writer() -> None:
    table: LockTable[Key] = LockTable()
    reader = Holder(table, shared=[A])
    writer = Holder(table, exclusive=[A])
    await _turns()
    late = Holder(table, shared=[A])
    await _turns()
    assert not late.inside.is_set()
    await reader.end()
    await _turns()
    assert writer.inside.is_set()
    assert not late.inside.is_set()
    await writer.end()
    await late.end()
    assert len(table) == 0


async def test_opposite_orders_do_not_deadlock() -> None:
    table: LockTable[Key] = LockTable()

    async def work(keys: list[Key]) -> None:
        for _ in range(50):
            async with table.hold(exclusive=keys):
                await asyncio.sleep(0)

    await asyncio.wait_for(asyncio.gather(work([A, B]), work([B, A]), work([B])), 10)
    assert len(table) == 0


async def test_a_cancelled_waiter_passes_its_turn_on() -> None:
    table: LockTable[Key] = LockTable()
    holder, waiter, last = (Holder(table, exclusive=[A]) for _ in range(3))
    await _turns()
    waiter.task.cancel()
    await _turns()
    await holder.end()
    await _turns()
    assert last.inside.is_set()
    await last.end()
    assert len(table) == 0


async def test_a_waiter_cancelled_at_its_turn_passes_it_on() -> None:
    table: LockTable[Key] = LockTable()
    holder, waiter, last = (Holder(table, exclusive=[A]) for _ in range(3))
    await _turns()
    holder.go.set()
    while not holder.task.done():
        await asyncio.sleep(0)
        waiter.task.cancel()
    await _turns(5)
    assert last.inside.is_set()
    await last.end()
    assert len(table) == 0


async def test_what_is_readable_at_once() -> None:
    table: LockTable[Key] = LockTable()
    key = (1, "a")
    assert table.is_readable(key)
    reader = Holder(table, shared=[key])
    await reader.inside.wait()
    assert table.is_readable(key)
    writer = Holder(table, exclusive=[key])
    await _turns()
    assert not table.is_readable(key), "a writer waits, and is not starved"
    reader.go.set()
    await writer.inside.wait()
    assert not table.is_readable(key)
    writer.go.set()
    await writer.task
    await reader.task
    assert table.is_readable(key)
