"""A channel to one server: calls as frames, with payloads of any size cut into parts.

What ran is told by the kind of error, and each step keeps that true: an argument that did not arrive whole is
Unreachable (the call was not made), a result that cannot be fetched is IOErr (it was).
"""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Final, NamedTuple

from google.protobuf.message import DecodeError

from sigmaos_ray import config as configuration
from sigmaos_ray import serr
from sigmaos_ray.pb.rpc_pb2 import Part, RpcReply, RpcRequest
from sigmaos_ray.sessp import wire
from sigmaos_ray.sessp.gathered import Gathered

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

    from sigmaos_ray.fslib.fidclnt import RemoteFid
    from sigmaos_ray.pb.sessp_pb2 import Request
    from sigmaos_ray.sessp.client import Aside

_HEADERS_MAX: Final = 64
"""Headers that are kept serialized: of the methods and time-outs that a client uses all the time."""
_LOST: Final = (serr.Unreachable, serr.UnknownFid)
"""What a part of a result meets when the server, or the channel there, is gone."""


class RPCError(serr.Error):
    """A handler ended with an exception that is none of ``serr``; the message tells its class and text."""


class Channel:
    """An open ``rpc/clone``. Calls on it run side by side. ``close`` it; its fid goes with it."""

    def __init__(self, fid: RemoteFid) -> None:
        """``fid``: of the clone file, open; it is the channel's from now on."""
        self.fid = fid
        self._limits = configuration.current().rpc
        self._numbers = itertools.count(1)
        self._headers: dict[tuple[str, float | None], bytes] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        """Payloads that are dropped behind the calls. ``close`` waits for it."""

    @property
    def ended(self) -> bool:
        """True once its session is over."""
        return self.fid.session.ended

    async def call(self, method: str, argument: bytes, timeout_s: float | None) -> bytes:
        """The result of a method; blocks for it. ``timeout_s`` is for the server: whoever calls this cancels it when
        its time is over. Unreachable: it never ran, here; other session errors: it may have. An error that the server
        answered with raises ``Answered``."""
        number = 0
        frame = argument
        if len(argument) > self._limits.inline_bytes_max:
            number, frame = await self._send(method, argument), b""
        try:
            answer = await self.fid.write_read([self.header(method, timeout_s, number), frame])
        except serr.UnknownFid as error:
            # The server looks the fid up before it looks at the call: no handler has seen that.
            raise serr.Unreachable(method, "the server forgot the channel") from error
        except asyncio.CancelledError:
            self._drop_soon(Part.DROP_ARGUMENT, number)
            raise
        return await self.result(method, answer)

    # -- from threads

    def begin(self, method: str, argument: bytes, timeout_s: float | None, ends_s: float | None) -> SentCall:
        """Sends a call whose argument fits into one message; whoever begins it finishes or abandons it. Elsewhere, or
        the session's error: it was not sent. ``ends_s``: the moment of ``time.monotonic`` at which that time is over.
        """
        frames = [self.header(method, timeout_s), argument]
        return SentCall(self, *self.fid.begin_write_read(frames, ends_s))

    def finish(self, method: str, sent: SentCall, ends_s: float | None) -> Sequence[bytes]:
        """Blocks for the frames of the reply, for ``result``. Unreachable: the call never ran, here; other session
        errors: it may have; Timeout after that moment of ``time.monotonic``: it may have, too."""
        try:
            return self.fid.finish_write_read(sent.request, sent.aside, ends_s)
        except serr.UnknownFid as error:
            # The server looks the fid up before it looks at the call: no handler has seen that.
            raise serr.Unreachable(method, "the server forgot the channel") from error
        except TimeoutError as error:
            if isinstance(error, serr.SigmaError):
                raise
            raise serr.Timeout(method, "no reply in time") from error

    def abandon(self, sent: SentCall) -> None:
        """Nobody waits for the reply."""
        self.fid.session.abandon_aside(sent.aside)

    def header(self, method: str, timeout_s: float | None, number: int = 0) -> bytes:
        """The first frame of a call. ``number``: of an argument that was sent ahead; 0 if it is the second frame."""
        cached = self._headers.get((method, timeout_s))
        if cached is not None and not number:
            return cached
        serr.check_utf8("an RPC's method", method)
        header = RpcRequest(method=method, timeout_s=timeout_s or 0.0, argument=number).SerializeToString()
        if not number and len(self._headers) < _HEADERS_MAX:
            self._headers[method, timeout_s] = header
        return header

    async def result(self, method: str, answer: Sequence[bytes]) -> bytes:
        """What the frames of a reply say; blocks to fetch a result that is not in them. Raises ``Answered``; IOErr for
        what is no reply, or a result that cannot be had."""
        if len(answer) < 2:
            raise serr.IOErr(method, "the reply has no frames")
        if not answer[0]:
            return answer[1]
        try:
            reply = RpcReply.FromString(answer[0])
        except DecodeError as error:
            raise serr.IOErr(method, "the reply has no header") from error
        if reply.HasField("error"):
            answer_error = wire.error_from_pb(reply.error)
            if reply.raised:
                answer_error = RPCError(answer_error.obj or method, answer_error.msg)
            raise Answered(answer_error)
        return await self._take(method, reply) if reply.result else answer[1]

    # -- payloads in parts

    async def _send(self, method: str, argument: bytes) -> int:
        """Sends an argument ahead of its call; returns its number. Whatever fails, the call was not made."""
        limits = self._limits
        if len(argument) > limits.payload_bytes_max:
            raise serr.Inval(method, f"an argument of {len(argument)} bytes: it has at most {limits.payload_bytes_max}")
        number, size = next(self._numbers), len(argument)

        async def send(offset: int) -> None:
            part = Part(kind=Part.SEND, number=number, offset=offset, bytes=size)
            await self._move(part, argument[offset : offset + limits.part_bytes])

        try:
            await _side_by_side(send, range(0, size, limits.part_bytes), limits.parts_in_flight_max)
        except serr.SESSION_ERRORS as error:
            # Also where a part's own fate is unknown: parts run nothing, and the call that would was not sent.
            raise serr.Unreachable(method, f"its argument did not arrive: {error}") from error
        except BaseException:
            self._drop_soon(Part.DROP_ARGUMENT, number)
            raise
        return number

    async def _take(self, method: str, reply: RpcReply) -> bytes:
        """A result in parts. IOErr if it cannot be had: the call was made."""
        limits, size = self._limits, reply.result_bytes
        if size > limits.payload_bytes_max:
            raise serr.IOErr(method, f"a result of {size} bytes: it has at most {limits.payload_bytes_max}")
        result = Gathered(size)

        async def take(offset: int) -> None:
            count = min(limits.part_bytes, size - offset)
            part = await self._move(Part(kind=Part.TAKE, number=reply.result, offset=offset, bytes=count))
            if len(part) != count:
                raise serr.IOErr(method, f"{len(part)} of {count} bytes of the result")
            result.put(offset, part)

        try:
            await _side_by_side(take, range(0, size, limits.part_bytes), limits.parts_in_flight_max)
        except _LOST as error:
            raise serr.IOErr(method, f"the result is lost: {error}") from error
        finally:
            # Also after an error: the server keeps the result until it is told, or the channel closes.
            self._drop_soon(Part.DROP_RESULT, reply.result)
        return result.take()

    async def _move(self, part: Part, data: bytes = b"") -> bytes:
        """Does one part, over the session; returns what the server gave. Raises its error, or the session's."""
        answer = await self.fid.write_read([RpcRequest(part=part).SerializeToString(), data])
        if answer[0]:
            raise wire.error_from_pb(RpcReply.FromString(answer[0]).error)
        return answer[1]

    def _drop_soon(self, kind: Part.Kind, number: int) -> None:
        """Has the server free a payload, behind the calls: whoever was cancelled must not wait for it."""
        if number and not self.ended:
            self._own(self._drop(Part(kind=kind, number=number)), "rpc-drop")

    def _own(self, work: Coroutine[None, None, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _drop(self, part: Part) -> None:
        try:
            await self._move(part)
        except serr.SigmaError:  # with the channel, or its server, the payload is gone too
            return

    async def close(self) -> None:
        """Blocks until payloads are dropped and the fid is clunked. Calls that run fail. May be repeated."""
        if self._tasks:
            await asyncio.wait(set(self._tasks))
        await self.fid.clunk_quietly()


class SentCall(NamedTuple):
    """A call that a thread has sent, and waits for."""

    channel: Channel
    request: Request
    aside: Aside


class Answered(Exception):
    """The server answered a call with an error: told apart from errors of the way there, which may be of the same
    class. ``error`` is what the caller gets."""

    def __init__(self, error: serr.SigmaError) -> None:
        super().__init__(str(error))
        self.error = error


async def _side_by_side(work: Callable[[int], Awaitable[None]], items: range, count_max: int) -> None:
    """Works through the items, so many at a time; the first error ends it. Returns when no work is under way."""
    # One iterator for all: each worker takes the next item that no other has.
    remaining = iter(items)

    async def worker() -> None:
        for item in remaining:
            await work(item)

    workers = {asyncio.ensure_future(worker()) for _ in range(min(count_max, len(items)))}
    try:
        for ended in asyncio.as_completed(workers):
            await ended
    finally:
        for task in workers:
            task.cancel()
        await asyncio.wait(workers)
