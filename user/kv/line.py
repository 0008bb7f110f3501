"""Lines: plain connections from clerks to a server's shards, for calls of some 50 microseconds.

A clerk asks over its session (``KvSrv.Line``) where the server listens, and gets a token to show there: whoever may not
call the server has none. Requests and replies are those of ``KvSrv``; where no line can be had, clerks call that.

A frame: length of the payload, number of the call, and method or result (``<IIB``), then the payload. The first frame
of a client has method 0 and the token. Calls on one line run side by side, and are answered in any order.
"""

from __future__ import annotations

import abc
import asyncio
import hmac
import secrets
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from google.protobuf.message import DecodeError, Message

from sigmaos_ray import debug, serr
from sigmaos_ray.pb.sigmap_pb2 import Rerror
from sigmaos_ray.sessp import wire
from user.kv.tuning import SERVER

if TYPE_CHECKING:
    from collections.abc import Mapping

R = TypeVar("R", bound=Message)

HELLO, GET, WRITE, SCAN = range(4)
OK, FAILED = range(2)
METHODS: Final = {"Get": GET, "Write": WRITE, "Scan": SCAN}
_HEADER: Final = struct.Struct("<IIB")
_log = debug.selector("KVGRP")

Handler = Callable[[bytes], Message | Awaitable[Message]]
"""Takes a request as bytes. A reply that is ready is returned as it is: most are, and need no task. Raises DecodeError
for bytes that are no request, and ``serr`` errors."""


def _frame(number: int, what: int, payload: bytes) -> bytes:
    return _HEADER.pack(len(payload), number, what) + payload


def _failed(number: int, error: serr.SigmaError) -> bytes:
    return _frame(number, FAILED, wire.error_to_pb(error).SerializeToString())


def _result(what: int, payload: bytes, reply_class: type[R]) -> R:
    """The reply, or the error, of a frame."""
    try:
        if what == OK:
            return reply_class.FromString(payload)
        raise wire.error_from_pb(Rerror.FromString(payload))
    except DecodeError as error:
        raise serr.IOErr("line", f"the reply is no {reply_class.__name__}") from error


class _Frames(asyncio.Protocol, abc.ABC):
    """Cuts what comes into frames; one that is too large ends the connection."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.frame_bytes_max = SERVER.frame_bytes_max
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        # Frames are small and somebody waits for each: none is to wait for the acknowledgement of the one before.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        at = 0
        while len(buffer) - at >= _HEADER.size:
            length, number, what = _HEADER.unpack_from(buffer, at)
            if length > self.frame_bytes_max:
                self.abort(f"a frame of {length} bytes")
                return
            end = at + _HEADER.size + length
            if len(buffer) < end:
                break
            self.frame(number, what, bytes(buffer[at + _HEADER.size : end]))
            at = end
        if at:
            # Once for all frames that came together: each time, the rest is moved to the front.
            del buffer[:at]

    @abc.abstractmethod
    def frame(self, number: int, what: int, payload: bytes) -> None:
        """Takes one: ``what`` is its method or its result."""

    def abort(self, why: str) -> None:
        """Ends the connection at once; what waits to be sent is not sent."""
        _log(f"line: {why}")
        if self.transport is not None:
            self.transport.abort()


class LineServer:
    """Listens at a port that the system chooses, and answers with ``handlers``. Whoever starts it stops it."""

    def __init__(self, handlers: Mapping[int, Handler], host: str) -> None:
        self.handlers = handlers
        self.host = host
        self.port = 0
        self.token = secrets.token_bytes(16)
        self._server: asyncio.Server | None = None
        self.lines: set[_ServedLine] = set()

    async def start(self) -> None:
        """Returns once it listens. Raises OSError."""
        self._server = await asyncio.get_running_loop().create_server(lambda: _ServedLine(self), self.host, 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Ends all lines; calls that are under way are cancelled, and not answered."""
        if self._server is not None:
            # Not waited for: ``wait_closed`` waits for the lines too, which end only below.
            self._server.close()
        for line in list(self.lines):
            line.abort("the server ends")
        tasks = {task for line in self.lines for task in line.tasks}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


