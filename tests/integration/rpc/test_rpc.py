"""RPC by pathname over real sessions (R-1 to R-8), on a server in memory."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from sigmaos_ray import serr
from sigmaos_ray.config import ProcEnv
from sigmaos_ray.fslib import AsyncFsLib
from sigmaos_ray.memfs import MemFs
from sigmaos_ray.pb.rpc_pb2 import AskLeaseReply, AskLeaseRequest, LeaseReply, LeaseRequest
from sigmaos_ray.protsrv.server import FileServer
from sigmaos_ray.protsrv.watch import WatchTable
from sigmaos_ray.rpcclnt import AsyncRPCClnt
from sigmaos_ray.sessp.channel import close_channels

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sigmaos_ray.protsrv.rpcdev import RpcContext


class Arith:
    """A service of methods for every way to answer; the messages are whatever protobufs are at hand."""

    async def Double(self, ctx: RpcContext, request: LeaseRequest) -> AskLeaseReply:
        return AskLeaseReply(lease_id=2 * request.lease_id)

    def Blocking(self, ctx: RpcContext, request: LeaseRequest) -> AskLeaseReply:
        time.sleep(0.1)
        return AskLeaseReply(lease_id=request.lease_id)

    async def Slow(self, ctx: RpcContext, request: AskLeaseRequest) -> LeaseReply:
        async with asyncio.timeout(60):
            await asyncio.sleep(request.ttl_s)
        return LeaseReply()

    async def Refuse(self, ctx: RpcContext, request: LeaseRequest) -> LeaseReply:
        raise serr.Stale("election", "over")

    async def Break(self, ctx: RpcContext, request: LeaseRequest) -> LeaseReply:
        raise ZeroDivisionError("by zero")

    async def _hidden(self, ctx: RpcContext, request: LeaseRequest) -> LeaseReply:
        return LeaseReply()


@pytest_asyncio.fixture
async def sc() -> AsyncIterator[AsyncFsLib]:
    watches = WatchTable()
    server = FileServer(MemFs(watches).root, watches, services=[Arith()])
    client = AsyncFsLib(ProcEnv(pid="test", named=await server.start()))
    yield client
    await client.close_fs()
    await server.stop()
    await close_channels()


@pytest.fixture
def rpc(sc: AsyncFsLib) -> AsyncRPCClnt:
    return AsyncRPCClnt(sc, "name/")


async def test_calls_run_side_by_side_on_one_channel(rpc: AsyncRPCClnt) -> None:
    start = time.monotonic()
    slow = [asyncio.create_task(rpc.rpc("Arith.Slow", AskLeaseRequest(ttl_s=0.3), LeaseReply)) for _ in range(20)]
    fast = [rpc.rpc("Arith.Double", LeaseRequest(lease_id=n), AskLeaseReply) for n in range(100)]
    assert [reply.lease_id for reply in await asyncio.gather(*fast)] == [2 * n for n in range(100)]
    await asyncio.gather(*slow)
    assert time.monotonic() - start < 3


async def test_a_blocking_handler_does_not_hold_the_server_up(rpc: AsyncRPCClnt) -> None:
    blocking = asyncio.create_task(rpc.rpc("Arith.Blocking", LeaseRequest(lease_id=1), AskLeaseReply))
    assert (await rpc.rpc("Arith.Double", LeaseRequest(lease_id=1), AskLeaseReply)).lease_id == 2
    assert (await blocking).lease_id == 1


async def test_errors_arrive_as_their_class(rpc: AsyncRPCClnt) -> None:
    with pytest.raises(serr.Stale, match="election"):
        await rpc.rpc("Arith.Refuse", LeaseRequest(), LeaseReply)
    with pytest.raises(serr.Error, match="ZeroDivisionError: by zero"):
        await rpc.rpc("Arith.Break", LeaseRequest(), LeaseReply)


@pytest.mark.parametrize("method", ["Arith.Nothing", "Other.Double", "Arith._hidden", "", "Double"])
async def test_unknown_methods_are_not_found(rpc: AsyncRPCClnt, method: str) -> None:
    with pytest.raises(serr.NotFound):
        await rpc.rpc(method, LeaseRequest(), LeaseReply)


async def test_a_time_out_ends_the_call_and_nothing_else(rpc: AsyncRPCClnt) -> None:
    """The session goes on: a limit that runs out within the server must not take its reader along."""
    for _ in range(3):
        with pytest.raises(serr.Timeout):
            await rpc.rpc("Arith.Slow", AskLeaseRequest(ttl_s=30), LeaseReply, timeout_s=0.1)
        await asyncio.sleep(0.1)
        assert (await rpc.rpc("Arith.Double", LeaseRequest(lease_id=4), AskLeaseReply)).lease_id == 8


async def test_an_argument_that_is_not_its_message(rpc: AsyncRPCClnt, sc: AsyncFsLib) -> None:
    channel = await rpc._open()
    from sigmaos_ray.pb.rpc_pb2 import RpcReply, RpcRequest

    frames = await channel.write_read([RpcRequest(method="Arith.Double").SerializeToString(), b"\xff\xff"])
    assert RpcReply.FromString(frames[0]).error.code == serr.Code.INVAL
    frames = await channel.write_read([b"\xff\xff"])
    assert RpcReply.FromString(frames[0]).error.code == serr.Code.INVAL
    assert (await rpc.rpc("Arith.Double", LeaseRequest(lease_id=4), AskLeaseReply)).lease_id == 8


async def test_a_server_without_the_device(sc: AsyncFsLib) -> None:
    await sc.mkdir("name/d")
    with pytest.raises(serr.NotFound):
        await AsyncRPCClnt(sc, "name/d").rpc("Arith.Double", LeaseRequest(), LeaseReply)


def test_a_method_that_cannot_be_called_is_refused_when_the_server_is_made() -> None:
    class Bad:
        async def Method(self, ctx: RpcContext) -> LeaseReply:
            return LeaseReply()

    with pytest.raises(serr.Inval, match=r"Bad\.Method"):
        FileServer(MemFs(WatchTable()).root, WatchTable(), services=[Bad()])


async def test_statsd_counts(sc: AsyncFsLib) -> None:
    """R-8: reading .statsd counts as a get itself."""
    before = (await sc.get_file_json("name/.statsd"))["ops"]["getfile"]
    after = (await sc.get_file_json("name/.statsd"))["ops"]["getfile"]
    assert after == before + 1
