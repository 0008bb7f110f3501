"""Connections that break in the middle of large data, either way: nobody who waits notices, and nothing runs twice."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import pytest
from cutter import Cutter, door, through
from cutworld import BlockingFs

from sigmaos_ray import config as configuration
from sigmaos_ray import loopthread
from sigmaos_ray.config import ProcEnv
from sigmaos_ray.fslib import AsyncFsLib
from sigmaos_ray.memfs import MemFs
from sigmaos_ray.pb.rpc_pb2 import RpcReply, RpcRequest
from sigmaos_ray.protsrv.server import FileServer
from sigmaos_ray.protsrv.watch import WatchTable
from sigmaos_ray.rpcclnt import AsyncRPCClnt, RPCClnt
from sigmaos_ray.sessp import plain
from sigmaos_ray.sessp.aside import AsideConnection
from sigmaos_ray.sessp.connection import ServedConnection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sigmaos_ray.rpcsrv import RpcContext
    from sigmaos_ray.sessp.payload import Data, Parcel

SIZE: Final = 1 << 20
DATA: Final = bytes(number % 253 for number in range(SIZE))
OTHER: Final = DATA[::-1]
BOUND: Final = configuration.Wire().payload_bytes_min
SIZES: Final = [BOUND - 1, BOUND, BOUND + 1, configuration.Rpc().inline_bytes_max + 1, (5 << 20) + 3]
"""Around the bounds from which data go apart, and in parts."""


class Echoing:
    """A service that gives back what it got."""

    def __init__(self) -> None:
        self.calls_count = 0

    async def Echo(self, ctx: RpcContext, request: RpcRequest) -> RpcReply:
        self.calls_count += 1
        return RpcReply(raised=request.method)


@asynccontextmanager
async def echoing(kind: str) -> AsyncIterator[tuple[Echoing, FileServer, Cutter]]:
    """A server of the service, and a way to it."""
    service, watches = Echoing(), WatchTable()
    server = FileServer(MemFs(watches).root, watches, services=[service])
    await server.start()
    try:
        async with Cutter(door(server, kind)) as cutter:
            yield service, server, cutter
    finally:
        await server.stop()


def client_through(cutter: Cutter) -> AsyncFsLib:
    return AsyncFsLib(ProcEnv(pid="test", named=through(cutter)))


@pytest.mark.parametrize("after_bytes", [60_000, 400_000, 1_000_000])
async def test_of_coroutines(server: FileServer, kind: str, after_bytes: int) -> None:
    async with Cutter(door(server, kind)) as cutter:
        sc = client_through(cutter)
        await sc.put_file("name/f", b"")
        ops = server.stats.ops.copy()
        cutter.cuts_in["up"] = after_bytes
        await sc.put_file("name/f", DATA)
        assert cutter.cuts_count == 1
        cutter.cuts_in["down"] = after_bytes
        assert await sc.get_file("name/f") == DATA
        assert cutter.cuts_count == 2
        assert server.stats.ops["putfile"] == ops["putfile"] + 1
        assert server.stats.session_count == 1
        await sc.close_fs()


async def test_of_streams(server: FileServer, kind: str) -> None:
    """With several reads under way at a time."""
    async with Cutter(door(server, kind)) as cutter:
        sc = client_through(cutter)
        async with sc.create_writer("name/f") as writer:
            for number in range(6):
                if number % 2:
                    cutter.cuts_in["up"] = 500_000
                await writer.write(DATA if number % 2 else OTHER)
        cutter.cuts_in["down"] = 1_500_000
        async with sc.open_reader("name/f") as reader:
            assert await reader.read() == (OTHER + DATA) * 3
        assert cutter.cuts_count == 4
        await sc.close_fs()


@pytest.mark.parametrize("after_bytes", [60_000, 400_000, 1_000_000])
async def test_of_threads(server: FileServer, kind: str, after_bytes: int) -> None:
    """Beside the main connection: what was cut goes again over that."""
    async with Cutter(dict(server.endpoint.plain)[server.endpoint.addrs[0]]) as cutter:
        if kind == "grpc":
            # The main connection is a stream, and those of threads are told of by the welcome.
            server._sessions.plain_address = cutter.address
        endpoint = server.endpoint if kind == "grpc" else through(cutter)

        def calls() -> None:
            shared = loopthread.shared()

            async def client() -> AsyncFsLib:
                return AsyncFsLib(ProcEnv(pid="test", named=endpoint))

            blocking = BlockingFs(shared.run(client()))
            for number in range(3):
                blocking.put_file("name/f", b"warm" * number)
            ops = server.stats.ops.copy()
            cutter.cuts_in["up"] = after_bytes
            blocking.put_file("name/f", DATA)
            blocking.put_file("name/g", OTHER)
            cutter.cuts_in["down"] = after_bytes
            assert blocking.get_file("name/f") == DATA
            assert blocking.get_file("name/g") == OTHER
            assert server.stats.ops["putfile"] == ops["putfile"] + 2
            shared.run(blocking.asynchronous.close_fs())

        await asyncio.to_thread(calls)
        if kind == "plain":
            assert cutter.cuts_count == 2


@pytest.mark.parametrize("knows", [True, False])
async def test_servers_that_know_payloads_and_such_as_do_not(
    server: FileServer, kind: str, knows: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of coroutines and of threads: what one of the ends does not know stays within the messages."""
    forms: list[bool] = []
    pieces = plain.pieces

    def seen(parcel: Parcel, *, apart: bool) -> tuple[bytes, Data]:
        forms.append(apart)
        return pieces(parcel, apart=apart)

    monkeypatch.setattr(plain, "pieces", seen)
    if not knows:
        monkeypatch.setattr("sigmaos_ray.sessp.plaindoor._PlainConnection.greeted", ServedConnection.greeted)

    def calls() -> None:
        shared = loopthread.shared()

        async def client() -> AsyncFsLib:
            return AsyncFsLib(ProcEnv(pid="test", named=server.endpoint))

        blocking = BlockingFs(shared.run(client()))
        loops = blocking.asynchronous
        for data in (DATA, OTHER[:BOUND]):
            blocking.put_file("name/thread", data)
            assert blocking.get_file("name/thread") == data
            shared.run(loops.put_file("name/loop", data))
            assert shared.run(loops.get_file("name/loop")) == data
            blocking.remove("name/thread")
            blocking.remove("name/loop")
        with blocking.create_writer("name/f") as writer:
            writer.write(DATA * 3)
        with blocking.open_reader("name/f") as reader:
            assert reader.read() == DATA * 3
        shared.run(blocking.asynchronous.close_fs())

    await asyncio.to_thread(calls)
    assert set(forms) == ({knows} if kind == "plain" else set())


