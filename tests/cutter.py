"""A TCP proxy on loopback that can cut its connections, refuse new ones, and hold traffic back."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Self

from sigmaos_ray.sigmap import Endpoint

if TYPE_CHECKING:
    import random

    from sigmaos_ray.protsrv.server import FileServer


def door(server: FileServer, kind: str) -> str:
    """Where a server takes connections of a kind."""
    [address] = server.endpoint.addrs
    return address if kind == "grpc" else dict(server.endpoint.plain)[address]


def through(cutter: Cutter) -> Endpoint:
    """The server behind a cutter, for clients that are to make connections of one kind."""
    return Endpoint(addrs=(cutter.address,), plain=((cutter.address, cutter.address),))


class Cutter:
    """Forwards to ``target`` (``host:port``). ``cut`` drops what is connected, ``down`` refuses what comes, ``delay_s``
    holds back all that passes, each way; ``silent`` all of it, as a server that was stopped does: it takes connections
    and answers nothing. ``cuts_in``: after how many more bytes, up to the server or down from it, all is cut, once."""

    def __init__(self, target: str) -> None:
        self._host, _, port = target.rpartition(":")
        self._port = int(port)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.down = False
        self._speaks = asyncio.Event()
        self._speaks.set()
        self.delay_s = 0.0
        self.connections_count = 0
        self.cuts_in: dict[str, int] = {}
        self.cuts_count = 0

    @property
    def silent(self) -> bool:
        return not self._speaks.is_set()

    @silent.setter
    def silent(self, silent: bool) -> None:
        if silent:
            self._speaks.clear()
        else:
            self._speaks.set()

    @property
    def open_count(self) -> int:
        """Connections that are open now."""
        return len(self._writers) // 2

    def lead_to(self, target: str) -> None:
        """New connections go elsewhere."""
        self._host, _, port = target.rpartition(":")
        self._port = int(port)

    @property
    def address(self) -> str:
        assert self._server is not None
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def cut(self) -> None:
        """Every connection is gone at once, without a goodbye."""
        for writer in list(self._writers):
            writer.transport.abort()

    def cut_one(self, dice: random.Random) -> None:
        """Any one of them is."""
        if self._writers:
            dice.choice(list(self._writers)).transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.down:
            writer.transport.abort()
            return
        self.connections_count += 1
        try:
            up_reader, up_writer = await asyncio.open_connection(self._host, self._port)
        except OSError:  # nobody is there
            writer.transport.abort()
            return
        pair = {writer, up_writer}
        self._writers |= pair
        for source, sink, way in ((reader, up_writer, "up"), (up_reader, writer, "down")):
            task = asyncio.create_task(self._pump(source, sink, pair, way))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, pair: set[asyncio.StreamWriter], way: str
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                await self._speaks.wait()
                passes = min(len(data), self.cuts_in.get(way, len(data)))
                sink.write(data[:passes])
                await sink.drain()
                if way in self.cuts_in:
                    self.cuts_in[way] -= passes
                    if not self.cuts_in[way]:
                        await self._cut_here(sink, way)
        for writer in pair:
            writer.transport.abort()
        self._writers -= pair

    async def _cut_here(self, sink: asyncio.StreamWriter, way: str) -> None:
        del self.cuts_in[way]
        self.cuts_count += 1
        sink.close()  # behind what was written, which is to arrive
        with contextlib.suppress(OSError):
            await sink.wait_closed()
        self.cut()
