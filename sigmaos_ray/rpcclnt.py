"""RPC by pathname (R-5, R-6): calls on a server's ``rpc`` device, found under its name.

A call is at most once: after IOErr its outcome is unknown, and the caller decides.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol, TypeVar

from google.protobuf.message import DecodeError, Message

from sigmaos_ray import debug, serr
from sigmaos_ray.pb.rpc_pb2 import RpcReply, RpcRequest
from sigmaos_ray.sessp import wire
from sigmaos_ray.sigmap import ORDWR, RPC_DEV, path

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from sigmaos_ray.fslib import AsyncFsLib
    from sigmaos_ray.fslib.fidclnt import RemoteFid

_log = debug.selector("RPCCLNT")

R = TypeVar("R", bound=Message)


class AsyncRPCClnt:
    """A channel to one service. ``pn`` is a server's name, or ends in ``~any`` or ``~local``; the channel opens at the
    first call and stays with that instance, until it fails: then the next call looks the name up again."""

    def __init__(self, sc: AsyncFsLib, pn: str) -> None:
        self._sc = sc
        self._pathname = pn.rstrip("/")
        self._channel: RemoteFid | None = None
        self._opening = asyncio.Lock()

    @property
    def is_open(self) -> bool:
        """Whether the next call is sent without opening the channel first."""
        return self._channel is not None and not self._channel.session.ended

    async def rpc(self, method: str, request: Message, reply_class: type[R], timeout_s: float | None = None) -> R:
        """Calls ``Class.Method`` and waits. A handler's error comes as its class, with the method as object where it
        named none; Timeout past ``timeout_s``, and the server then gives up too; IOErr: sent, fate unknown."""
        header = RpcRequest(method=method, timeout_s=timeout_s or 0.0)
        frames = [header.SerializeToString(), request.SerializeToString()]
        channel = None
        try:
            async with asyncio.timeout(timeout_s):
                channel = await self._open()
                answer = await channel.write_read(frames)
        except TimeoutError as error:
            if isinstance(error, serr.SigmaError):
                raise
            raise serr.Timeout(method, f"no reply in {timeout_s} s") from error
        except (serr.UnknownFid, *serr.SESSION_ERRORS) as error:
            if channel is not None:
                self._drop(channel)
            if isinstance(error, serr.UnknownFid):
                raise serr.Unreachable(self._pathname, "the server forgot the channel") from error
            raise
        return _decode(method, answer, reply_class)

    async def _open(self) -> RemoteFid:
        channel = self._channel
        if channel is not None and not channel.session.ended:
            return channel
        async with self._opening:
            if self._channel is None or self._channel.session.ended:
                self._channel = await self._sc.open_fid(path.join(self._pathname, RPC_DEV, "clone"), ORDWR)
                _log(f"channel to {self._pathname}")
            return self._channel

    def _drop(self, channel: RemoteFid) -> None:
        if self._channel is channel:
            self._channel = None

    async def close(self) -> None:
        """Closes the channel; a later call opens another."""
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.clunk_quietly()


def _decode(method: str, answer: Any, reply_class: type[R]) -> R:
    if len(answer) < 2:
        raise serr.IOErr(method, "the reply has no frames")
    if answer[0]:
        try:
            reply = RpcReply.FromString(answer[0])
        except DecodeError as error:
            raise serr.IOErr(method, "the reply has no header") from error
        if reply.HasField("error"):
            raise wire.error_from_pb(reply.error)
    try:
        return reply_class.FromString(answer[1])
    except DecodeError as error:
        raise serr.IOErr(method, f"the reply is no {reply_class.__name__}") from error


class BlockingClient(Protocol):
    """What the blocking face of a client offers to the faces built on it."""

    @property
    def asynchronous(self) -> AsyncFsLib: ...

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any: ...


class RPCClnt:
    """The blocking face of ``AsyncRPCClnt``; may be shared by threads."""

    def __init__(self, sc: BlockingClient, pn: str) -> None:
        self._sc = sc
        self._clnt = AsyncRPCClnt(sc.asynchronous, pn)

    @property
    def is_open(self) -> bool:
        """See ``AsyncRPCClnt.is_open``."""
        return self._clnt.is_open

    def rpc(self, method: str, request: Message, reply_class: type[R], timeout_s: float | None = None) -> R:
        """See ``AsyncRPCClnt.rpc``."""
        reply: R = self._sc.run(self._clnt.rpc(method, request, reply_class, timeout_s))
        return reply

    def close(self) -> None:
        self._sc.run(self._clnt.close())
