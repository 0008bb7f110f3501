"""Unary calls over our own connection, to a server of gRPC's."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest

from kernel.named.unary import ConnectionLost, UnaryConnection, connect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TIMEOUT_S: Final = 20.0
PONG_S: Final = 0.01
MIB: Final = 1 << 20
ECHO: Final = "/test.Calls/Echo"
FAIL: Final = "/test.Calls/Fail"
HANG: Final = "/test.Calls/Hang"


class Served:
    """A server; what came to it."""

    def __init__(self) -> None:
        self.hanging = asyncio.Event()
        self.cancelled = asyncio.Event()
        options = [("grpc.max_receive_message_length", 16 * MIB), ("grpc.max_send_message_length", 16 * MIB)]
        self.server = grpc.aio.server(options=options)
        handlers = {name: grpc.unary_unary_rpc_method_handler(getattr(self, name.lower())) for name in METHODS}
        self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Calls", handlers),))
        self.port = self.server.add_insecure_port("127.0.0.1:0")

    async def echo(self, request: bytes, _context: object) -> bytes:
        return request

    async def fail(self, request: bytes, context: Any) -> bytes:
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, request.decode())
        raise AssertionError

    async def hang(self, request: bytes, _context: object) -> bytes:
        self.hanging.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()
        return request


METHODS: Final = ("Echo", "Fail", "Hang")


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    served = Served()
    await served.server.start()
    yield served
    await served.server.stop(None)


@contextlib.asynccontextmanager
async def connected(served: Served, timeout_s: float = TIMEOUT_S) -> AsyncIterator[UnaryConnection]:
    connection = await connect("127.0.0.1", served.port, timeout_s, PONG_S)
    try:
        yield connection
    finally:
        await connection.close()


async def test_a_call(served: Served) -> None:
    async with connected(served) as connection:
        for request in (b"", b"x", bytes(100)):
            assert await connection.call(ECHO, request) == ((0, ""), request)


async def test_more_than_may_be_on_its_way_at_once_both_ways_and_time_and_again(served: Served) -> None:
    async with connected(served) as connection:
        for _ in range(3):
            requests = [bytes([number]) * MIB for number in range(3)]
            answers = await asyncio.gather(*(connection.call(ECHO, request) for request in requests))
            assert [reply for _, reply in answers] == requests


@pytest.mark.parametrize("why", ["etcdserver: mvcc: database space exceeded", "100 % ünknown\n{~^`}\\<>"])
async def test_an_error_and_its_text(served: Served, why: str) -> None:
    async with connected(served) as connection:
        for _ in range(2):
            status, reply = await connection.call(FAIL, why.encode())
            assert (status, reply) == ((grpc.StatusCode.RESOURCE_EXHAUSTED.value[0], why), b"")


async def test_a_method_that_is_not_there(served: Served) -> None:
    async with connected(served) as connection:
        status, _ = await connection.call("/test.Calls/None", b"")
        assert status.code == grpc.StatusCode.UNIMPLEMENTED.value[0]


async def test_who_is_cancelled_leaves_the_call_and_others_go_on(served: Served) -> None:
    async with connected(served) as connection:
        call = asyncio.create_task(connection.call(HANG, b""))
        await served.hanging.wait()
        call.cancel()
        await asyncio.wait([call])
        assert call.cancelled()
        async with asyncio.timeout(TIMEOUT_S):
            await served.cancelled.wait()
        assert (await connection.call(ECHO, b"x"))[1] == b"x"


async def test_a_server_that_ends_leaves_calls_without_an_answer(served: Served) -> None:
    async with connected(served) as connection:
        call = asyncio.create_task(connection.call(HANG, b""))
        await served.hanging.wait()
        await served.server.stop(0)
        outcome = (await asyncio.gather(call, return_exceptions=True))[0]
        # What it says of a call that it broke off, or nothing: never that the call worked.
        assert isinstance(outcome, ConnectionLost) or (isinstance(outcome, tuple) and outcome[0].code != 0)
        assert not connection.is_usable  # it was told so, or saw the end
        with pytest.raises(ConnectionLost):
            await connection.call(ECHO, b"")


async def test_a_server_that_is_silent_is_left(served: Served) -> None:
    async with connected(served, 0.2) as connection:
        outcome = (await asyncio.gather(connection.call(HANG, b""), return_exceptions=True))[0]
        # A server that is pinged so often may say that it has enough of it.
        assert isinstance(outcome, ConnectionLost) or (isinstance(outcome, tuple) and outcome[0].code != 0)
        assert not connection.is_usable


async def test_closing_ends_calls(served: Served) -> None:
    async with connected(served) as connection:
        call = asyncio.create_task(connection.call(HANG, b""))
        await served.hanging.wait()
        await connection.close()
        with pytest.raises(ConnectionLost):
            await call


async def test_nobody_is_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(ConnectionRefusedError):
        await connect("127.0.0.1", port, TIMEOUT_S, PONG_S)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\xff" * 40, b"\0\0\x01\x08\0\0\0\0\0x"])
async def test_what_is_no_http2_loses_the_connection(answer: bytes) -> None:
    async def answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await reader.read()
        writer.close()

    async with await asyncio.start_server(answered, "127.0.0.1", 0) as server:
        connection = await connect("127.0.0.1", server.sockets[0].getsockname()[1], TIMEOUT_S, PONG_S)
        with pytest.raises(ConnectionLost):
            await connection.call(ECHO, b"")
        await connection.close()
