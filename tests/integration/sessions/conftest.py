"""A file server in memory, and clients of it, on the test's own loop."""

from __future__ import annotations

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


@pytest.fixture(params=["grpc", "plain"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The kind of the connections that clients make."""
    monkeypatch.setenv("SIGMAOS_TRANSPORT", request.param)
    return str(request.param)


@pytest_asyncio.fixture
async def server(kind: str) -> AsyncIterator[FileServer]:
    watches = WatchTable()
    served = FileServer(MemFs(watches).root, watches)
    await served.start()
    yield served
    await served.stop()
    await close_channels()


@pytest_asyncio.fixture
async def sc(server: FileServer) -> AsyncIterator[AsyncFsLib]:
    client = AsyncFsLib(ProcEnv(pid="test", named=server.endpoint))
    yield client
    await client.close_fs()
