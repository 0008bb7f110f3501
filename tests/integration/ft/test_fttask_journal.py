"""A task server's files, after servers that were killed at any point (FT-1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from sigmaos_ray import serr
from sigmaos_ray.config import ProcEnv
from sigmaos_ray.fslib import AsyncFsLib, names
from sigmaos_ray.memfs import MemFs
from sigmaos_ray.protsrv.server import FileServer
from sigmaos_ray.protsrv.watch import WatchTable
from sigmaos_ray.sessp.channel import close_channels
from user.fttask_srv.journal import TaskJournal
from user.fttask_srv.state import TaskTable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sigmaos_ray import AsyncSigmaClnt
    from sigmaos_ray.sigmap import Endpoint

WRITES_COUNT = 210
"""More than a journal has files before a snapshot takes their place."""


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    watches = WatchTable()
    fs = MemFs(watches)
    server = FileServer(fs.root, watches, fences=fs.fences, leases=fs.leases)
    yield await server.start()
    await server.stop()
    await close_channels()


class KilledClnt(AsyncFsLib):
    """A client that ends after some of its removals."""

    removals_left = 100

    async def remove(self, pn: str, *args: object) -> None:
        if not self.removals_left:
            raise serr.Unreachable(pn, "a test")
        self.removals_left -= 1
        await super().remove(pn)


async def life(endpoint: Endpoint, first: int, kind: type[AsyncFsLib]) -> list[serr.SigmaError]:
    """One server's life, from ``first`` on; the errors that would have ended it."""
    sc = kind(ProcEnv(pid="test", named=endpoint))
    lost: list[serr.SigmaError] = []
    table = TaskTable()
    journal = TaskJournal(cast("AsyncSigmaClnt", sc), "name/tasks", lost.append)
    await journal.load(table)
    for number in range(first, first + WRITES_COUNT):
        _, change = table.submit([(number, b"")])
        assert change is not None
        table.apply(change)
        try:
            await journal.write(change)
        except serr.IOErr:
            break
    await journal.close()
    await sc.close_fs()
    return lost


async def test_a_server_that_was_killed_while_it_removed_what_a_snapshot_has(endpoint: Endpoint) -> None:
    assert await life(endpoint, 0, KilledClnt)
    sc = AsyncFsLib(ProcEnv(pid="test", named=endpoint))
    left = names(await sc.get_dir("name/tasks/log"))
    assert 0 < len(left) < WRITES_COUNT
    assert not await life(endpoint, 1000, AsyncFsLib)
    assert not set(left).intersection(names(await sc.get_dir("name/tasks/log")))
    assert [name for name in names(await sc.get_dir("name/tasks/snapshot")) if "." not in name]
    await sc.close_fs()
