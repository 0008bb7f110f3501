"""A server with a certificate, and clients that reach it over TCP, though it is on their machine."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING

import msgspec
from tlsplaces import LIMITS, host_place

from sigmaos_ray import config as configuration
from sigmaos_ray.config import ProcEnv
from sigmaos_ray.fslib import AsyncFsLib
from sigmaos_ray.memfs import MemFs
from sigmaos_ray.pb.rpc_pb2 import RpcReply, RpcRequest
from sigmaos_ray.protsrv.server import FileServer
from sigmaos_ray.protsrv.watch import WatchTable
from sigmaos_ray.sigmap import Endpoint
from sigmaos_ray.tls.authority import Authority
from sigmaos_ray.tls.identity import identity_at

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sigmaos_ray.config import Config
    from sigmaos_ray.rpcsrv import RpcContext


class Echo:
    """A service."""

    async def Say(self, ctx: RpcContext, request: RpcRequest) -> RpcReply:
        return RpcReply(raised=request.method)


class Site:
    """An authority, a host of its, and a server there. ``start`` and ``stop`` it on one loop."""

    def __init__(self, directory: Path, config: Config | None = None) -> None:
        self.directory = directory
        self.authority = Authority.at(directory / "boot", LIMITS)
        self.place = host_place(directory / "host", self.authority)
        watches = WatchTable()
        self.server = FileServer(
            MemFs(watches).root,
            watches,
            services=[Echo()],
            config=config,
            tls=identity_at(self.place),
        )

    async def start(self) -> Endpoint:
        """Returns where, under a name that leads to no Unix socket."""
        return elsewhere(await self.server.start())

    async def stop(self) -> None:
        await self.server.stop()

    @property
    def endpoint(self) -> Endpoint:
        return elsewhere(self.server.endpoint)

    @property
    def ports(self) -> dict[str, int]:
        """By the kind of connections that they take."""
        [(address, plain)] = self.server.endpoint.plain
        return {"grpc": int(address.rpartition(":")[2]), "plain": int(plain.rpartition(":")[2])}


def elsewhere(endpoint: Endpoint) -> Endpoint:
    """The same server as another host would know it: its Unix socket is named after another address."""
    [(address, plain)] = endpoint.plain
    address, plain = (each.replace(configuration.LOOPBACK, "localhost") for each in (address, plain))
    return Endpoint(addrs=(address,), plain=((address, plain),))


def impatient() -> Config:
    """Errors come at once."""
    config = configuration.current()
    return msgspec.structs.replace(config, walk=msgspec.structs.replace(config.walk, patience_s=0.1))


@contextlib.asynccontextmanager
async def client_of(endpoint: Endpoint, place: str) -> AsyncIterator[AsyncFsLib]:
    """A client that shows what is at that place."""
    client = AsyncFsLib(ProcEnv(pid="test", named=endpoint, tls=place), impatient())
    try:
        yield client
    finally:
        await client.close_fs()


async def works(endpoint: Endpoint, place: str) -> None:
    """A client of that place can read and write there."""
    async with client_of(endpoint, place) as client:
        await client.put_file("name/works", b"yes")
        assert await client.get_file("name/works") == b"yes"


def connected(port: int) -> socket.socket:
    return socket.create_connection((configuration.LOOPBACK, port), timeout=10)


async def said_until_end(port: int, garbage: bytes) -> bytes:
    """What the server at a port says to that until it ends the connection."""
    reader, writer = await asyncio.open_connection(configuration.LOOPBACK, port)
    writer.write(garbage)
    said = b""
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(20):
            said = await reader.read()
    writer.close()
    return said
