"""The end of a journal, over files in memory."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from user.kv.journal import KvJournal
from user.kv.state import EMPTY, ShardTable

if TYPE_CHECKING:
    from sigmaos_ray import serr


class MemoryFiles:
    """Files in memory, which tell what is not closed; renames wait for ``renames``."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.open: set[str] = set()
        self.renames = asyncio.Event()
        self.renaming = asyncio.Event()

    async def sizes(self) -> dict[str, int]:
        return {name: len(data) for name, data in self.files.items()}

    async def read(self, name: str) -> bytes:
        return self.files[name]

    async def create(self, name: str) -> None:
        await asyncio.sleep(0)
        self.files[name] = b""
        self.open.add(name)

    async def append(self, name: str, data: bytes) -> None:
        await asyncio.sleep(0)
        self.files[name] += data

    async def close_file(self, name: str) -> None:
        await asyncio.sleep(0)
        self.open.discard(name)

    async def rename(self, name: str, new: str) -> None:
        self.renaming.set()
        await self.renames.wait()
        self.files[new] = self.files.pop(name)

    async def remove(self, name: str) -> None:
        self.files.pop(name, None)


async def test_what_a_snapshot_begins_is_waited_for() -> None:
    """It ends later than the writer, and begins it again where another one was asked for meanwhile."""
    files, table = MemoryFiles(), ShardTable()
    errors: list[serr.SigmaError] = []
    journal = KvJournal(files, table, errors.append)
    await journal.load()
    await journal.wait(journal.add(*table.install(0, (1, 1), 0, 0, EMPTY, last=True)))
    journal.turn()
    await files.renaming.wait()
    journal.turn()
    closing = asyncio.create_task(journal.close())
    await asyncio.sleep(0)
    files.renames.set()
    await closing
    assert (files.open, errors) == (set(), [])
    assert sorted(files.files) == ["log-000000003", "snap-000000003"]
