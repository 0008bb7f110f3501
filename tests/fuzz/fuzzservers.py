"""What is attacked, with limits that a test can wait for."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from sigmaos_ray import config
from sigmaos_ray.memfs import MemFs
from sigmaos_ray.protsrv.server import FileServer
from sigmaos_ray.protsrv.watch import WatchTable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sigmaos_ray.config import Config

ENDS_SOON = config.Session(session_timeout_s=0.3, hello_timeout_s=1.0)
"""Sessions whose stream broke are gone while a test can wait for it."""

CONFIG = config.Config(session=ENDS_SOON)


@asynccontextmanager
async def memfs(changed: Config = CONFIG) -> AsyncIterator[FileServer]:
    """A server in memory with limits of its own."""
    watches = WatchTable(changed.store)
    fs = MemFs(watches, limits=changed.store)
    server = FileServer(fs.root, watches, config=changed, fences=fs.fences, leases=fs.leases)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
