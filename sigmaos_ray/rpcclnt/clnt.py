"""Calls to the server behind a pathname: where a call is repeated, and where not.

A call that never ran is made again by itself, at whatever server has the name by then. One that may have run is not:
only the caller knows whether a second time does harm, and says so with ``idempotent``.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, TypeVar

from google.protobuf.message import DecodeError, Message

from sigmaos_ray import debug, serr
from sigmaos_ray.deadlines import within
from sigmaos_ray.fslib import rpcdevice
from sigmaos_ray.fslib.repeats import MARKED, NEVER_RAN
from sigmaos_ray.rpcclnt.channel import Answered, Channel

if TYPE_CHECKING:
    from sigmaos_ray.fslib import AsyncFsLib
    from sigmaos_ray.fslib.fidclnt import RemoteFid
    from sigmaos_ray.fslib.repeats import Errors
    from sigmaos_ray.sigmap import Endpoint

_log = debug.selector("RPCCLNT")

R = TypeVar("R", bound=Message)


class AsyncRPCClnt:
    """A channel to one service. ``pn`` is a server's name, or ends in ``~any`` or ``~local``; the channel opens at the
    first call and stays with that instance, until it fails: then the next call looks the name up again. May be used by
    any number of tasks of the client's loop. ``close`` it; ``sc`` stays its owner's."""

    def __init__(self, sc: AsyncFsLib, pn: str) -> None:
        self._sc = sc
        self._pathname = pn.rstrip("/")
        self._channel: Channel | None = None
        self._opening = asyncio.Lock()

    @property
    def is_open(self) -> bool:
        """Whether the next call is sent without opening the channel first."""
        return self.channel is not None

    async def rpc(
        self,
        method: str,
        request: Message,
        reply_class: type[R],
        timeout_s: float | None = None,
        *,
        idempotent: bool = False,
    ) -> R:
        """Calls ``Class.Method`` and blocks for its reply, at most ``timeout_s`` (None: for ever).

        A handler's error comes as its class, with the method as object where it named none, an exception of its own as
        ``RPCError``. Timeout past ``timeout_s``, and the server then gives up too; IOErr: sent, fate unknown.
        ``idempotent``: such a call is made again instead. May be cancelled; the handler may have run, or run on."""
        argument = request.SerializeToString()
        return parse_reply(method, await self.call(method, argument, timeout_s, idempotent=idempotent), reply_class)

    async def call(
        self,
        method: str,
        argument: bytes,
        timeout_s: float | None,
        *,
        idempotent: bool = False,
        taken_s: float = 0.0,
    ) -> bytes:
        """``rpc`` with argument and result as bytes. ``taken_s``: how much of its time the caller has used already."""
        if timeout_s is None:
            return await self._call(method, argument, None, idempotent=idempotent)
        ends_s = time.monotonic() + timeout_s
        async with within(timeout_s, method, "no reply", taken_s):
            return await self._call(method, argument, ends_s, idempotent=idempotent)

    async def _call(self, method: str, argument: bytes, ends_s: float | None, *, idempotent: bool) -> bytes:
        """Tries until the call was made once, as far as anybody can tell. ``ends_s``: for the server; the caller ends
        this itself when the time is over."""

        async def once() -> bytes:
            channel = await self._open()
            try:
                # Never 0, which says "for ever" on the wire.
                left_s = None if ends_s is None else max(ends_s - time.monotonic(), 1e-3)
                return await channel.call(method, argument, left_s)
            except serr.SESSION_ERRORS as error:
                # Whether this call is repeated or not: the next ones must not meet the channel that failed.
                self._leave(channel)
                raise self._gave_up(error) from error

        try:
            return await self._sc.core.repeats.call(once, self._repeated(idempotent))
        except Answered as answered:
            raise answered.error from None

    def _repeated(self, idempotent: bool) -> Errors:
        """After which errors a call is made again."""
        return MARKED if idempotent else NEVER_RAN

    async def _open(self) -> Channel:
        """The channel, opened if there is none or it ended: once, however many calls need it."""
        channel = self._channel
        if channel is not None and not channel.ended:
            return channel
        async with self._opening:
            # Looked at again: another call may have opened one while this one waited for the lock.
            if self._channel is None or self._channel.ended:
                self._channel = Channel(await self._dial())
                _log(f"channel to {self._pathname}")
            return self._channel

    async def _dial(self) -> RemoteFid:
        return await rpcdevice.open_channel(self._sc.core, self._pathname)

    def _leave(self, channel: Channel) -> None:
        """A channel failed: the next call looks for a server anew, and not first where this one was."""
        # Unless another call that failed on it has opened the next one already.
        if self._channel is channel:
            self._channel = None
            rpcdevice.leave_server(self._sc.core, channel.fid)

    @property
    def channel(self) -> Channel | None:
        """The channel, if there is one that may be used."""
        channel = self._channel
        return channel if channel is not None and not channel.ended else None

    def leave_soon(self, channel: Channel) -> None:
        """``channel`` failed in a thread: later calls look for a server anew."""
        channel.fid.session.on_loop(self._leave, channel)

    def _gave_up(self, error: serr.SigmaError) -> serr.SigmaError:
        """What the caller gets for an error of the way to the server."""
        return error

    def abandon(self, why: str) -> None:
        """The server is known to be gone, though its connection does not say so: ends the session with it, and thereby
        the calls that wait for it. A later call opens another channel."""
        if self._channel is not None:
            self._channel.fid.session.abandon(why)

    async def close(self) -> None:
        """Closes the channel; a later call opens another. May be repeated."""
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()


class NeverRan(serr.Unreachable):
    """The server did not get the call. No handler raises this."""


class FateUnknown(serr.IOErr):
    """The server got the call, and does not answer. No handler raises this."""


class InstanceRPCClnt(AsyncRPCClnt):
    """Calls to the one server that an endpoint names: each is sent at most once, and if the server cannot be reached
    or is lost, that is told at once, as ``NeverRan`` or ``FateUnknown``."""

    def __init__(self, sc: AsyncFsLib, pn: str, endpoint: Endpoint) -> None:
        super().__init__(sc, pn)
        self._endpoint = endpoint

    async def _dial(self) -> RemoteFid:
        try:
            return await rpcdevice.open_channel_at(self._sc.core, self._endpoint)
        except serr.SESSION_ERRORS as error:
            raise NeverRan(self._pathname, f"cannot be reached: {error}") from error

    def _repeated(self, idempotent: bool) -> Errors:
        return ()

    def _gave_up(self, error: serr.SigmaError) -> serr.SigmaError:
        kind = NeverRan if isinstance(error, serr.Unreachable) else FateUnknown
        return kind(self._pathname, str(error))


def parse_reply(method: str, result: bytes, reply_class: type[R]) -> R:
    """A result as its message; IOErr if it is none."""
    try:
        return reply_class.FromString(result)
    except DecodeError as error:
        raise serr.IOErr(method, f"the reply is no {reply_class.__name__}") from error
