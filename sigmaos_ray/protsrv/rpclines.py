"""Lines, the server's side: where they and trunks are taken, and the calls that come over them (see ``sessp.lines``).

Either is a short cut of a channel: its calls are the channel's, it ends with the channel, and whoever may not open
a channel gets none. There is no login on the connection itself: a token, given out over the session, good once and for
a few seconds, says whose it is.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from typing import TYPE_CHECKING

from sigmaos_ray import debug, serr
from sigmaos_ray.pb.rpc_pb2 import Line
from sigmaos_ray.protsrv.rpctrunks import ServedTrunk, refusal, reply_frames
from sigmaos_ray.sessp import lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sigmaos_ray.config import Config
    from sigmaos_ray.protsrv.rpctrunks import ChannelCalls, RpcConnection

_log = debug.selector("RPCSRV")


class LineListener:
    """Takes lines and trunks of one server, from the first that a client asks for until ``close``: a server that nobody
    asks has no second port."""

    def __init__(self, host: str, config: Config) -> None:
        self._host = host
        self.config = config
        self._server: asyncio.Server | None = None
        self._starting = asyncio.Lock()
        self._is_closed = False
        self._tokens: dict[bytes, tuple[ChannelCalls, bool]] = {}
        self.connections: set[RpcConnection] = set()

    async def offer(self, calls: ChannelCalls, *, trunk: bool = False) -> Line:
        """Where a line or a trunk for this channel can be had, once and soon. Retry if too many were offered; Closed
        once the server ends."""
        if len(self._tokens) >= self.config.lines.offers_max:
            raise serr.Retry("line", f"{len(self._tokens)} were offered and not taken yet")
        port = await self._port()
        token = secrets.token_bytes(lines.TOKEN_BYTES)
        self._tokens[token] = (calls, trunk)
        # Clients that are gone before they connect take up no offers of others for long.
        asyncio.get_running_loop().call_later(self.config.session.hello_timeout_s, self._tokens.pop, token, None)
        return Line(port=port, token=token)

    async def _port(self) -> int:
        """Where lines are taken, from now on at the latest. Closed once the server ends."""
        async with self._starting:  # the first two clients at a time would open two ports
            server = self._server
            if server is None and not self._is_closed:
                loop = asyncio.get_running_loop()
                server = self._server = await loop.create_server(lambda: ServedLine(self), self._host, 0)
            # Looked at after the wait: a port that is opened behind ``close`` would be nobody's.
            if server is None or self._is_closed:
                self._close_port()
                raise serr.Closed("line", "the server ends")
            port: int = server.sockets[0].getsockname()[1]
            return port

    def _close_port(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()

    def redeem(self, token: bytes) -> tuple[ChannelCalls, bool] | None:
        """The channel that a connection with this token is for, and whether it is a trunk; None for a stranger. A token
        is good for one connection."""
        return self._tokens.pop(token, None)

    def close(self) -> None:
        """Ends all lines and trunks; none is offered any more. May be repeated."""
        self._is_closed = True
        self._close_port()
        self._tokens.clear()
        for line in list(self.connections):
            line.end("the server ends")


class ServedLine(asyncio.Protocol):
    """One line: a call at a time, answered before the next one is begun. What comes while one runs waits, unread beyond
    what is buffered. Its listener and its channel know it from its token to its end."""

    def __init__(self, listener: LineListener) -> None:
        self._listener = listener
        self._frame_bytes_max = lines.HEADER_BYTES_MAX + listener.config.rpc.inline_bytes_max
        self._buffer = bytearray()
        self._calls: ChannelCalls | None = None
        self._transport: asyncio.Transport | None = None
        self._running: asyncio.Task[None] | None = None
        self._has_begun = False
        """Whether the call that runs may have got to its handler: a task that was made need not have started."""
        self._hello: asyncio.TimerHandle | None = None
        self._is_full = False
        """True while the client does not read its replies."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        # A reply is one small message that somebody waits for: without this the kernel may hold it back for the next
        # one.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._listener.connections.add(self)
        hello_timeout_s = self._listener.config.session.hello_timeout_s
        self._hello = asyncio.get_running_loop().call_later(hello_timeout_s, self.end, "no token came")
        if len(self._listener.connections) > self._listener.config.session.sessions_max:
            # Counted before the token came, too: whoever connects and says nothing must not use up the process's
            # descriptors.
            self.end("too many lines")

    def connection_lost(self, exc: Exception | None) -> None:
        self._listener.connections.discard(self)
        if self._hello is not None:
            self._hello.cancel()
        if self._calls is not None:
            self._calls.lines.discard(self)
        if self._running is not None:
            self._running.cancel()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._calls is None and not self._greeted():
            return
        if self._running is None and not self._is_full:
            self._next()
        # One call behind the one that runs is read ahead; what is more stays in the kernel, and stops the client.
        elif self._transport is not None and len(self._buffer) > self._frame_bytes_max:
            self._transport.pause_reading()

    def _greeted(self) -> bool:
        """Looks at the token, once it is all there. True if this is a line from now on, whose calls follow."""
        if len(self._buffer) < lines.TOKEN_BYTES:
            return False
        redeemed = self._listener.redeem(bytes(self._buffer[: lines.TOKEN_BYTES]))
        if redeemed is None or redeemed[0].is_closed:
            self.end("a stranger")
            return False
        del self._buffer[: lines.TOKEN_BYTES]
        if self._hello is not None:
            self._hello.cancel()
        calls, is_trunk = redeemed
        if is_trunk:
            self._become_trunk(calls)
            return False
        self._calls = calls
        self._calls.lines.add(self)
        return True

    def _become_trunk(self, calls: ChannelCalls) -> None:
        """Hands the connection over, with what has come on it already."""
        assert self._transport is not None
        connections = self._listener.connections
        trunk = ServedTrunk(calls, self._transport, connections.discard)
        connections.discard(self)
        connections.add(trunk)
        self._transport.set_protocol(trunk)
        trunk.data_received(bytes(self._buffer))

    def _next(self) -> None:
        """Starts the next call, if it is all there; of those that are answered at once, as many as there are."""
        while not self._is_full and (frames := self._take()) is not None:
            assert self._calls is not None
            assert self._transport is not None
            try:
                answer = self._calls.at_once(frames)
            except serr.SigmaError as error:
                self._transport.write(_refused(error))
                continue
            if answer is None:
                self._running = asyncio.get_running_loop().create_task(self._answer(frames))
                return
            self._transport.write(lines.line_message(answer[0], answer[1]))

    def _take(self) -> list[bytes] | None:
        """The frames of the next call; None if it is not all there. Ends the line for one that is too large."""
        buffer = self._buffer
        if len(buffer) < lines.SIZES.size:
            return None
        first, second = lines.SIZES.unpack_from(buffer)
        if first > lines.HEADER_BYTES_MAX or first + second > self._frame_bytes_max:
            self.end(f"a message of {first + second} bytes")
            return None
        cut = lines.SIZES.size + first
        end = cut + second
        if len(buffer) < end:
            return None
        frames = [bytes(buffer[lines.SIZES.size : cut]), bytes(buffer[cut:end])]
        del buffer[:end]
        return frames

    async def _answer(self, frames: Sequence[bytes]) -> None:
        """Runs one call in a task of its own, and goes on with the next."""
        assert self._calls is not None
        assert self._transport is not None
        # A task that is cancelled before its first step never comes here: that call has not run, and ``end`` says so.
        self._has_begun = True
        answer, flag = await reply_frames(self._calls, frames)
        self._transport.write(lines.line_message(answer[0], answer[1], flag))
        self._running, self._has_begun = None, False
        self._go_on()  # what came meanwhile is in the buffer, and no data_received will tell of it

    def _go_on(self) -> None:
        if self._transport is not None and self._running is None and not self._is_full:
            self._transport.resume_reading()
            self._next()

    def pause_writing(self) -> None:
        """The client does not read its replies: it is not read from either."""
        self._is_full = True
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._is_full = False
        self._go_on()

    def end(self, why: str) -> None:
        """Closes it; a call that runs is cancelled. The client is told if no call of its can have run. May be
        repeated."""
        if self._transport is None or self._transport.is_closing():
            return
        _log(f"line: {why}")
        if self._running is not None:
            self._running.cancel()  # one that has not begun never does
        if self._calls is not None and not self._has_begun:
            # In place of a reply: a call that is on its way now is not read any more, and its client learns that.
            self._transport.write(_refused(serr.Unreachable("line", why)))
        self._transport.close()


def _refused(error: serr.SigmaError) -> bytes:
    """The reply, as a message, to a call that did not get to a handler."""
    return lines.line_message(refusal(error), b"", lines.FAILED)
