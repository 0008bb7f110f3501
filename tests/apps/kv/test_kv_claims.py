"""Who starts a store claims its name first; memfs stands in for named here."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from sigmaos_ray import AsyncSigmaClnt, serr
from sigmaos_ray.config import ProcEnv
from sigmaos_ray.memfs import MemFs
from sigmaos_ray.protsrv.server import FileServer
from sigmaos_ray.protsrv.watch import WatchTable
from sigmaos_ray.sessp.channel import close_channels
from user.kv.job import AsyncKvJob

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sigmaos_ray.pb.sessp_pb2 import Request

WAIT_S = 60.0


@pytest.fixture
async def sc() -> AsyncIterator[AsyncSigmaClnt]:
    watches = WatchTable()
    fs = MemFs(watches)
    server = FileServer(fs.root, watches, fences=fs.fences, leases=fs.leases)
    async with AsyncSigmaClnt(ProcEnv(pid="test", named=await server.start())) as clnt:
        yield clnt
    await server.stop()
    await close_channels()


async def test_a_start_that_is_given_up_while_its_claim_is_on_its_way(sc: AsyncSigmaClnt) -> None:
    """The claim is made all the same, and taken back behind who gave up."""
    job = AsyncKvJob(sc, "s")
    claims_count = 0

    async def give_up(request: Request) -> None:
        nonlocal claims_count
        if request.HasField("putfile"):
            claims_count += 1
            starting.cancel()

    sc.core.fids.before_sending = give_up
    starting = asyncio.create_task(job.start())
    with pytest.raises(asyncio.CancelledError):
        await starting
    sc.core.fids.before_sending = None
    async with asyncio.timeout(WAIT_S):
        while "s" in await AsyncKvJob.all(sc):  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(0.02)
    assert claims_count == 1
    with pytest.raises(serr.NotFound):
        await job.config()
    await job.close()
