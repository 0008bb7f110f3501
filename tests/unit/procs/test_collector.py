"""The telling of which statuses were taken, and its end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sigmaos_ray.procclnt import exits

if TYPE_CHECKING:
    import pytest


async def test_close_tells_what_was_taken() -> None:
    told: dict[str, list[str]] = {}

    async def tell(kernel: str, pids: list[str]) -> None:
        await asyncio.sleep(0)
        told[kernel] = pids

    collector = exits.Collector(tell)
    collector.taken("here", "p1")
    collector.taken("here", "p2")
    await collector.close()
    assert told == {"here": ["p1", "p2"]}


async def test_close_gives_up_on_a_schedd_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exits, "_CLOSE_WAIT_S", 0.01)
    ended = asyncio.Event()

    async def tell(kernel: str, pids: list[str]) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.set()

    collector = exits.Collector(tell)
    collector.taken("gone", "p1")
    await collector.close()
    assert ended.is_set()
