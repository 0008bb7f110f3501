"""The RPC device of a server: ``rpc/clone`` opens a channel, one Twriteread on it is one call (R-1 to R-7).

Opening ``clone`` makes the fid a channel of its own, as 9P's clone files do, so a channel costs one walk and one open.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from google.protobuf.message import DecodeError

from sigmaos_ray import debug, serr
from sigmaos_ray.pb.rpc_pb2 import Part, RpcReply, RpcRequest
from sigmaos_ray.protsrv.devices import DeviceNode, ReportNode, StaticDir
from sigmaos_ray.protsrv.node import OpenFile, OpenHow
from sigmaos_ray.protsrv.payloads import Held, Payloads
from sigmaos_ray.protsrv.rpclines import LineListener
from sigmaos_ray.protsrv.rpctable import RpcTable
from sigmaos_ray.rpcsrv import RpcContext
from sigmaos_ray.sessp import wire
from sigmaos_ray.sigmap import DEV_RPC, NO_FENCE, RPC_DEV, Fence

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sigmaos_ray.config import Config
    from sigmaos_ray.protsrv.rpctrunks import RpcConnection
    from sigmaos_ray.protsrv.stats import ServerStats
    from sigmaos_ray.rpcsrv import Caller

_log = debug.selector("RPCSRV")

_UNKNOWN_METHOD: Final = "?"
_LINES_MAX: Final = 256


class RpcDevice:
    """The ``rpc`` directory of a server with those service objects. ``guard``: asked before a call that comes over a
    line, as ``FileServer`` asks it before requests. ``close`` it."""

    def __init__(
        self,
        services: Sequence[object],
        stats: ServerStats,
        config: Config,
        host: str,
        guard: Callable[[], None] | None = None,
    ) -> None:
        self.table = RpcTable(services, config.rpc.handler_threads_max)
        self.stats = stats
        self.config = config
        self.held = Held(config.rpc)
        self.listener = LineListener(host, config)
        self.guard = guard
        self.running_count = 0
        self.is_draining = False
        self._idle = asyncio.Event()
        self._opened_count = 0
        report = ReportNode("stats", 3, stats.rpcs_to_json)
        self.dir = StaticDir(RPC_DEV, [_CloneNode(self), report], 1, DEV_RPC)

    def next_channel(self) -> int:
        self._opened_count += 1
        return self._opened_count

    def began(self) -> None:
        self.running_count += 1

    def ended(self) -> None:
        self.running_count -= 1
        self.look()

    def look(self) -> None:
        """Whether all is done that a drain waits for: calls, and results that are being taken."""
        if self.is_draining and not self.running_count and not self.held.results_count:
            self._idle.set()

    async def drain(self, timeout_s: float) -> None:
        """Refuses new calls, unseen, and waits for those that run, at most ``timeout_s``."""
        self.is_draining = True
        self.look()
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            debug.error(f"{self.running_count} RPCs still run after {timeout_s:g} s")

    def close(self) -> None:
        self.listener.close()
        self.table.close()


class _Channel(OpenFile):
    """One client's channel. Calls on it run side by side."""

    def __init__(self, device: RpcDevice, caller: Caller) -> None:
        self._device = device
        self._table = device.table
        self._stats = device.stats
        self._timeout_s_max = device.config.wire.call_timeout_s_max
        self._inline_bytes_max = device.config.rpc.inline_bytes_max
        self._caller = caller
        self._id = device.next_channel()
        self._payloads = Payloads(device.held)
        self.is_closed = False
        self.lines: set[RpcConnection] = set()

    async def read(self, offset: int, count: int) -> bytes:
        return f"{self._id:x}".encode()[offset : offset + count]

    async def write(self, offset: int, data: bytes, fence: Fence = NO_FENCE) -> int:
        raise serr.NotSupported(RPC_DEV, "calls are made with writeread")

    async def close(self) -> None:
        self.is_closed = True
        for line in list(self.lines):
            line.end("its channel was closed")
        self._payloads.close()
        self._device.look()

    async def writeread(self, frames: Sequence[bytes]) -> Sequence[bytes]:
        try:
            request = _request(frames)
            if request.HasField("part"):
                return [b"", await self._move(request.part, frames[1])]
        except serr.SigmaError as error:
            return _failed(error)
        if self._device.is_draining:
            self._payloads.drop_argument(request.argument)
            # No answer but the session's error: by that the client knows that no handler saw the call.
            raise serr.Unreachable(request.method, "the server shuts down")
        self._device.began()
        try:
            return await self._call(request, frames[1])
        finally:
            self._device.ended()

    def at_once(self, frames: Sequence[bytes]) -> Sequence[bytes] | None:
        """``writeread`` of a call that needs not wait for anything; None for any other."""
        try:
            request = RpcRequest.FromString(frames[0])
        except DecodeError:
            return None
        method = request.method
        if not self._table.is_immediate(method) or request.argument or self._device.is_draining:
            return None
        began_ns = time.perf_counter_ns()
        self._stats.rpcs[method] += 1
        try:
            reply = self._table.call_at_once(method, frames[1], self._context(request))
            return self._answer(reply.SerializeToString())
        except Exception as error:  # noqa: BLE001  # a handler's own error is the caller's answer, not the server's end
            return _told(method, error)
        finally:
            self._stats.rpc_latencies[method].add(time.perf_counter_ns() - began_ns)

    async def _call(self, request: RpcRequest, argument: bytes) -> Sequence[bytes]:
        method, began_ns = request.method, time.perf_counter_ns()
        # What is asked for under names that nobody gave is counted as one: clients must not fill the counters.
        counted = method if self._table.has(method) else _UNKNOWN_METHOD
        self._stats.rpcs[counted] += 1
        try:
            if request.argument:
                argument = self._payloads.argument(request.argument)
            reply = await self._table.call(method, argument, self._context(request))
            answer = self._answer(reply.SerializeToString())
        except Exception as error:  # noqa: BLE001  # a handler's own error is the caller's answer, not the server's end
            return _told(method, error)
        finally:
            self._stats.rpc_latencies[counted].add(time.perf_counter_ns() - began_ns)
        if _log.on:
            _log(f"{method} ok")
        return answer

    def _context(self, request: RpcRequest) -> RpcContext:
        timeout_s = request.timeout_s
        if timeout_s == 0:
            return RpcContext(self._caller)
        if not timeout_s > 0:  # NaN too: the event loop cannot order it
            raise serr.Inval(request.method, f"a time-out of {timeout_s} s")
        timeout_s = min(timeout_s, self._timeout_s_max)
        return RpcContext(self._caller, timeout_s, time.monotonic() + timeout_s)

    # -- payloads in parts

    def _answer(self, result: bytes) -> Sequence[bytes]:
        if len(result) <= self._inline_bytes_max:
            return [b"", result]
        if self.is_closed:
            raise serr.Closed(RPC_DEV, "the channel was closed meanwhile")
        reply = RpcReply(result=self._payloads.keep(result), result_bytes=len(result))
        return [reply.SerializeToString(), b""]

    async def _move(self, part: Part, data: bytes) -> bytes:
        payloads = self._payloads
        if part.kind == Part.SEND:
            payloads.send(part.number, part.offset, part.bytes, data)
        elif part.kind == Part.TAKE:
            return payloads.take(part.number, part.offset, part.bytes)
        elif part.kind == Part.DROP_ARGUMENT:
            payloads.drop_argument(part.number)
        elif part.kind == Part.DROP_RESULT:
            payloads.drop_result(part.number)
            self._device.look()
        elif part.kind in (Part.LINE, Part.TRUNK):
            if len(self.lines) >= _LINES_MAX:
                raise serr.Retry(RPC_DEV, f"a channel has at most {_LINES_MAX} lines")
            calls = _OverLine(self, self._device.guard)
            return (await self._device.listener.offer(calls, trunk=part.kind == Part.TRUNK)).SerializeToString()
        else:
            raise serr.Inval(RPC_DEV, f"a part of kind {part.kind}")
        return b""


