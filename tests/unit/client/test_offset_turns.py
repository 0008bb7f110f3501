"""The lock of what moves a descriptor's offset: tasks wait for threads and for each other, and none for ever."""

from __future__ import annotations

import asyncio
import random
from concurrent.futures import ThreadPoolExecutor

from sigmaos_ray.fslib.fdtable import OffsetTurns
from sigmaos_ray.sessp.aside import Elsewhere, run_direct


async def test_a_turn_is_not_lost_with_who_gave_up_waiting() -> None:
    turns = OffsetTurns()
    got: list[str] = []

    async def waits(name: str) -> None:
        async with turns:
            got.append(name)

    async with turns:
        first, second = (asyncio.create_task(waits(name)) for name in ("first", "second"))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.wait({second})
    await asyncio.wait_for(first, 10)
    assert got == ["first"]


async def test_tasks_and_threads_that_give_up_and_come_again() -> None:
    turns = OffsetTurns()
    dice = random.Random(1)
    inside = 0
    threads_over = False

    async def turn() -> None:
        nonlocal inside
        async with turns:
            inside += 1
            assert inside == 1, "two at a time"
            inside -= 1

    async def patient() -> None:
        for _ in range(300):
            async with turns:
                await asyncio.sleep(0)

    async def impatient() -> None:
        while not threads_over:
            waiting = asyncio.create_task(patient())
            await asyncio.sleep(dice.random() * 0.001)
            waiting.cancel()
            await asyncio.wait({waiting})

    def thread() -> int:
        turns_count = 0
        for _ in range(3000):
            try:
                run_direct(turn())
            except Elsewhere:
                continue
            turns_count += 1
        return turns_count

    with ThreadPoolExecutor(2) as threads:
        loop = asyncio.get_running_loop()
        running = [loop.run_in_executor(threads, thread) for _ in range(2)]
        tasks = [asyncio.create_task(each()) for each in (patient, patient, impatient)]
        await asyncio.gather(*running)
        threads_over = True
        await asyncio.wait_for(asyncio.gather(*tasks), 60)
