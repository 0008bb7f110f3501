"""Lines: quick calls, beside the session that a clerk gets its token over."""

from __future__ import annotations

import asyncio
import struct
from typing import TYPE_CHECKING

import pytest

from sigmaos_ray import serr
from user.kv import kv_pb2 as pb
from user.kv import servers
from user.kv.blocking import KvClerk
from user.kv.line import GET, SCAN, WRITE, AsyncKvLine, BlockingKvLine, LineServer

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator

    from sigmaos_ray.testing import Tstate

TIMEOUT_S = 5.0


async def write(payload: bytes) -> pb.WriteReply:
    request = pb.WriteRequest.FromString(payload)
    if request.client == 13:
        raise serr.IOErr("journal", "is full")
    await asyncio.sleep(0)
    return pb.WriteReply(outcomes=bytes([request.client]))


def get(payload: bytes) -> pb.GetReply:
    keys = pb.GetRequest.FromString(payload).keys
    return pb.GetReply(outcomes=bytes(len(keys)), values=[key.encode() * 100_000 for key in keys])


@pytest.fixture
async def server() -> AsyncIterator[LineServer]:
    server = LineServer({GET: get, WRITE: write}, "127.0.0.1")
    await server.start()
    yield server
    await server.stop()


async def dial(server: LineServer) -> AsyncKvLine:
    return await AsyncKvLine.open(server.host, server.port, server.token, TIMEOUT_S)


async def test_calls_run_side_by_side(server: LineServer) -> None:
    line = await dial(server)
    requests = [pb.WriteRequest(client=number) for number in range(14, 114)]
    replies = await asyncio.gather(*(line.call(WRITE, request, pb.WriteReply) for request in requests))
    assert [reply.outcomes[0] for reply in replies] == list(range(14, 114))
    large = await line.call(GET, pb.GetRequest(keys=["a", "b"]), pb.GetReply)
    assert list(large.values) == [b"a" * 100_000, b"b" * 100_000]
    line.close()


async def test_errors_travel(server: LineServer) -> None:
    line = await dial(server)
    with pytest.raises(serr.IOErr, match="is full"):
        await line.call(WRITE, pb.WriteRequest(client=13), pb.WriteReply)
    with pytest.raises(serr.NotFound, match=f"method {SCAN}"):
        await line.call(SCAN, pb.ScanRequest(), pb.ScanReply)
    line.close()
    with pytest.raises(serr.IOErr, match="lost"):
        await line.call(WRITE, pb.WriteRequest(client=1), pb.WriteReply)


async def test_a_blocking_line(server: LineServer) -> None:
    def talk() -> int:
        line = BlockingKvLine(server.host, server.port, server.token, TIMEOUT_S)
        try:
            line.send(GET, pb.GetRequest(keys=["a"]))
            reply = line.receive(pb.GetReply)
            line.send(WRITE, pb.WriteRequest(client=13))
            with pytest.raises(serr.IOErr, match="is full"):
                line.receive(pb.WriteReply)
            return len(reply.values[0])
        finally:
            line.close()

    assert await asyncio.to_thread(talk) == 100_000


@pytest.mark.parametrize(
    "sent",
    [
        struct.pack("<IIB", 16, 0, 0) + bytes(16),
        struct.pack("<IIB", 0, 0, GET),
        struct.pack("<IIB", 0xFFFF_FFFF, 0, 0),
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
async def test_strangers_are_turned_away(server: LineServer, sent: bytes) -> None:
    reader, writer = await asyncio.open_connection(server.host, server.port)
    writer.write(sent)
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        async with asyncio.timeout(TIMEOUT_S):
            await reader.readexactly(1)
    writer.close()


async def test_a_server_that_ends_ends_its_lines(server: LineServer) -> None:
    line = await dial(server)
    await line.call(WRITE, pb.WriteRequest(client=1), pb.WriteReply)
    await server.stop()
    with pytest.raises(serr.SigmaError):
        await line.call(WRITE, pb.WriteRequest(client=1), pb.WriteReply)


def test_a_clerk_without_lines(tstate_all: Tstate, store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no port but the session's can be reached."""

    def refuse(*_: object) -> socket.socket:
        raise ConnectionRefusedError("no way")

    monkeypatch.setattr(servers.AsyncKvLine, "open", refuse)
    monkeypatch.setattr(servers, "BlockingKvLine", refuse)
    with KvClerk(tstate_all.sc, store) as clerk:
        clerk.put("without", b"line")
        assert clerk.get("without") == b"line"
        assert clerk.get_many(["without", "x"]) == {"without": b"line"}
