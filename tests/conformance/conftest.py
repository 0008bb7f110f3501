"""One suite, run over every file server. A fixture gives a client and an empty directory of the server under test."""

from __future__ import annotations

import secrets
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest_asyncio

from kernel.named.server import NamedServer
from kernel.shell import KernelArgs
from kernel.ux.nodes import UxFs
from kernel.ux.store import UxStore
from sigmaos_ray import config
from sigmaos_ray.config import ProcEnv
from sigmaos_ray.fslib import AsyncFsLib
from sigmaos_ray.memfs import MemFs
from sigmaos_ray.protsrv.server import FileServer
from sigmaos_ray.protsrv.watch import WatchTable
from sigmaos_ray.sessp.channel import close_channels

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import pytest

    from sigmaos_ray.protsrv.node import Dir


@dataclass(frozen=True)
class Tree:
    """The server under test: a client of it, and a directory to work in."""

    sc: AsyncFsLib
    root: str
    large_files: bool = True
    """False: files end at 1 MiB."""

    def __truediv__(self, rest: str) -> str:
        return f"{self.root}/{rest}"


@asynccontextmanager
async def _serve(root: Dir, watches: WatchTable) -> AsyncIterator[Tree]:
    server = FileServer(root, watches)
    sc = AsyncFsLib(ProcEnv(pid="test", named=await server.start()))
    try:
        await sc.mkdir("name/t")
        yield Tree(sc, "name/t")
    finally:
        await sc.close_fs()
        await server.stop()
        await close_channels()


@asynccontextmanager
async def _memfs(_: pytest.FixtureRequest) -> AsyncIterator[Tree]:
    watches = WatchTable()
    async with _serve(MemFs(watches).root, watches) as tree:
        yield tree


@asynccontextmanager
async def _ux(request: pytest.FixtureRequest) -> AsyncIterator[Tree]:
    directory: Path = request.getfixturevalue("tmp_path")
    store = UxStore(str(directory / "ux"), config.LOCAL.proxy.ux_threads)
    watches = WatchTable()
    try:
        async with _serve(UxFs(store, watches).root, watches) as tree:
            yield tree
    finally:
        store.close()


@asynccontextmanager
async def _named(request: pytest.FixtureRequest) -> AsyncIterator[Tree]:
    etcd = request.getfixturevalue("etcd")
    args = KernelArgs(kernel_id="sigma-1", realm=f"c{secrets.token_hex(4)}", etcd_endpoints=(etcd.endpoint,))
    server = NamedServer(args)
    sc = AsyncFsLib(ProcEnv(pid="test", realm=args.realm, named=await server.start()))
    try:
        await sc.mkdir("name/t")
        yield Tree(sc, "name/t", large_files=False)
    finally:
        await sc.close_fs()
        await server.stop()
        await close_channels()


SERVERS = {"memfs": _memfs, "named": _named, "ux": _ux}


@pytest_asyncio.fixture(params=sorted(SERVERS))
async def tree(request: pytest.FixtureRequest) -> AsyncIterator[Tree]:
    async with SERVERS[request.param](request) as served:
        yield served
