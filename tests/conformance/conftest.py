"""One suite, run over every file server. A fixture gives a client and an empty directory of the server under test."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from sigmaos_ray.config import ProcEnv
from sigmaos_ray.fslib import AsyncFsLib
from sigmaos_ray.memfs import MemFs
from sigmaos_ray.protsrv.server import FileServer
from sigmaos_ray.protsrv.watch import WatchTable
from sigmaos_ray.sessp.channel import close_channels

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sigmaos_ray.protsrv.node import Dir


@dataclass(frozen=True)
class Tree:
    """The server under test: a client of it, and a directory to work in."""

    sc: AsyncFsLib
    root: str
    server: FileServer
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
        yield Tree(sc, "name/t", server)
    finally:
        await sc.close_fs()
        await server.stop()
        await close_channels()


@asynccontextmanager
async def _memfs(_: Path) -> AsyncIterator[Tree]:
    watches = WatchTable()
    async with _serve(MemFs(watches).root, watches) as tree:
        yield tree


SERVERS = {"memfs": _memfs}


@pytest_asyncio.fixture(params=sorted(SERVERS))
async def tree(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Tree]:
    async with SERVERS[request.param](tmp_path) as served:
        yield served
