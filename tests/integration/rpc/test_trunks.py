"""Calls from coroutines over trunks: the same promises as over sessions, and nothing for strangers."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from probe_service import Probe

from sigmaos_ray import serr
from sigmaos_ray.config import ProcEnv
from sigmaos_ray.fslib import AsyncFsLib
from sigmaos_ray.memfs import MemFs
from sigmaos_ray.pb.rpc_pb2 import AskLeaseReply, LeaseReply, LeaseRequest, Line, Part, RpcReply, RpcRequest
from sigmaos_ray.pb.sigmap_pb2 import Rerror
from sigmaos_ray.protsrv.server import FileServer
from sigmaos_ray.protsrv.watch import WatchTable
from sigmaos_ray.rpcclnt import InstanceRPCClnt, RPCError
from sigmaos_ray.sessp import lines, wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from sigmaos_ray.rpcclnt.channel import Channel

TIMEOUT_S = 60.0
UNHEARD_S = 0.3


class Site:
    """A named, a service beside it, and a client that has a trunk already."""

    def __init__(self) -> None:
        self.probe = Probe("served")

    async def start(self) -> None:
        watches = WatchTable()
        self.named = FileServer(MemFs(watches).root, watches)
        self.server = FileServer(MemFs(WatchTable()).root, WatchTable(), services=[self.probe])
        self.fs = AsyncFsLib(ProcEnv(pid="test", named=await self.named.start()))
        self.clnt = InstanceRPCClnt(self.fs, "name/probe", await self.server.start())
        while not self.trunks_count:
            await self.who()
        await until(lambda: self.channel._trunk is not None)
        self.probe.ran.clear()

    @property
    def trunks_count(self) -> int:
        return len(self.server.rpc.listener.connections)

    @property
    def channel(self) -> Channel:
        assert self.clnt._channel is not None
        return self.clnt._channel

    async def call(self, method: str, text: str = "", timeout_s: float | None = None) -> str:
        request = RpcRequest(method=text)
        return (await self.clnt.rpc(f"Probe.{method}", request, RpcReply, timeout_s)).raised

    async def who(self, text: str = "") -> str:
        return await self.call("Who", text)

    async def offer(self) -> Line:
        return (await self.channel.line(Part.TRUNK))[1]

    async def stop(self) -> None:
        self.probe.go_on.set()
        await self.clnt.close()
        await self.fs.close_fs()
        await self.server.stop()
        await self.named.stop()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    await site.start()
    yield site
    await site.stop()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while not holds():  # noqa: ASYNC110  # states of servers, which tell nobody
            await asyncio.sleep(0)


async def until_ran(site: Site, count: int) -> None:
    await until(lambda: len(site.probe.ran) >= count)


async def test_the_same_answers_and_errors(site: Site) -> None:
    assert await site.who() == "served"
    assert await site.call("Now", "x") == "served test x"
    with pytest.raises(serr.Stale, match="refused"):
        await site.call("Now", "refuse")
    with pytest.raises(serr.NotFound, match=r"Probe\.Nothing"):
        await site.call("Nothing")
    with pytest.raises(RPCError, match="ValueError: no good"):
        await site.call("Raise", "no good")
    with pytest.raises(serr.Unreachable, match="elsewhere"):
        await site.clnt.rpc("Probe.Away", Part(number=1), LeaseReply)
    assert 0 < (await site.clnt.rpc("Probe.Remaining", LeaseRequest(), AskLeaseReply, 20)).ttl_s < 20
    assert (await site.clnt.rpc("Probe.Remaining", LeaseRequest(), AskLeaseReply)).ttl_s == -1
    assert site.trunks_count == 1
    assert site.probe.ran.count("Away") == 1


@pytest.mark.parametrize("size", [60_000, 1 << 20, 3 << 20])
async def test_what_fits_a_trunk_and_what_does_not(site: Site, size: int) -> None:
    assert await site.call("Large", "x" * size) == "x" * size
    assert len((await site.clnt.rpc("Probe.Grow", LeaseRequest(lease_id=size), RpcReply)).raised) == size


async def test_calls_side_by_side_on_one_trunk_however_many(site: Site) -> None:
    count = lines.TRUNK_CALLS_MAX + 100
    held = [asyncio.create_task(site.call("Held", f"{number}")) for number in range(count)]
    await until_ran(site, count)
    assert await site.who("beside") == "served"
    site.probe.go_on.set()
    assert await asyncio.gather(*held) == ["served"] * count
    assert sorted(map(int, site.probe.ran[:count])) == list(range(count))
    assert site.trunks_count == 1


async def test_a_call_that_is_given_up_ends_at_the_server(site: Site) -> None:
    with pytest.raises(serr.Timeout):
        await site.call("Held", "late", timeout_s=0.1)
    held = asyncio.create_task(site.call("Held", "cancelled"))
    await until_ran(site, 2)
    held.cancel()
    with pytest.raises(asyncio.CancelledError):
        await held
    await until(lambda: not site.server.rpc.running_count)
    assert await site.who() == "served"
    assert site.trunks_count == 1


async def test_a_call_that_runs_when_the_server_stops(site: Site) -> None:
    held = asyncio.create_task(site.call("Held"))
    await until_ran(site, 1)
    await site.server.stop()
    with pytest.raises(serr.IOErr):
        await held


async def test_a_draining_server_finishes_and_refuses(site: Site) -> None:
    held = asyncio.create_task(site.call("Held", "held"))
    await until_ran(site, 1)
    draining = asyncio.create_task(site.server.drain(20))
    await until(lambda: site.server.rpc.is_draining)
    with pytest.raises(serr.Unreachable):
        await site.who("refused")
    assert not draining.done()
    site.probe.go_on.set()
    assert await held == "served"
    await draining
    assert site.probe.ran == ["held"]


async def test_calls_while_a_server_stops_have_a_known_fate(site: Site) -> None:
    """What was not answered did not run."""
    answered = 0

    async def caller() -> None:
        nonlocal answered
        while True:
            await site.who("counted")
            answered += 1

    calling = [asyncio.create_task(caller()) for _ in range(8)]
    await until(lambda: answered >= 100)
    await site.server.drain(10)
    await site.server.stop()
    ends = await asyncio.gather(*calling, return_exceptions=True)
    assert [type(end).__mro__[1] for end in ends] == [serr.Unreachable] * 8, ends
    assert site.probe.ran.count("counted") == answered


async def test_what_had_not_begun_when_a_trunk_ended_did_not_run(site: Site) -> None:
    held = asyncio.create_task(site.channel.call("Probe.Held", b"", None))
    await until_ran(site, 1)
    [trunk] = site.server.rpc.listener.connections
    begun_count = len(site.probe.ran)
    late = asyncio.create_task(site.channel.call("Probe.Who", b"", None))
    await until(lambda: len(trunk._running) == 2)  # type: ignore[attr-defined]
    trunk.end("a test")
    with pytest.raises(serr.IOErr):
        await held
    with pytest.raises(serr.Unreachable):
        await late
    assert len(site.probe.ran) == begun_count
    assert await site.who() == "served"


async def test_a_trunk_that_is_lost_is_replaced(site: Site) -> None:
    held = asyncio.create_task(site.call("Held"))
    await until_ran(site, 1)
    [trunk] = site.server.rpc.listener.connections
    trunk._transport.abort()  # type: ignore[attr-defined]
    with pytest.raises(serr.IOErr):
        await held
    async with asyncio.timeout(TIMEOUT_S):
        while site.trunks_count != 1 or site.channel._trunk is None:
            assert await site.who() == "served"


async def test_a_trunk_ends_with_its_channel(site: Site) -> None:
    await site.clnt.close()
    await until(lambda: not site.trunks_count)


async def test_a_trunk_ends_with_its_session(site: Site) -> None:
    held = asyncio.create_task(site.call("Held"))
    await until_ran(site, 1)
    trunk = site.channel._trunk
    assert trunk is not None
    site.channel.fid.session.abandon("a test")
    with pytest.raises(serr.IOErr):
        await held
    assert trunk.is_closed
    await until(lambda: not site.trunks_count)
    assert await site.who() == "served"


async def test_without_trunks(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where none can be had, the session serves."""
    ask_count = 0

    async def refused(*_args: Any, **_more: Any) -> None:
        nonlocal ask_count
        ask_count += 1
        raise ConnectionRefusedError

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", refused)
    clnt = InstanceRPCClnt(site.fs, "name/probe", site.server.endpoint)
    for _ in range(30):
        assert (await clnt.rpc("Probe.Who", RpcRequest(), RpcReply)).raised == "served"
    assert ask_count == 1
    await clnt.close()


