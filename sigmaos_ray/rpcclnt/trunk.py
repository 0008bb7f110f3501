"""Trunks, the client's side: calls from coroutines, side by side, over one plain connection (``sessp.lines``).

Of each call the client can say whether it ran: an Rerror in the reply's place, or the goodbye, says that it did not; a
connection that is lost without a goodbye leaves it unknown.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from sigmaos_ray import config, serr
from sigmaos_ray.pb.sigmap_pb2 import Rerror
from sigmaos_ray.sessp import lines, wire

if TYPE_CHECKING:
    from sigmaos_ray.pb.rpc_pb2 import Line


class Trunk(asyncio.Protocol):
    """One trunk. ``dial`` it; whoever does closes it, at the latest when its session ends: a trunk does not notice by
    itself that its server is gone."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._calls: dict[int, asyncio.Future[list[bytes]]] = {}
        self._numbers = itertools.count(1)
        self._buffer = bytearray()
        self._unsent: list[bytes] = []
        """They leave together, once the loop has done what else there is: calls of one turn share a packet."""
        self._is_full = False
        """True while the server does not read."""

    @classmethod
    async def dial(cls, host: str, offer: Line) -> Trunk:
        """A trunk as it was offered. Raises OSError, TimeoutError among them, if there is nobody."""
        async with asyncio.timeout(config.current().lines.dial_timeout_s):
            transport, trunk = await asyncio.get_running_loop().create_connection(cls, host, offer.port)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        trunk._transport = transport
        transport.write(offer.token)  # without an answer: a token that is refused ends the connection
        return trunk

    @property
    def is_closed(self) -> bool:
        """True before it is dialled, and once it is closed or lost."""
        return self._transport is None or self._transport.is_closing()

    def takes(self, argument: bytes) -> bool:
        """Whether a call can be made now; if not, it goes over the session."""
        return (
            not self._is_full
            and len(self._calls) < lines.TRUNK_CALLS_MAX
            and len(argument) <= lines.TRUNK_ARGUMENT_BYTES_MAX
            and not self.is_closed
        )

    async def call(self, header: bytes, argument: bytes) -> list[bytes]:
        """Blocks for the frames of the reply. Unreachable: the call did not get to a handler; Retry: the same, there
        are too many; IOErr: it may have. One that is cancelled is given up at the server, too."""
        # 32 bits, and never 0, which is the goodbye's.
        number = next(self._numbers) & 0xFFFF_FFFF or next(self._numbers) & 0xFFFF_FFFF
        reply: asyncio.Future[list[bytes]] = self._loop.create_future()
        self._calls[number] = reply
        self._send(lines.trunk_message(number, header, argument))
        try:
            return await reply  # without a look at the time: whoever calls cancels this when it is over
        except asyncio.CancelledError:
            if number in self._calls:  # not answered yet
                self._send(lines.trunk_message(number, b"", b""))
            raise
        finally:
            self._calls.pop(number, None)

    def _send(self, data: bytes) -> None:
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append(data)

    def _flush(self) -> None:
        unsent, self._unsent = self._unsent, []
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(unsent))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        buffer, at, size = self._buffer, 0, lines.NUMBERED.size
        while len(buffer) - at >= size:
            number, first, second = lines.NUMBERED.unpack_from(buffer, at)
            failed, first = bool(first & lines.FAILED), first & ~lines.FAILED
            cut = at + size + first
            if len(buffer) < cut + second:
                break
            frames = [bytes(buffer[at + size : cut]), bytes(buffer[cut : cut + second])]
            at = cut + second
            if number == lines.GOODBYE:
                self._goodbye(frames)
            elif failed:
                self._fail(number, error_from_frame(frames[0]))
            elif (reply := self._calls.pop(number, None)) is not None and not reply.done():
                reply.set_result(frames)
        del buffer[:at]  # once for all of them: it moves what is behind

    def _fail(self, number: int, error: serr.SigmaError) -> None:
        reply = self._calls.pop(number, None)
        if reply is not None and not reply.done():
            reply.set_exception(error)

    def _goodbye(self, frames: list[bytes]) -> None:
        """The server's last message: of the calls without a reply, those that it names may have run."""
        may_have_run = {number for (number,) in lines.NUMBER.iter_unpack(frames[1])}
        for number in list(self._calls):
            error = error_from_frame(frames[0])
            self._fail(number, serr.IOErr(error.obj, error.msg) if number in may_have_run else error)

    def connection_lost(self, exc: Exception | None) -> None:
        # No goodbye came, which would have named those that began: any of them may have run.
        for number in list(self._calls):
            self._fail(number, serr.IOErr("trunk", f"the connection was lost: {exc or 'closed'}"))

    def pause_writing(self) -> None:
        self._is_full = True

    def resume_writing(self) -> None:
        self._is_full = False

    def close(self) -> None:
        """Calls that wait fail. May be repeated."""
        if self._transport is not None:
            # Not ``close``, which first sends what is buffered: the server may be gone, and who waits is to hear of it
            # now.
            self._transport.abort()


def error_from_frame(frame: bytes) -> serr.SigmaError:
    """The error that a server gave in the place of a reply."""
    try:
        return wire.error_from_pb(Rerror.FromString(frame))
    except DecodeError as error:
        return serr.IOErr("line", f"not a reply: {error}")
