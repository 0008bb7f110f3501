"""Clerks at work on a few keys, and what they recorded."""

from __future__ import annotations

import asyncio
import itertools
import random
from typing import TYPE_CHECKING, Self

from kv_model import REFUSED, SET, cas_argument

from sigmaos_ray import AsyncSigmaClnt, serr
from sigmaos_ray.testing.history import Recorder
from user.kv.clnt import AsyncKvClerk

if TYPE_CHECKING:
    from sigmaos_ray.config import ProcEnv
    from sigmaos_ray.testing.history import Operation

KEYS = [f"key-{number}" for number in range(8)]


class KvClients:
    """So many clerks, each with sessions of its own, at work for as long as the block lasts."""

    def __init__(self, envs: list[ProcEnv], job: str, seed: int, pause_s: float = 0.002) -> None:
        self._envs = envs
        self._job = job
        self._seed = seed
        self._pause_s = pause_s
        self._ending = asyncio.Event()
        self._tasks: list[asyncio.Task[list[Operation]]] = []
        self.slowest_s = 0.0
        """Of all calls that were answered."""
        self.calls_count = 0

    async def __aenter__(self) -> Self:
        for number, env in enumerate(self._envs):
            self._tasks.append(asyncio.create_task(self._work(number, env), name=f"clerk-{number}"))
        await self.wait_calls(10 * len(self._envs))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)

    async def wait_calls(self, more: int) -> None:
        """Until so many more calls were answered."""
        until = self.calls_count + more
        while self.calls_count < until:
            for task in self._tasks:
                if task.done():
                    task.result()
            await asyncio.sleep(0.01)

    async def history(self) -> list[Operation]:
        """Lets the clerks end what they are at; returns what all of them did."""
        self._ending.set()
        parts = await asyncio.gather(*self._tasks)
        return [operation for part in parts for operation in part]

    async def _work(self, number: int, env: ProcEnv) -> list[Operation]:
        chance = random.Random(f"{self._seed}-{number}")
        recorder = Recorder(f"c{number}")
        async with AsyncSigmaClnt(env) as sc:
            clerk = AsyncKvClerk(sc, self._job)
            try:
                for count in itertools.count():
                    if self._ending.is_set():
                        break
                    await self._one(clerk, recorder, chance, f"{number}.{count};".encode())
                    await asyncio.sleep(self._pause_s)
            finally:
                await clerk.close()
        return recorder.operations

    async def _one(self, clerk: AsyncKvClerk, recorder: Recorder, chance: random.Random, mark: bytes) -> None:
        key = chance.choice(KEYS)
        match chance.choices(["get", "append", "put", "cas", "delete"], [8, 8, 1, 2, 0.5])[0]:
            case "get":
                await recorder.run(key, "get", b"", lambda: clerk.get(key))
            case "append":
                await recorder.run(key, "append", mark, lambda: clerk.append(key, mark))
            case "put":
                await recorder.run(key, "put", mark, lambda: clerk.put(key, mark))
            case "delete":
                await recorder.run(key, "delete", b"", lambda: _deleted(clerk, key))
            case "cas":
                expected = await self._expected(clerk, key)
                call = cas_argument(expected, mark)
                await recorder.run(key, "cas", call, lambda: _compared(clerk, key, expected, mark))
        last = recorder.operations[-1]
        self.calls_count += last.is_known
        if last.is_known:
            self.slowest_s = max(self.slowest_s, last.returned_s - last.called_s)

    async def _expected(self, clerk: AsyncKvClerk, key: str) -> bytes | None:
        try:
            return await clerk.get(key)
        except serr.NotFound:
            return None


async def _deleted(clerk: AsyncKvClerk, key: str) -> None:
    if not await clerk.delete(key):
        raise serr.NotFound(f"key {key}")


async def _compared(clerk: AsyncKvClerk, key: str, expected: bytes | None, value: bytes) -> tuple[str, ...]:
    return SET if await clerk.compare_and_set(key, expected, value) else REFUSED
