"""A named in memory, which ux advertises itself in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest_asyncio

from sigmaos_ray.memfs import MemFs
from sigmaos_ray.protsrv.node import OpenHow
from sigmaos_ray.protsrv.server import FileServer
from sigmaos_ray.protsrv.watch import WatchTable
from sigmaos_ray.rpcsrv import Caller
from sigmaos_ray.sessp.channel import close_channels
from sigmaos_ray.sigmap import DMDIR, OREAD

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sigmaos_ray.sigmap import Endpoint


@pytest_asyncio.fixture
async def named() -> AsyncIterator[Endpoint]:
    watches = WatchTable()
    fs = MemFs(watches)
    for name in ("s3", "ux"):
        await fs.root.create(Caller(), name, OpenHow(OREAD, DMDIR | 0o777))
    server = FileServer(fs.root, watches, leases=fs.leases)
    yield await server.start()
    await server.stop()
    await close_channels()