# -- what no client of ours sends


class Stranger:
    """Speaks with the server byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    async def reply(self) -> tuple[int, list[bytes], bool]:
        """The number, the frames, and whether it was refused."""
        number, first, second = lines.NUMBERED.unpack(await self._reader.readexactly(lines.NUMBERED.size))
        failed, first = bool(first & lines.FAILED), first & ~lines.FAILED
        return number, [await self._reader.readexactly(first), await self._reader.readexactly(second)], failed

    async def is_at_end(self) -> bool:
        with contextlib.suppress(ConnectionResetError):
            return await self._reader.read(1) == b""
        return True


@contextlib.asynccontextmanager
async def stranger(site: Site) -> AsyncIterator[Stranger]:
    offer = await site.offer()
    reader, writer = await asyncio.open_connection("127.0.0.1", offer.port)
    writer.write(offer.token)
    async with asyncio.timeout(TIMEOUT_S):
        yield Stranger(reader, writer)
    writer.transport.abort()


def _call(number: int, method: str, text: str = "") -> bytes:
    argument = RpcRequest(method=text).SerializeToString()
    return lines.trunk_message(number, RpcRequest(method=f"Probe.{method}").SerializeToString(), argument)


async def test_a_number_that_is_in_use(site: Site) -> None:
    async with stranger(site) as trunk:
        trunk.writer.write(_call(7, "Held") + _call(7, "Who") + _call(8, "Who"))
        number, frames, failed = await trunk.reply()
        assert (number, failed) == (7, True)
        assert isinstance(wire.error_from_pb(Rerror.FromString(frames[0])), serr.Inval)
        assert (await trunk.reply())[0] == 8
        site.probe.go_on.set()
        number, frames, failed = await trunk.reply()
        assert (number, failed) == (7, False)
    assert await site.who() == "served"


async def test_more_calls_than_a_trunk_takes(site: Site) -> None:
    async with stranger(site) as trunk:
        for number in range(1, lines.TRUNK_CALLS_MAX + 2):
            trunk.writer.write(_call(number, "Held"))
        number, frames, failed = await trunk.reply()
        assert (number, failed) == (lines.TRUNK_CALLS_MAX + 1, True)
        assert isinstance(wire.error_from_pb(Rerror.FromString(frames[0])), serr.Retry)


@pytest.mark.parametrize("sizes", [(lines.HEADER_BYTES_MAX + 1, 0), (0, 0xFFFF_FFFF), (0xFFFF_FFFF, 0)])
async def test_a_message_that_is_too_large_ends_the_trunk(site: Site, sizes: tuple[int, int]) -> None:
    async with stranger(site) as trunk:
        trunk.writer.write(lines.NUMBERED.pack(1, *sizes))
        number, _frames, failed = await trunk.reply()
        assert (number, failed) == (lines.GOODBYE, True)
        assert await trunk.is_at_end()
    assert await site.who() == "served"


async def test_a_client_that_does_not_read_its_replies(site: Site) -> None:
    """It is not read from either, and goes on where it was once it reads."""
    sent_count, text = 0, "x" * 50_000
    async with stranger(site) as trunk:
        with contextlib.suppress(TimeoutError):
            while sent_count < 10_000:
                sent_count += 1
                trunk.writer.write(_call(sent_count, "Large", text))
                async with asyncio.timeout(UNHEARD_S):
                    await trunk.writer.drain()
        assert sent_count < 10_000
        assert await site.who() == "served"
        for _ in range(sent_count):
            _, frames, failed = await trunk.reply()
            assert not failed
            assert len(frames[1]) > len(text)
