"""gRPC's unary calls over a connection of our own, on asyncio: HTTP/2 (RFC 9113) as far as they need it.

grpc.aio spends more time on a call than etcd on a small transaction, and its answers come through another thread. This
is for the one call that every change in named waits for.
"""

from __future__ import annotations

import asyncio
import struct
from struct import Struct
from typing import TYPE_CHECKING, Final, TypeAlias

from kernel.named.headers import BadHeaders, CallStatus, request_headers, status_of
from sigmaos_ray.sessp import plain
from sigmaos_ray.tls.identity import HTTP2
from sigmaos_ray.tls.transport import open_connection

if TYPE_CHECKING:
    from collections.abc import Callable

    from sigmaos_ray.tls.identity import TlsIdentity

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_FRAME: Final = Struct(">HBBBI")
"""A frame's length (16 bits and 8), kind, flags, and stream."""
_SETTING: Final = Struct(">HI")
_U32: Final = Struct(">I")
_MESSAGE: Final = Struct(">BI")
"""gRPC's own header of a message: whether it is compressed, and its length."""

_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY, _WINDOW, _CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
_ACK: Final = 1
_END_STREAM: Final = 1
_END_HEADERS: Final = 4
_PADDED: Final = 8
_PRIORITY: Final = 0x20

_HEADER_TABLE_SIZE, _ENABLE_PUSH, _INITIAL_WINDOW_SIZE, _MAX_FRAME_SIZE = 1, 2, 4, 5
_WINDOW_BYTES: Final = 65_535
"""What may be on its way to a server before it says more."""
_FRAME_BYTES: Final = 16_384
"""The largest frame before it says more, and the largest that we take."""
_OUR_WINDOW_BYTES: Final = 4 << 20
"""What may be on its way to us: more than any reply has, so nothing waits for us to say more."""
_STREAM_MAX: Final = (1 << 31) - 1

_CANCELLED: Final = 8
_UNKNOWN: Final = 2
_UNAVAILABLE: Final = 14
_STATUSES_MAX: Final = 16


class ConnectionLost(Exception):
    """The connection ended before the call did: the server may have run it, or not."""


OnEnd: TypeAlias = "Callable[[CallStatus | ConnectionLost, bytes], object]"
"""Told how a call ended, and its reply, which is empty unless the code is 0; ConnectionLost if nobody says."""


class _Call:
    """One call that is under way."""

    __slots__ = ("header_block", "is_ending", "on_end", "received", "timer", "unsent", "window_bytes")

    def __init__(self, message: bytes, window_bytes: int, on_end: OnEnd, timer: asyncio.TimerHandle) -> None:
        self.unsent = memoryview(message)
        self.window_bytes = window_bytes
        self.received = b""
        self.header_block = b""
        self.is_ending = False
        self.on_end = on_end
        self.timer = timer


