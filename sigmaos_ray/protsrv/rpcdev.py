"""The RPC device of a server: ``rpc/clone`` opens a channel, one Twriteread on it is one call (R-1 to R-7).

Opening ``clone`` makes the fid a channel of its own, as 9P's clone files do, so a channel costs one walk and one open.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec
from google.protobuf.message import DecodeError, Message

from sigmaos_ray import config as configuration
from sigmaos_ray import debug, serr
from sigmaos_ray.pb.rpc_pb2 import RpcReply, RpcRequest
from sigmaos_ray.protsrv.devices import DeviceNode, ReportNode, StaticDir
from sigmaos_ray.protsrv.node import Caller, OpenFile, OpenHow
from sigmaos_ray.sessp import wire
from sigmaos_ray.sigmap import DEV_RPC, NO_FENCE, RPC_DEV, Fence

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sigmaos_ray.protsrv.stats import ServerStats

_log = debug.selector("RPCSRV")

_UNKNOWN_METHOD: Final = "?"


class RpcContext(msgspec.Struct, frozen=True):
    """Who calls, and how long the caller waits. Handed to every handler as ``ctx``."""

    caller: Caller
    timeout_s: float | None = None


class _Method(msgspec.Struct, frozen=True):
    handler: Callable[[RpcContext, Any], Any]
    request_class: type[Message]
    is_async: bool


class RpcTable:
    """The methods of a server's service objects, by ``Class.Method``."""

    def __init__(self, services: Sequence[object]) -> None:
        self._methods: dict[str, _Method] = {}
        for service in services:
            self._register(service)

    def _register(self, service: object) -> None:
        class_name = type(service).__name__
        for name, handler in inspect.getmembers(service, inspect.ismethod):
            if not name.startswith("_"):
                self._methods[f"{class_name}.{name}"] = _describe(f"{class_name}.{name}", handler)

    def names(self) -> list[str]:
        return sorted(self._methods)

    def has(self, method: str) -> bool:
        return method in self._methods

    async def call(self, method: str, argument: bytes, ctx: RpcContext) -> Message:
        """Runs one method. NotFound for an unknown one, Inval for an argument that is not its message, Timeout past
        the caller's time; serr errors pass, others become ``Error`` that tells class and text."""
        known = self._methods.get(method)
        if known is None:
            raise serr.NotFound(method, "no such RPC method")
        try:
            request = known.request_class.FromString(argument)
        except DecodeError as error:
            raise serr.Inval(method, f"not a {known.request_class.__name__}: {error}") from error
        try:
            async with asyncio.timeout(ctx.timeout_s):
                reply = await self._run(known, ctx, request)
        except TimeoutError as error:
            if isinstance(error, serr.SigmaError):
                raise
            raise serr.Timeout(method) from error
        if not isinstance(reply, Message):
            raise serr.Error(method, f"the handler returned {type(reply).__name__}, not a message")
        return reply

    async def _run(self, method: _Method, ctx: RpcContext, request: Message) -> object:
        if method.is_async:
            return await method.handler(ctx, request)
        return await asyncio.to_thread(method.handler, ctx, request)


def _describe(name: str, handler: Callable[..., Any]) -> _Method:
    """A handler as its annotations tell. Inval, when the server is made, for one that cannot be called remotely."""
    parameters = list(inspect.signature(handler).parameters.values())
    wanted = "an RPC method is method(self, ctx, request: SomeMessage) -> SomeMessage"
    if len(parameters) != 2:
        raise serr.Inval(name, wanted)
    request_class = parameters[1].annotation
    if isinstance(request_class, str):
        # Only this one is evaluated: what else the annotations name may be imported for type checkers alone.
        try:
            request_class = eval(request_class, getattr(handler, "__globals__", {}))
        except NameError as error:
            raise serr.Inval(name, f"{wanted}: {error}; import the message's class at run time") from error
    if not (isinstance(request_class, type) and issubclass(request_class, Message)):
        raise serr.Inval(name, wanted)
    return _Method(handler, request_class, inspect.iscoroutinefunction(handler))


class _Channel(OpenFile):
    """One client's channel. Calls on it run side by side."""

    def __init__(self, table: RpcTable, caller: Caller, stats: ServerStats, channel_id: int) -> None:
        self._table = table
        self._timeout_s_max = configuration.current().wire.call_timeout_s_max
        self._caller = caller
        self._stats = stats
        self._id = channel_id

    async def read(self, offset: int, count: int) -> bytes:
        return f"{self._id:x}".encode()[offset : offset + count]

    async def write(self, offset: int, data: bytes, fence: Fence = NO_FENCE) -> int:
        raise serr.NotSupported(RPC_DEV, "calls are made with writeread")

    async def writeread(self, frames: Sequence[bytes]) -> Sequence[bytes]:
        method = "?"
        try:
            if len(frames) < 2:
                raise serr.Inval(RPC_DEV, "a call has two frames: RpcRequest and argument")
            try:
                request = RpcRequest.FromString(frames[0])
            except DecodeError as error:
                raise serr.Inval(RPC_DEV, f"not an RpcRequest: {error}") from error
            method = request.method
            # What is asked for under names that nobody gave is counted as one: clients must not fill the counters.
            self._stats.rpcs[method if self._table.has(method) else _UNKNOWN_METHOD] += 1
            ctx = RpcContext(self._caller, self._timeout_s(request))
            reply = await self._table.call(method, frames[1], ctx)
        except serr.SigmaError as error:
            return [RpcReply(error=wire.error_to_pb(error)).SerializeToString(), b""]
        except Exception as error:  # noqa: BLE001  # a handler's own error is the caller's answer, not the server's end
            debug.error(f"rpc {method}: {type(error).__name__}: {error}")
            return [RpcReply(error=wire.error_to_pb(serr.wrap(error, method))).SerializeToString(), b""]
        _log(f"{method} ok")
        return [b"", reply.SerializeToString()]

    def _timeout_s(self, request: RpcRequest) -> float | None:
        """How long the caller waits; None: for ever."""
        timeout_s = request.timeout_s
        if not timeout_s >= 0:  # NaN too: the event loop cannot order it
            raise serr.Inval(request.method, f"a time-out of {timeout_s} s")
        return min(timeout_s, self._timeout_s_max) or None


class _CloneNode(DeviceNode):
    dev = DEV_RPC

    def __init__(self, table: RpcTable, stats: ServerStats) -> None:
        super().__init__("clone", 2, 0o666)
        self._table = table
        self._stats = stats
        self._opened_count = 0

    async def open(self, caller: Caller, how: OpenHow) -> OpenFile:
        self._opened_count += 1
        return _Channel(self._table, caller, self._stats, self._opened_count)


def rpc_dir(services: Sequence[object], stats: ServerStats) -> StaticDir:
    """The ``rpc`` directory of a server with those service objects."""
    table = RpcTable(services)
    report = ReportNode("stats", 3, lambda: msgspec.json.encode(dict(stats.rpcs)))
    return StaticDir(RPC_DEV, [_CloneNode(table, stats), report], 1, DEV_RPC)