class _OverLine:
    """A channel, as its lines see it."""

    def __init__(self, channel: _Channel, guard: Callable[[], None] | None) -> None:
        self.lines = channel.lines
        self._channel = channel
        self._guard = guard

    @property
    def is_closed(self) -> bool:
        return self._channel.is_closed

    def at_once(self, frames: Sequence[bytes]) -> Sequence[bytes] | None:
        if self._guard is not None:
            self._guard()
        return self._channel.at_once(frames)

    async def writeread(self, frames: Sequence[bytes]) -> Sequence[bytes]:
        if self._guard is not None:
            self._guard()
        return await self._channel.writeread(frames)


def _request(frames: Sequence[bytes]) -> RpcRequest:
    if len(frames) < 2:
        raise serr.Inval(RPC_DEV, "a call has two frames: RpcRequest and argument")
    try:
        return RpcRequest.FromString(frames[0])
    except DecodeError as error:
        raise serr.Inval(RPC_DEV, f"not an RpcRequest: {error}") from error


def _failed(error: serr.SigmaError, raised: str = "") -> Sequence[bytes]:
    return [RpcReply(error=wire.error_to_pb(error), raised=raised).SerializeToString(), b""]


def _told(method: str, error: Exception) -> Sequence[bytes]:
    """What a handler raised."""
    if isinstance(error, serr.SigmaError):
        return _failed(error)
    debug.error(f"rpc {method}: {type(error).__name__}: {error}")
    return _failed(serr.wrap(error, method), raised=type(error).__name__)


class _CloneNode(DeviceNode):
    dev = DEV_RPC

    def __init__(self, device: RpcDevice) -> None:
        super().__init__("clone", 2, 0o666)
        self._device = device

    async def open(self, caller: Caller, how: OpenHow) -> OpenFile:
        return _Channel(self._device, caller)
