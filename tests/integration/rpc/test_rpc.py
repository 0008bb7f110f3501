"""RPC by pathname over real sessions (R-1 to R-8), on a server in memory."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from probe_service import Probe

from sigmaos_ray import config as configuration
from sigmaos_ray import serr
from sigmaos_ray.config import ProcEnv
from sigmaos_ray.fslib import AsyncFsLib, rpcdevice
from sigmaos_ray.memfs import MemFs
from sigmaos_ray.pb.rpc_pb2 import AskLeaseReply, AskLeaseRequest, LeaseReply, LeaseRequest, RpcReply, RpcRequest
from sigmaos_ray.protsrv.server import FileServer
from sigmaos_ray.protsrv.watch import WatchTable
from sigmaos_ray.rpcclnt import AsyncRPCClnt, RPCError
from sigmaos_ray.rpcsrv import RpcContext, immediate
from sigmaos_ray.sessp.channel import close_channels

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


LEAVING = (SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError("gone"))


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

    async def Leave(self, ctx: RpcContext, request: LeaseRequest) -> LeaseReply:
        if request.lease_id % 2:
            await asyncio.sleep(0)
        raise LEAVING[request.lease_id // 2]

    def LeaveInThread(self, ctx: RpcContext, request: LeaseRequest) -> LeaseReply:
        raise LEAVING[request.lease_id // 2]

    @immediate
    def LeaveNow(self, ctx: RpcContext, request: LeaseRequest) -> LeaseReply:
        raise LEAVING[request.lease_id // 2]

    async def TimeOut(self, ctx: RpcContext, request: LeaseRequest) -> LeaseReply:
        raise serr.Timeout("its own")

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
    with pytest.raises(RPCError, match="ZeroDivisionError: by zero"):
        await rpc.rpc("Arith.Break", LeaseRequest(), LeaseReply)
    with pytest.raises(serr.Timeout, match="its own"):
        await rpc.rpc("Arith.TimeOut", LeaseRequest(), LeaseReply, timeout_s=30)


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
    channel = await rpcdevice.open_channel(sc.core, "name/")
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


def test_a_coroutine_is_not_immediate() -> None:
    class Bad:
        @immediate  # type: ignore[type-var]  # what is tested
        async def Method(self, ctx: RpcContext, request: LeaseRequest) -> LeaseReply:
            return LeaseReply()

    with pytest.raises(serr.Inval, match=r"Bad\.Method"):
        FileServer(MemFs(WatchTable()).root, WatchTable(), services=[Bad()])


async def test_statsd_counts(sc: AsyncFsLib) -> None:
    """R-8: reading .statsd counts as a get itself."""
    before = (await sc.get_file_json("name/.statsd"))["ops"]["getfile"]
    after = (await sc.get_file_json("name/.statsd"))["ops"]["getfile"]
    assert after == before + 1


async def test_payloads_of_any_size(sc: AsyncFsLib) -> None:
    """Larger than a message, both ways, several at a time; small calls pass between the parts."""
    probe = Probe()
    server = FileServer(MemFs(WatchTable()).root, WatchTable(), services=[probe])
    await sc.mk_endpoint_file("name/large", await server.start())
    clnt = AsyncRPCClnt(sc, "name/large")
    texts = [letter * (size << 20) for letter, size in (("a", 1), ("b", 5), ("c", 9), ("d", 64))]
    calls = [clnt.rpc("Probe.Large", RpcRequest(method=text), RpcReply) for text in texts]
    who = clnt.rpc("Probe.Who", RpcRequest(), RpcReply)
    *replies, _ = await asyncio.gather(*calls, who)
    assert [reply.raised == text for reply, text in zip(replies, texts, strict=True)] == [True] * 4
    await clnt.close()
    assert server.rpc.held.size_bytes == 0
    await server.stop()


async def test_a_payload_that_is_too_large(rpc: AsyncRPCClnt) -> None:
    limit = configuration.current().rpc.payload_bytes_max
    with pytest.raises(serr.Inval, match=str(limit)):
        await rpc.rpc("Arith.Double", RpcRequest(method="x" * limit), LeaseReply)


async def test_a_large_call_that_is_given_up_leaves_nothing(sc: AsyncFsLib) -> None:
    probe = Probe()
    server = FileServer(MemFs(WatchTable()).root, WatchTable(), services=[probe])
    await sc.mk_endpoint_file("name/held", await server.start())
    clnt = AsyncRPCClnt(sc, "name/held")
    held = asyncio.create_task(clnt.rpc("Probe.Large", RpcRequest(method="x" * (32 << 20)), RpcReply))
    while not server.rpc.held.size_bytes:  # noqa: ASYNC110  # a count, which nobody announces
        await asyncio.sleep(0)
    held.cancel()
    await asyncio.wait({held})
    async with asyncio.timeout(10):
        while server.rpc.held.size_bytes:  # noqa: ASYNC110  # a count, which nobody announces
            await asyncio.sleep(0.01)
    assert (await clnt.rpc("Probe.Who", RpcRequest(), RpcReply)).raised == ""
    await clnt.close()
    await server.stop()


async def test_the_deadline_travels(sc: AsyncFsLib) -> None:
    probe = Probe()
    server = FileServer(MemFs(WatchTable()).root, WatchTable(), services=[probe])
    await sc.mk_endpoint_file("name/deadlines", await server.start())
    clnt = AsyncRPCClnt(sc, "name/deadlines")
    for _ in range(2):
        assert (await clnt.rpc("Probe.Remaining", LeaseRequest(), AskLeaseReply)).ttl_s == -1
        left_s = (await clnt.rpc("Probe.Remaining", LeaseRequest(), AskLeaseReply, timeout_s=20)).ttl_s
        assert 0 < left_s <= 19.95
    await clnt.close()
    await server.stop()


async def test_more_blocking_handlers_than_cores(sc: AsyncFsLib) -> None:
    """R-4: one thread each."""
    probe = Probe()
    server = FileServer(MemFs(WatchTable()).root, WatchTable(), services=[probe])
    await sc.mk_endpoint_file("name/threads", await server.start())
    clnt = AsyncRPCClnt(sc, "name/threads")
    blocked = [asyncio.create_task(clnt.rpc("Probe.Blocking", LeaseRequest(), LeaseReply)) for _ in range(40)]
    async with asyncio.timeout(10):
        while server.rpc.running_count < 40:  # noqa: ASYNC110  # a count, which nobody announces
            await asyncio.sleep(0.01)
    with pytest.raises(serr.Timeout):
        await clnt.rpc("Probe.Blocking", LeaseRequest(), LeaseReply, timeout_s=0.1)
    probe.go_on.set()
    await asyncio.gather(*blocked)
    await clnt.close()
    await server.stop()


async def test_a_server_that_comes_back(sc: AsyncFsLib) -> None:
    """R-5: after a session error the next call opens a channel to whom the name leads now."""
    clnt = AsyncRPCClnt(sc, "name/again")
    for name in ("first", "second"):
        probe = Probe(name)
        server = FileServer(MemFs(WatchTable()).root, WatchTable(), services=[probe])
        await sc.write_endpoint_file("name/again", await server.start())
        assert (await clnt.rpc("Probe.Who", RpcRequest(), RpcReply)).raised == name
        await server.stop()
    await clnt.close()


async def test_calls_that_run_are_finished_and_new_ones_refused(sc: AsyncFsLib) -> None:
    """R-10."""
    probe = Probe("drained")
    server = FileServer(MemFs(WatchTable()).root, WatchTable(), services=[probe])
    await sc.mk_endpoint_file("name/drained", await server.start())
    clnt = AsyncRPCClnt(sc, "name/drained")
    held = asyncio.create_task(clnt.rpc("Probe.Held", RpcRequest(method="held"), RpcReply))
    await asyncio.to_thread(probe.entered.wait, 10)
    draining = asyncio.create_task(server.drain(30))
    await asyncio.sleep(0)
    with pytest.raises(serr.Unreachable):
        await clnt.rpc("Probe.Who", RpcRequest(method="refused"), RpcReply)
    assert not draining.done()
    probe.go_on.set()
    assert (await held).raised == "drained"
    await draining
    assert probe.ran == ["held"]
    await clnt.close()
    await server.stop()


@pytest.mark.parametrize("method", ["Leave", "LeaveInThread", "LeaveNow"])
@pytest.mark.parametrize("number", range(2 * len(LEAVING)))
@pytest.mark.parametrize("timeout_s", [None, 30.0])
async def test_a_handler_that_leaves_ends_its_call_alone(
    rpc: AsyncRPCClnt, method: str, number: int, timeout_s: float | None
) -> None:
    """R-3: what would end a program, or a task, is an error of the call; before the first wait and behind it."""
    with pytest.raises(RPCError, match=type(LEAVING[number // 2]).__name__):
        await rpc.rpc(f"Arith.{method}", LeaseRequest(lease_id=number), LeaseReply, timeout_s)
    reply = await rpc.rpc("Arith.Double", LeaseRequest(lease_id=2), AskLeaseReply)
    assert reply.lease_id == 4
