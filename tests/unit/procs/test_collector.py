"""The telling of which statuses were taken, and its end."""

from __future__ import annotations

import asyncio

from sigmaos_ray.config import Procs
from sigmaos_ray.procclnt import exits


async def test_close_tells_what_was_taken() -> None:
    collected: dict[str, list[str]] = {}

    async def tell(kernel: str, pids: list[str]) -> None:
        await asyncio.sleep(0)
        collected[kernel] = pids

    collector = exits.Collector(tell, Procs())
    collector.taken("here", "p1")
    collector.taken("here", "p2")
    await collector.close()
    assert collected == {"here": ["p1", "p2"]}


async def test_close_gives_up_on_a_schedd_that_does_not_answer() -> None:
    ended = asyncio.Event()

    async def tell(kernel: str, pids: list[str]) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.set()

    collector = exits.Collector(tell, Procs(close_timeout_s=0.01))
    collector.taken("gone", "p1")
    await collector.close()
    assert ended.is_set()


async def test_a_pid_that_is_used_again_waits_for_the_word_that_is_on_its_way() -> None:
    """Which may take another connection than the spawn."""
    heard = asyncio.Event()
    arrived: list[str] = []

    async def tell(kernel: str, pids: list[str]) -> None:
        await heard.wait()
        arrived.extend(pids)

    collector = exits.Collector(tell, Procs())
    collector.taken("here", "p1")
    collector.soon()
    await collector.before("p2")
    again = asyncio.create_task(collector.before("p1"))
    await asyncio.sleep(0)
    assert not again.done()
    heard.set()
    await again
    assert arrived == ["p1"]
    await collector.close()