class UnaryConnection(asyncio.Protocol):
    """One connection to one server. Made by ``connect``; ``close`` it. Any number of calls at a time."""

    def __init__(self, authority: str, timeout_s: float, pong_after_s: float) -> None:
        self._authority = authority
        self._timeout_s = timeout_s
        self._pong_after_s = pong_after_s
        self._pongs: list[bytes] = []
        self._ponging: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
        self._why_lost = ""
        self._rest = b""
        self._calls: dict[int, _Call] = {}
        """By stream, oldest first."""
        self._next_stream = 1
        self._headers: dict[str, bytes] = {}
        """The block that begins a call, by its path."""
        self._statuses: dict[bytes, CallStatus] = {}
        """Of blocks that ended calls well: they are the same time and again."""
        self._window_bytes = self._stream_window_bytes = _WINDOW_BYTES
        self._frame_bytes_max = _FRAME_BYTES
        self._unacknowledged_bytes = 0
        self._is_going = False
        """The server takes no more calls here."""

    @property
    def is_usable(self) -> bool:
        """Whether calls may begin on it."""
        return not (self._why_lost or self._is_going)

    def begin(self, path: str, request: bytes, on_end: OnEnd) -> int:
        """Sends a call. ``on_end`` is called as its last message comes, without a turn of the loop, or after the
        time-out: who is silent for so long is left. Returns the number for ``abandon``. ConnectionLost, and nothing was
        sent, on a connection that is not usable."""
        if not self.is_usable:
            raise ConnectionLost(self._why_lost or "the server takes no more calls")
        stream, self._next_stream = self._next_stream, self._next_stream + 2
        self._is_going = self._next_stream > _STREAM_MAX  # it has no numbers for more
        timer = asyncio.get_running_loop().call_later(self._timeout_s, self._lose, "no answer")
        message = _MESSAGE.pack(0, len(request)) + request
        call = self._calls[stream] = _Call(message, self._stream_window_bytes, on_end, timer)
        block = self._headers.get(path)
        if block is None:
            block = self._headers[path] = request_headers(self._authority, path, self._timeout_s)
        self._send(stream, call, _frame(_HEADERS, _END_HEADERS, stream, block))
        return stream

    def abandon(self, stream: int) -> None:
        """Nobody waits for a call any more, which may run all the same. Harmless for one that has ended."""
        call = self._calls.pop(stream, None)
        if call is not None:
            call.timer.cancel()
            self._write(_frame(_RESET, 0, stream, _U32.pack(_CANCELLED)))

    async def call(self, path: str, request: bytes) -> tuple[CallStatus, bytes]:
        """``begin``, for who waits: how the call ended, and its reply. ConnectionLost if nobody says how it ended."""
        done: asyncio.Future[tuple[CallStatus, bytes]] = asyncio.get_running_loop().create_future()

        def ended(status: CallStatus | ConnectionLost, reply: bytes) -> None:
            if done.done():
                return  # cancelled in this very turn of the loop
            if isinstance(status, ConnectionLost):
                done.set_exception(status)
            else:
                done.set_result((status, reply))

        stream = self.begin(path, request, ended)
        try:
            return await done
        finally:
            self.abandon(stream)

    # -- what goes out

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def _send(self, stream: int, call: _Call, head: bytes = b"") -> None:
        """As much of a request as the server takes now, behind ``head``."""
        parts = [head]
        while call.unsent:
            count = min(len(call.unsent), self._frame_bytes_max, self._window_bytes, call.window_bytes)
            if count <= 0:
                break
            part, call.unsent = call.unsent[:count], call.unsent[count:]
            self._window_bytes -= count
            call.window_bytes -= count
            parts.append(_frame(_DATA, 0 if call.unsent else _END_STREAM, stream, part))
        if data := b"".join(parts):
            self._write(data)

    def _send_pongs(self) -> None:
        self._ponging = None
        self._write(b"".join(self._pongs))
        self._pongs.clear()

    def _send_more(self) -> None:
        for stream, call in list(self._calls.items()):
            if call.unsent:
                self._send(stream, call)

    # -- what comes in

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        plain.quicken(transport.get_extra_info("socket"))
        settings = ((_HEADER_TABLE_SIZE, 0), (_ENABLE_PUSH, 0), (_INITIAL_WINDOW_SIZE, _OUR_WINDOW_BYTES))
        self._write(
            _PREFACE
            + _frame(_SETTINGS, 0, 0, b"".join(_SETTING.pack(*each) for each in settings))
            + _frame(_WINDOW, 0, 0, _U32.pack(_OUR_WINDOW_BYTES - _WINDOW_BYTES))
        )

    def data_received(self, data: bytes) -> None:
        data = self._rest + data if self._rest else data
        at, size = 0, _FRAME.size
        try:
            while len(data) - at >= size:
                high, low, kind, flags, stream = _FRAME.unpack_from(data, at)
                begin = at + size
                end = begin + (high << 8 | low)
                if end - begin > _FRAME_BYTES:
                    raise BadHeaders(f"a frame of {end - begin} bytes")
                if len(data) < end:
                    break
                self._received(kind, flags, stream & _STREAM_MAX, data[begin:end])
                at = end
        except (BadHeaders, IndexError, struct.error) as error:
            self._lose(f"not HTTP/2 as it was asked for: {error}")
        self._rest = data[at:]

    def _received(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == _DATA:
            self._received_data(flags, stream, payload)
        elif kind in (_HEADERS, _CONTINUATION):
            self._received_headers(kind, flags, stream, payload)
        elif kind == _PING and not flags & _ACK:
            # Later: until it is answered a server of gRPC-Go sends no other one, and else one with each request, to
            # learn how fast the connection is. Each of them would wake both ends in the middle of a call.
            self._pongs.append(_frame(_PING, _ACK, 0, payload))
            if self._ponging is None:
                self._ponging = asyncio.get_running_loop().call_later(self._pong_after_s, self._send_pongs)
        elif kind == _WINDOW:
            self._received_window(stream, _U32.unpack(payload)[0])
        elif kind == _RESET:
            self._end(stream, CallStatus(_UNAVAILABLE, f"the server gave it up: {_U32.unpack(payload)[0]}"))
        elif kind == _SETTINGS and not flags & _ACK:
            self._received_settings(payload)
        elif kind == _GOAWAY:
            self._is_going = True
            last = _U32.unpack_from(payload)[0]
            for unseen in [each for each in self._calls if each > last]:
                self._lose_call(unseen)
            if not self._calls:
                self._lose("the server goes")

    def _received_data(self, flags: int, stream: int, payload: bytes) -> None:
        self._unacknowledged_bytes += len(payload)
        if self._unacknowledged_bytes > _OUR_WINDOW_BYTES // 2:
            # Of the connection alone: what comes on one stream is less than may be on its way.
            self._write(_frame(_WINDOW, 0, 0, _U32.pack(self._unacknowledged_bytes)))
            self._unacknowledged_bytes = 0
        call = self._calls.get(stream)
        if call is None:
            return
        call.received += payload[1 : len(payload) - payload[0]] if flags & _PADDED else payload
        if flags & _END_STREAM:  # without the headers that a call ends with
            self._end(stream, CallStatus(_UNKNOWN, "no gRPC status"))

    def _received_headers(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == _HEADERS:
            if flags & _PADDED:
                payload = payload[1 : len(payload) - payload[0]]
            if flags & _PRIORITY:
                payload = payload[5:]
        call = self._calls.get(stream)
        if call is None:
            return
        call.header_block += payload
        call.is_ending |= kind == _HEADERS and bool(flags & _END_STREAM)
        if flags & _END_HEADERS:
            block, call.header_block = call.header_block, b""
            if call.is_ending:
                self._end(stream, self._status_of(block))

    def _status_of(self, block: bytes) -> CallStatus:
        status = self._statuses.get(block)
        if status is None:
            status = status_of(block)
            if not status.code and len(self._statuses) < _STATUSES_MAX:
                self._statuses[block] = status
        return status

    def _received_window(self, stream: int, more_bytes: int) -> None:
        if not stream:
            self._window_bytes += more_bytes
        elif stream in self._calls:
            self._calls[stream].window_bytes += more_bytes
        self._send_more()

    def _received_settings(self, payload: bytes) -> None:
        for setting, value in _SETTING.iter_unpack(payload):
            if setting == _MAX_FRAME_SIZE:
                self._frame_bytes_max = value
            elif setting == _INITIAL_WINDOW_SIZE:
                for call in self._calls.values():
                    call.window_bytes += value - self._stream_window_bytes
                self._stream_window_bytes = value
        self._write(_frame(_SETTINGS, _ACK, 0, b""))
        self._send_more()

    def _end(self, stream: int, status: CallStatus) -> None:
        call = self._calls.pop(stream, None)
        if call is None:
            return
        call.timer.cancel()
        reply = b""
        if not status.code:
            try:
                is_compressed, length = _MESSAGE.unpack_from(call.received)
            except struct.error:
                is_compressed, length = 0, -1
            reply = call.received[_MESSAGE.size :]
            if is_compressed or len(reply) != length:
                status, reply = CallStatus(_UNKNOWN, f"{len(reply)} bytes that are no reply"), b""
        if self._is_going and not self._calls:
            self._lose("it takes no more calls")
        call.on_end(status, reply)

    # -- the end

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._lose(str(exc or "the server closed it"))

    def _lose(self, why: str) -> None:
        self._why_lost = self._why_lost or why
        if self._ponging is not None:
            self._ponging.cancel()
        if self._transport is not None:
            self._transport.abort()
        for stream in list(self._calls):
            self._lose_call(stream)

    def _lose_call(self, stream: int) -> None:
        call = self._calls.pop(stream, None)
        if call is None:
            return
        call.timer.cancel()
        call.on_end(ConnectionLost(self._why_lost or "the server goes"), b"")

    async def close(self) -> None:
        """Ends it, and the calls that are under way. May be repeated."""
        self._lose("closed")
        await asyncio.sleep(0)  # transports end in the loop's next turn


def _frame(kind: int, flags: int, stream: int, payload: bytes | memoryview) -> bytes:
    length = len(payload)
    return _FRAME.pack(length >> 8, length & 0xFF, kind, flags, stream) + payload


async def connect(
    host: str, port: int, timeout_s: float, pong_after_s: float, tls: TlsIdentity | None = None, path: str = ""
) -> UnaryConnection:
    """A connection; ``timeout_s``: of each of its calls, and of this one; ``pong_after_s``: how long a ping waits for
    its answer; ``path``: of a Unix socket, where the server has one. OSError, TimeoutError, TlsRefused and Perm among
    them, if there is nobody."""
    connection = UnaryConnection(f"{host}:{port}", timeout_s, pong_after_s)
    async with asyncio.timeout(timeout_s):
        if path:
            await asyncio.get_running_loop().create_unix_connection(lambda: connection, path)
        elif tls is not None:
            await open_connection(connection, host, port, tls, HTTP2)
        else:
            await asyncio.get_running_loop().create_connection(lambda: connection, host, port)
    return connection
