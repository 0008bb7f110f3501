"""Servers for the tests of FsLib: in memory, on the test's loop; and on a thread, for blocking clients."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Self

from sigmaos_ray.config import LOCAL, ProcEnv
from sigmaos_ray.fslib import AsyncFsLib
from sigmaos_ray.memfs import MemFs
from sigmaos_ray.protsrv.server import FileServer
from sigmaos_ray.protsrv.watch import WatchTable
from sigmaos_ray.sessp.channel import close_channels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sigmaos_ray.config import Config
    from sigmaos_ray.sigmap import Endpoint


def memfs_server(config: Config = LOCAL) -> FileServer:
    """Not started yet."""
    watches = WatchTable()
    fs = MemFs(watches)
    return FileServer(fs.root, watches, fences=fs.fences, leases=fs.leases, config=config)


async def until(condition: Callable[[], bool]) -> None:
    """Returns once the condition holds, which other tasks of this loop bring about."""
    while not condition():  # noqa: ASYNC110  # nobody tells: counters are looked at
        await asyncio.sleep(0)


class Servers:
    """The root server and others, and their clients; an async context manager ends them all."""

    def __init__(self) -> None:
        self.root = memfs_server()
        self._started: list[FileServer] = []
        self._clnts: list[AsyncFsLib] = []

    async def __aenter__(self) -> Self:
        await self._start(self.root)
        return self

    async def __aexit__(self, *_: object) -> None:
        for clnt in self._clnts:
            await clnt.close_fs()
        for server in self._started:
            await server.stop()
        await close_channels()

    async def _start(self, server: FileServer) -> Endpoint:
        self._started.append(server)
        return await server.start()

    async def another(self) -> FileServer:
        """One more server, empty."""
        server = memfs_server()
        await self._start(server)
        return server

    def clnt(self, *, kernel_id: str = "", config: Config = LOCAL) -> AsyncFsLib:
        """A client of the root server, closed at the end."""
        env = ProcEnv(pid="test", named=self.root.endpoint, kernel_id=kernel_id)
        self._clnts.append(AsyncFsLib(env, config))
        return self._clnts[-1]


class ServerThread:
    """A server on a loop and a thread of its own: a context manager. What a test does on its own thread does not hold
    it up."""

    def __init__(self, config: Config = LOCAL) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="test-server")
        self.server = memfs_server(config)

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self.server.start(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_serving()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def endpoint(self) -> Endpoint:
        return self.server.endpoint

    @contextlib.contextmanager
    def held_up(self) -> Iterator[None]:
        """Within the block its loop does nothing, as if the process were stopped."""
        is_held, goes_on = threading.Event(), threading.Event()

        def hold() -> None:
            is_held.set()
            goes_on.wait()

        self._loop.call_soon_threadsafe(hold)
        is_held.wait()
        try:
            yield
        finally:
            goes_on.set()

    def stop_serving(self) -> None:
        """May be repeated."""
        asyncio.run_coroutine_threadsafe(self.server.stop(), self._loop).result(10)