async def test_of_a_stream_that_a_thread_reads(server: FileServer, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Straight into where it wants the data: what was cut comes whole over the main connection."""
    monkeypatch.setattr(AsideConnection, "is_near", True)
    async with Cutter(dict(server.endpoint.plain)[server.endpoint.addrs[0]]) as cutter:
        endpoint = server.endpoint if kind == "grpc" else through(cutter)

        def calls() -> None:
            shared = loopthread.shared()

            async def client() -> AsyncFsLib:
                return AsyncFsLib(ProcEnv(pid="test", named=endpoint))

            blocking = BlockingFs(shared.run(client()))
            blocking.put_file("name/f", (DATA + OTHER) * 3)
            cutter.cuts_in["down"] = SIZE + SIZE // 2
            with blocking.open_reader("name/f") as reader:
                for number in range(6):
                    assert reader.read(SIZE) == (OTHER if number % 2 else DATA)
                assert reader.read(SIZE) == b""
            shared.run(blocking.asynchronous.close_fs())

        await asyncio.to_thread(calls)
        assert cutter.cuts_count == (kind == "plain")


@pytest.mark.parametrize("way", ["up", "down"])
async def test_of_rpcs(kind: str, way: str) -> None:
    """Arguments and results that fit into a message, and such as go in parts."""
    async with echoing(kind) as (service, _, cutter):
        sc = client_through(cutter)
        clnt = AsyncRPCClnt(sc, "name")
        await clnt.rpc("Echoing.Echo", RpcRequest(method="warm"), RpcReply)
        for number, size in enumerate((SIZE, 5 * SIZE), 1):
            cutter.cuts_in[way] = SIZE // 2
            text = DATA[: SIZE // 2].hex()[:SIZE] * (size // SIZE)
            reply = await clnt.rpc("Echoing.Echo", RpcRequest(method=text), RpcReply)
            assert reply.raised == text
            assert service.calls_count == number + 1
            assert cutter.cuts_count == number
        await clnt.close()
        await sc.close_fs()


@pytest.mark.parametrize("size", SIZES)
async def test_rpcs_of_any_size(kind: str, size: int) -> None:
    """Of coroutines and of threads."""
    text = ("0123456789abcdef" * (size // 16 + 1))[: size - 5]
    async with echoing(kind) as (service, server, _):
        sc = AsyncFsLib(ProcEnv(pid="test", named=server.endpoint))
        clnt = AsyncRPCClnt(sc, "name")
        for more in range(12):  # the header of the field takes some: one of these is of that size
            assert (await clnt.rpc("Echoing.Echo", RpcRequest(method=text[more:]), RpcReply)).raised == text[more:]
        await clnt.close()
        await sc.close_fs()

        def calls() -> None:
            shared = loopthread.shared()

            async def client() -> AsyncFsLib:
                return AsyncFsLib(ProcEnv(pid="test", named=server.endpoint))

            blocking = BlockingFs(shared.run(client()))
            clnt = RPCClnt(blocking, "name")
            for more in range(12):
                assert clnt.rpc("Echoing.Echo", RpcRequest(method=text[more:]), RpcReply).raised == text[more:]
            clnt.close()
            shared.run(blocking.asynchronous.close_fs())

        await asyncio.to_thread(calls)
        assert service.calls_count == 24
