"""Trunks, the server's side: calls side by side over one plain connection (see ``sessp.lines``)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

from sigmaos_ray import debug, serr
from sigmaos_ray.sessp import lines, wire

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_log = debug.selector("RPCSRV")

_MESSAGE_BYTES_MAX: Final = lines.HEADER_BYTES_MAX + lines.TRUNK_ARGUMENT_BYTES_MAX


class ChannelCalls(Protocol):
    """A channel, as its lines and trunks see it."""

    lines: set[RpcConnection]
    """Those that there are; each puts itself in, and takes itself out."""

    @property
    def is_closed(self) -> bool: ...

    def at_once(self, frames: Sequence[bytes]) -> Sequence[bytes] | None:
        """The reply to a call that need not wait; None for any other, which is for ``writeread``. Raises a refusal."""

    async def writeread(self, frames: Sequence[bytes]) -> Sequence[bytes]:
        """The reply to a call, whatever became of it. Raises if no handler saw the call."""


class RpcConnection(Protocol):
    """A line or a trunk."""

    def end(self, why: str) -> None:
        """Closes it; calls that run are cancelled. May be repeated."""


def refusal(error: serr.SigmaError) -> bytes:
    """The first frame of a reply to a call that did not get to a handler."""
    return wire.error_to_pb(error).SerializeToString()


async def reply_frames(calls: ChannelCalls, frames: Sequence[bytes]) -> tuple[Sequence[bytes], int]:
    """The frames of the reply to a call, and its flag (``lines.FAILED`` if no handler saw it). Raises nothing but a
    cancellation."""
    try:
        return await calls.writeread(frames), 0
    except Exception as error:  # noqa: BLE001  # as for a session's requests: what it raises is the client's answer
        if not isinstance(error, serr.SigmaError):
            debug.error(f"line: {type(error).__name__}: {error}")
        return (refusal(serr.wrap(error)), b""), lines.FAILED


class ServedTrunk(asyncio.Protocol):
    """One trunk, which takes a connection over once that has shown its token. ``on_lost`` is called at its end."""

    def __init__(
        self, calls: ChannelCalls, transport: asyncio.Transport, on_lost: Callable[[ServedTrunk], None]
    ) -> None:
        self._calls = calls
        self._transport = transport
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray()
        self._running: dict[int, asyncio.Task[None]] = {}
        """By the client's number."""
        self._begun: set[int] = set()
        """Those of them that may have got to their handlers: a task that was made need not have started."""
        self._replies: list[bytes] = []
        """They leave together, once the loop has done what else there is: calls that end together share a packet."""
        self._is_full = False
        """True while the client does not read its replies."""
        calls.lines.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._on_lost(self)
        self._calls.lines.discard(self)
        for task in self._running.values():
            task.cancel()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._is_full:
            self._serve()

    def _serve(self) -> None:
        """Begins all calls that are there as a whole. Ends the trunk for one that is too large."""
        buffer, at, size = self._buffer, 0, lines.NUMBERED.size
        while len(buffer) - at >= size and not self._is_full:
            number, first, second = lines.NUMBERED.unpack_from(buffer, at)
            if first > lines.HEADER_BYTES_MAX or first + second > _MESSAGE_BYTES_MAX:
                self.end(f"a message of {first + second} bytes")
                return
            cut = at + size + first
            if len(buffer) < cut + second:
                break
            frames = [bytes(buffer[at + size : cut]), bytes(buffer[cut : cut + second])]
            at = cut + second
            if first:
                self._call(number, frames)
            elif number in self._running:  # a message without a header: the client gave this call up
                self._running.pop(number).cancel()
        del buffer[:at]

    def _call(self, number: int, frames: Sequence[bytes]) -> None:
        """Answers a call, refuses it, or gives it a task."""
        if number in self._running or number == lines.GOODBYE:
            self._refuse(number, serr.Inval("number", f"{number} is that of another call"))
            return
        try:
            answer = self._calls.at_once(frames)
        except serr.SigmaError as error:
            self._refuse(number, error)
            return
        if answer is not None:
            self._reply(lines.trunk_message(number, answer[0], answer[1]))
        elif len(self._running) >= lines.TRUNK_CALLS_MAX:
            # Not by reading no more: the message that gives a call up would be stuck behind.
            self._refuse(number, serr.Retry("trunk", f"{len(self._running)} calls run"))
        else:
            self._running[number] = self._loop.create_task(self._run(number, frames))

    async def _run(self, number: int, frames: Sequence[bytes]) -> None:
        # A task that is cancelled before its first step never comes here: that call has not run, and ``end`` says so.
        self._begun.add(number)
        try:
            answer, flag = await reply_frames(self._calls, frames)
            self._reply(lines.trunk_message(number, answer[0], answer[1], flag))
        finally:
            self._begun.discard(number)
            self._running.pop(number, None)

    def _refuse(self, number: int, error: serr.SigmaError) -> None:
        self._reply(lines.trunk_message(number, refusal(error), b"", lines.FAILED))

    def _reply(self, data: bytes) -> None:
        if not self._replies:
            self._loop.call_soon(self._flush)
        self._replies.append(data)

    def _flush(self) -> None:
        replies, self._replies = self._replies, []
        if replies and not self._transport.is_closing():
            self._transport.write(b"".join(replies))

    def pause_writing(self) -> None:
        """The client does not read its replies: it is not read from either."""
        self._is_full = True
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._is_full = False
        self._transport.resume_reading()
        self._serve()

    def end(self, why: str) -> None:
        """See ``RpcConnection``. The client is told which calls may have run; of all others without a reply it then
        knows that they have not."""
        if self._transport.is_closing():
            return
        _log(f"trunk: {why}")
        for task in self._running.values():
            task.cancel()  # one that has not begun never does
        begun = b"".join(lines.NUMBER.pack(number) for number in self._begun)
        error_frame = refusal(serr.Unreachable("trunk", why))
        self._reply(lines.trunk_message(lines.GOODBYE, error_frame, begun, lines.FAILED))
        # Now, not in the loop's next turn: behind the close nothing is sent any more.
        self._flush()
        self._transport.close()
