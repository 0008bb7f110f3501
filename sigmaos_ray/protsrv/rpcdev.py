"""The RPC device of a server: ``rpc/clone`` opens a channel, one Twriteread on it is one call (R-1 to R-7).

Opening ``clone`` makes the fid a channel of its own, as 9P's clone files do, so a channel costs one walk and one open.

What a client must be able to tell apart: an error in the place of the reply (an Rerror) says that no handler saw the
call, which may then be made again elsewhere; an error within the reply is what became of the call.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.message import DecodeError, Message

from sigmaos_ray import debug, serr
from sigmaos_ray.deadlines import is_cancelled
from sigmaos_ray.pb.rpc_pb2 import Part, RpcReply, RpcRequest
from sigmaos_ray.protsrv.devices import DeviceNode, ReportNode, StaticDir
from sigmaos_ray.protsrv.node import OpenFile, OpenHow
from sigmaos_ray.protsrv.payloads import HeldBytes, Payloads
from sigmaos_ray.protsrv.rpctable import RpcTable
from sigmaos_ray.rpcsrv import RpcContext
from sigmaos_ray.sessp import wire
from sigmaos_ray.sigmap import DEV_RPC, NO_FENCE, RPC_DEV, Fence

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from sigmaos_ray.config import Config
    from sigmaos_ray.protsrv.stats import ServerStats
    from sigmaos_ray.rpcsrv import Caller

_log = debug.selector("RPCSRV")

_HEADERS_MAX: Final = 64
_HEADER_KEPT_BYTES_MAX: Final = 256

_UNKNOWN_METHOD: Final = "?"
"""What calls of methods that are not there count as."""


class RpcDevice:
    """The ``rpc`` directory of a server with those service objects; its node is ``dir``. ``close`` it."""

    def __init__(
        self,
        services: Sequence[object],
        stats: ServerStats,
        config: Config,
    ) -> None:
        self.table = RpcTable(services, config.rpc.handler_threads_max)
        self.stats = stats
        self.config = config
        self.held = HeldBytes(config.rpc)
        self.running_count = 0
        """Calls that a handler may have seen, and that are not answered."""
        self.is_draining = False
        self._idle = asyncio.Event()
        """Set once a drain has nothing more to wait for."""
        self._channel_count = 0
        report = ReportNode("stats", 3, stats.rpcs_to_json)
        self.dir = StaticDir(RPC_DEV, [_CloneNode(self), report], 1, DEV_RPC)

    def next_channel(self) -> int:
        """The number of a new channel, for people: clients know theirs by its fid."""
        self._channel_count += 1
        return self._channel_count

    def call_began(self) -> None:
        """Whoever says so says ``call_ended``."""
        self.running_count += 1

    def call_ended(self) -> None:
        self.running_count -= 1
        self.look_if_idle()

    def look_if_idle(self) -> None:
        """Wakes a drain if all is over that it waits for: calls, and results that clients are taking in parts."""
        if self.is_draining and not self.running_count and not self.held.results_count:
            self._idle.set()

    async def drain(self, timeout_s: float) -> None:
        """Refuses new calls, by an error that says that no handler saw them, and blocks until those that run are over
        and their results taken, at most ``timeout_s``."""
        self.is_draining = True
        self.look_if_idle()
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            debug.error(f"{self.running_count} RPCs still run after {timeout_s:g} s")

    def close(self) -> None:
        """No handler is begun any more in a thread. May be repeated. Calls that run end with their sessions."""
        self.table.close()


class _Channel(OpenFile):
    """One client's channel, owned by its fid. Calls on it run side by side."""

    def __init__(self, device: RpcDevice, caller: Caller) -> None:
        self._device = device
        self._table = device.table
        self._stats = device.stats
        self._timeout_s_max = device.config.wire.call_timeout_s_max
        self._inline_bytes_max = device.config.rpc.inline_bytes_max
        self._caller = caller
        self._id = device.next_channel()
        self._context_for_ever = RpcContext(caller)
        self._headers: dict[bytes, RpcRequest] = {}
        """Of calls that fit into a message, read once: a client's are the same time and again."""
        self._payloads = Payloads(device.held)
        self.is_closed = False

    async def read(self, offset: int, count: int) -> bytes:
        """The channel's number, as 9P's clone files tell it."""
        return f"{self._id:x}".encode()[offset : offset + count]

    async def write(self, offset: int, data: bytes, fence: Fence = NO_FENCE) -> int:
        raise serr.NotSupported(RPC_DEV, "calls are made with writeread")

    async def close(self) -> None:
        # First: a handler that ends later must not keep a result that nobody would drop.
        self.is_closed = True
        self._payloads.close()
        self._device.look_if_idle()

    async def writeread(self, frames: Sequence[bytes]) -> Sequence[bytes]:
        """One call, or one part of a payload. Blocks for as long as the handler takes. Raises where no handler saw the
        call; what a handler raised is in the reply."""
        begun = self.begin_writeread(frames)
        return await begun if isinstance(begun, Coroutine) else begun

    def begin_writeread(self, frames: Sequence[bytes]) -> Sequence[bytes] | Coroutine[Any, Any, Sequence[bytes]]:
        try:
            request = self._headers.get(frames[0]) if len(frames) > 1 else None
            if request is None:
                request = self._request(frames)
                if request.HasField("part"):
                    return self._part(request.part, frames[1])
        except serr.SigmaError as error:
            return _error_reply(error)
        if self._device.is_draining:
            self._payloads.drop_argument(request.argument)
            # Raised, not answered: by that the client knows that no handler saw the call. Parts are moved all the
            # same: results of calls that ran before are what the drain waits for.
            raise serr.Unreachable(request.method, "the server shuts down")
        method, began_ns = request.method, time.perf_counter_ns()
        # Calls of methods that are not there count as one: clients must not fill the counters with names.
        counted_as = method if self._table.has(method) else _UNKNOWN_METHOD
        self._stats.rpcs[counted_as] += 1
        try:
            argument = self._payloads.argument(request.argument) if request.argument else frames[1]
            reply = self._table.call(method, argument, self._context(request))
            if not isinstance(reply, Message):
                # Before the first wait: a drain that begins meanwhile waits for this call, too.
                self._device.call_began()
                return self._finish(method, counted_as, began_ns, reply)
            answer = self._result_reply(reply.SerializeToString())
        except _RAISED_BY_HANDLERS as error:
            answer = _raised_reply(method, error)
        self._count(method, counted_as, began_ns)
        return answer

    async def _finish(self, method: str, counted_as: str, began_ns: int, reply: Awaitable[Message]) -> Sequence[bytes]:
        try:
            # Within the ``try``: a result that finds no room is an error of the call, which has run, and no refusal of
            # it.
            return self._result_reply((await reply).SerializeToString())
        except _RAISED_BY_HANDLERS as error:
            if isinstance(error, asyncio.CancelledError) and is_cancelled():  # the call's session has ended
                raise
            return _raised_reply(method, error)
        finally:
            self._count(method, counted_as, began_ns)
            self._device.call_ended()

    def _count(self, method: str, counted_as: str, began_ns: int) -> None:
        """Counts a call that is over."""
        self._stats.rpc_latencies[counted_as].add(time.perf_counter_ns() - began_ns)
        if _log.on:
            _log(f"{method} is over")

    def _context(self, request: RpcRequest) -> RpcContext:
        """What the handler gets. The time runs from here, when the call has arrived: the client's own clock is the one
        that decides, this one only keeps handlers from working for nobody. Inval for a time-out that is none."""
        timeout_s = request.timeout_s
        if timeout_s == 0:
            return self._context_for_ever
        if not timeout_s > 0:  # NaN too: the event loop cannot order it
            raise serr.Inval(request.method, f"a time-out of {timeout_s} s")
        timeout_s = min(timeout_s, self._timeout_s_max)
        return RpcContext(self._caller, timeout_s, time.monotonic() + timeout_s)

    def _request(self, frames: Sequence[bytes]) -> RpcRequest:
        """The header of a call. Inval if the frames are no call."""
        if len(frames) < 2:
            raise serr.Inval(RPC_DEV, "a call has two frames: RpcRequest and argument")
        header = frames[0]
        try:
            request = RpcRequest.FromString(header)
        except DecodeError as error:
            raise serr.Inval(RPC_DEV, f"not an RpcRequest: {error}") from error
        if len(header) <= _HEADER_KEPT_BYTES_MAX and not (request.argument or request.HasField("part")):
            if len(self._headers) >= _HEADERS_MAX:
                self._headers.clear()
            self._headers[header] = request
        return request

    # -- payloads in parts

    def _result_reply(self, result: bytes) -> Sequence[bytes]:
        """The frames of a reply with that result, which is kept if it is too large for them."""
        if len(result) <= self._inline_bytes_max:
            return [b"", result]
        if self.is_closed:  # nobody would drop it
            raise serr.Closed(RPC_DEV, "the channel was closed meanwhile")
        reply = RpcReply(result=self._payloads.keep(result), result_bytes=len(result))
        return [reply.SerializeToString(), b""]

    async def _part(self, part: Part, data: bytes) -> Sequence[bytes]:
        try:
            return [b"", await self._move(part, data)]
        except serr.SigmaError as error:
            return _error_reply(error)

    async def _move(self, part: Part, data: bytes) -> bytes:
        """Does what a part asks for; returns what goes back."""
        payloads = self._payloads
        if part.kind == Part.SEND:
            payloads.send(part.number, part.offset, part.bytes, data)
        elif part.kind == Part.TAKE:
            return payloads.take(part.number, part.offset, part.bytes)
        elif part.kind == Part.DROP_ARGUMENT:
            payloads.drop_argument(part.number)
        elif part.kind == Part.DROP_RESULT:
            payloads.drop_result(part.number)
            self._device.look_if_idle()
        else:
            raise serr.Inval(RPC_DEV, f"a part of kind {part.kind}")
        return b""


def _error_reply(error: serr.SigmaError, raised: str = "") -> Sequence[bytes]:
    """The frames of a reply that is an error. ``raised``: the class of an exception that is none of ``serr``."""
    return [RpcReply(error=wire.error_to_pb(error), raised=raised).SerializeToString(), b""]


def _raised_reply(method: str, error: BaseException) -> Sequence[bytes]:
    """The frames of a reply to a call whose handler raised something."""
    if isinstance(error, serr.SigmaError):
        return _error_reply(error)
    debug.error(f"rpc {method}: {type(error).__name__}: {error}")
    return _error_reply(serr.wrap(error, method), raised=type(error).__name__)


_RAISED_BY_HANDLERS: Final = (Exception, SystemExit, KeyboardInterrupt, asyncio.CancelledError)
"""A handler's own error is the caller's answer, and neither the server's end nor that of the task that runs it."""


class _CloneNode(DeviceNode):
    """``clone``: each open of it is a channel of its own."""

    dev = DEV_RPC

    def __init__(self, device: RpcDevice) -> None:
        super().__init__("clone", 2, 0o666)
        self._device = device

    async def open(self, caller: Caller, how: OpenHow) -> OpenFile:
        return _Channel(self._device, caller)