class _ServedLine(_Frames):
    """A client's line, at the server."""

    def __init__(self, server: LineServer) -> None:
        super().__init__()
        self._server = server
        self._has_shown_token = False
        self.frame_bytes_max = len(server.token)  # a stranger makes this process keep no more
        self._is_full = False
        """What was written is not sent yet."""
        self.tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._server.lines.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.lines.discard(self)

    def frame(self, number: int, what: int, payload: bytes) -> None:
        assert self.transport is not None
        if not self._has_shown_token:
            # In a time that does not tell how much of the token was right.
            self._has_shown_token = what == HELLO and hmac.compare_digest(payload, self._server.token)
            if not self._has_shown_token:
                self.abort("a stranger")
            self.frame_bytes_max = SERVER.frame_bytes_max
            return
        handler = self._server.handlers.get(what)
        try:
            if handler is None:
                raise serr.NotFound(f"method {what}")
            reply = handler(payload)
        except DecodeError as error:
            self.transport.write(_failed(number, serr.Inval("request", str(error))))
        except serr.SigmaError as error:
            self.transport.write(_failed(number, error))
        else:
            if isinstance(reply, Message):
                self.transport.write(_frame(number, OK, reply.SerializeToString()))
            else:
                self._reply_later(number, reply)

    def _reply_later(self, number: int, reply: Awaitable[Message]) -> None:
        task = asyncio.ensure_future(self._finish(number, reply))
        self.tasks.add(task)
        task.add_done_callback(self._forget)
        self._pace()

    async def _finish(self, number: int, reply: Awaitable[Message]) -> None:
        try:
            frame = _frame(number, OK, (await reply).SerializeToString())
        except serr.SigmaError as error:
            frame = _failed(number, error)
        # The client may be gone: asyncio warns of writes that nobody reads.
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(frame)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # A defect: the client would wait for ever, so it loses the line, and asks again over another.
            debug.error(f"kv line: {type(error).__name__}: {error}")
            self.abort("a call failed")
        self._pace()

    def pause_writing(self) -> None:
        self._is_full = True
        self._pace()

    def resume_writing(self) -> None:
        self._is_full = False
        self._pace()

    def _pace(self) -> None:
        """Reads on only while there is room for what that brings."""
        if self.transport is None or self.transport.is_closing():
            return
        if self._is_full or len(self.tasks) >= SERVER.calls_max:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()


class AsyncKvLine(_Frames):
    """A line for the tasks of one loop, any number of calls at a time. ``open`` it, and ``close`` it."""

    def __init__(self) -> None:
        super().__init__()
        # By number. Whoever gave up is not here any more, and the reply that comes late is nobody's.
        self._waiters: dict[int, asyncio.Future[tuple[int, bytes]]] = {}
        self._number = 0
        self.is_lost = False

    @classmethod
    async def open(cls, host: str, port: int, token: bytes, timeout_s: float) -> AsyncKvLine:
        """Raises OSError if nobody listens, TimeoutError if nobody answers. Whether the token is right shows at the
        first call."""
        async with asyncio.timeout(timeout_s):
            transport, line = await asyncio.get_running_loop().create_connection(cls, host, port)
        transport.write(_frame(0, HELLO, token))
        return line

    async def call(self, method: int, request: Message, reply_class: type[R]) -> R:
        """Blocks for the reply, without a limit. Unreachable if the line is closed: nothing was sent; IOErr if it is
        lost meanwhile: the call may have been carried out. Raises the server's errors."""
        if self.is_lost or self.transport is None:
            raise serr.Unreachable("line", "is closed")
        self._number = number = (self._number + 1) & 0xFFFF_FFFF
        waiter: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()
        self._waiters[number] = waiter
        try:
            self.transport.write(_frame(number, method, request.SerializeToString()))
            what, payload = await waiter
        finally:
            del self._waiters[number]
        return _result(what, payload, reply_class)

    def frame(self, number: int, what: int, payload: bytes) -> None:
        waiter = self._waiters.get(number)
        if waiter is not None and not waiter.done():
            waiter.set_result((what, payload))

    def connection_lost(self, exc: Exception | None) -> None:
        # IOErr, not Unreachable: whatever was sent may have been carried out.
        self.is_lost = True
        for waiter in self._waiters.values():
            if not waiter.done():
                waiter.set_exception(serr.IOErr("line", f"lost: {exc or 'the server closed it'}"))

    def close(self) -> None:
        """May be repeated."""
        if self.transport is not None:
            self.transport.close()


class BlockingKvLine:
    """A line for one thread at a time, one call at a time, without a loop.

    ``close`` it, also after any error but the server's own: what comes next may be the reply to an earlier call.
    """

    def __init__(self, host: str, port: int, token: bytes, timeout_s: float) -> None:
        """Raises OSError if nobody listens. ``timeout_s``: of each step, here and later."""
        self._socket = socket.create_connection((host, port), timeout_s)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(_frame(0, HELLO, token))
        self._number = 0

    def send(self, method: int, request: Message) -> None:
        """Sends a call; ``receive`` follows. Raises OSError: the server may have got it."""
        self._number = (self._number + 1) & 0xFFFF_FFFF
        self._socket.sendall(_frame(self._number, method, request.SerializeToString()))

    def receive(self, reply_class: type[R]) -> R:
        """Blocks for the reply to what was sent last. Raises OSError, and the server's errors."""
        data: Any = self._socket.recv(1 << 16)
        while len(data) < _HEADER.size:
            data = self._more(data)
        length, number, what = _HEADER.unpack_from(data)
        if number != self._number or length > SERVER.frame_bytes_max:
            raise ConnectionError("the reply is to another call")
        end = _HEADER.size + length
        if len(data) < end:
            data = bytearray(data)
            while len(data) < end:
                data = self._more(data)
        return _result(what, bytes(data[_HEADER.size : end]), reply_class)

    # ``data`` is bytes as long as one ``recv`` brought all, as it mostly does; only what needs more is a bytearray.
    def _more(self, data: Any) -> Any:
        more = self._socket.recv(1 << 20)
        if not more:
            raise ConnectionError("the server closed the line")
        data += more
        return data

    def close(self) -> None:
        """May be repeated."""
        self._socket.close()
