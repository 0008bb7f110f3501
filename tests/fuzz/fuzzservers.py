"""File servers to attack, without Ray: memfs, named over etcd, ux over a directory, s3 over moto."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from kernel.named.server import NamedServer
from kernel.shell import KernelArgs
from kernel.ux.fs import UxFs
from kernel.ux.store import UxStore
from sigmaos_ray import config
from sigmaos_ray.memfs import MemFs
from sigmaos_ray.protsrv.server import FileServer
from sigmaos_ray.protsrv.watch import WatchTable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sigmaos_ray.config import Config
    from sigmaos_ray.sigmap import Endpoint

ENDS_SOON = config.Session(session_timeout_s=0.3, hello_timeout_s=1.0)
"""Sessions whose stream broke are gone while a test can wait for it."""

CONFIG = config.Config(session=ENDS_SOON)


@asynccontextmanager
async def memfs(changed: Config = CONFIG) -> AsyncIterator[FileServer]:
    watches = WatchTable(changed.store)
    fs = MemFs(watches, limits=changed.store)
    server = FileServer(fs.root, watches, config=changed, fences=fs.fences, leases=fs.leases)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@asynccontextmanager
async def ux(directory: Path) -> AsyncIterator[FileServer]:
    store = UxStore(str(directory), CONFIG.proxy.ux_threads)
    watches = WatchTable()
    fs = UxFs(store, watches)
    server = FileServer(fs.root, watches, config=CONFIG, fences=fs.fences, leases=fs.leases)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
        store.close()


@asynccontextmanager
async def s3(endpoint: str, bucket: str) -> AsyncIterator[FileServer]:
    from kernel.s3.fs import S3Fs
    from kernel.s3.store import S3Store

    store = await asyncio.to_thread(S3Store, endpoint, None)
    watches = WatchTable()
    server = FileServer(S3Fs(store, watches).root, watches, config=CONFIG)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
        store.close()


@asynccontextmanager
async def named(etcd_endpoint: str, realm: str) -> AsyncIterator[Endpoint]:
    args = KernelArgs(kernel_id="sigma-1", realm=realm, etcd_endpoints=(etcd_endpoint,))
    server = NamedServer(args, config=CONFIG)
    endpoint = await server.start()
    try:
        yield endpoint
    finally:
        await server.stop()
