"""Connections of kind ``plain``, from their client's side, on a loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import weakref
from typing import TYPE_CHECKING, Final, TypeAlias

from sigmaos_ray import serr
from sigmaos_ray.pb.sessp_pb2 import Frames
from sigmaos_ray.sessp import plain, wire
from sigmaos_ray.sessp.link import Link, LinkLost
from sigmaos_ray.sessp.outflow import Outflow
from sigmaos_ray.sessp.payload import Parcel

if TYPE_CHECKING:
    from sigmaos_ray.config import Config
    from sigmaos_ray.sessp.link import LinkUser
    from sigmaos_ray.tls.identity import TlsIdentity

_PING: Final = plain.message(Frames(ping=True).SerializeToString())
_KEPT_MAX: Final = 8
"""Connections to one place that are kept for the next sessions."""
_BYE: Final = plain.message(Frames(bye=True).SerializeToString())


class PlainLink(Link, asyncio.BufferedProtocol):
    """One connection. Made by ``connect``."""

    kind = "plain"

    def __init__(self, config: Config, target: str, tls: TlsIdentity | None = None) -> None:
        self.target = target
        self.place = _place(target, tls)
        self._config = config
        self._loop = asyncio.get_running_loop()
        self._outflow: Outflow | None = None
        """None once the connection is gone."""
        self._intake = plain.Intake(config.wire.message_bytes_max)
        self._sends_payloads = False
        """Behind their messages: the server knows that form."""
        self._user: LinkUser | None = None
        self._first: asyncio.Future[Frames] | None = None
        """What whoever said hello waits for."""
        self._early: list[tuple[Frames, bytes | None]] = []
        """What came behind the first message before ``run``."""
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._why_lost: LinkLost | None = None
        self._is_scheduled = False
        self._has_said_bye = False
        self._heard = True
        self._silent_s = 0.0
        self._pinging: asyncio.TimerHandle | None = None
        self._goodbye: asyncio.TimerHandle | None = None

    # -- a session's

    async def greet(self, hello: Frames) -> Frames:
        self._check()
        self._first = self._loop.create_future()
        self._intake.takes_payloads = hello.hello.payloads = True
        self._write(plain.message(hello.SerializeToString()))
        try:
            first = await self._first
        finally:
            self._first = None
        self._sends_payloads = first.welcome.payloads
        return first

    async def run(self, user: LinkUser) -> None:
        self._check()
        self._user = user
        self._has_said_bye = False
        self._look_later()
        try:
            early, self._early = self._early, []
            for frames, payload in early:
                user.received(frames, payload)
            self.wake()
            await self._ended
        finally:
            self._user = None
            for timer in (self._pinging, self._goodbye):
                if timer is not None:
                    timer.cancel()
        if self._why_lost is not None and not user.is_closing:
            raise self._why_lost

    def _check(self) -> None:
        if self._why_lost is not None:
            raise self._why_lost
        if self._ended.done():
            self._ended = self._loop.create_future()

    def wake(self, *, now: bool = False) -> None:
        if self._is_scheduled:
            return
        if now:
            self._flush()
        else:
            self._is_scheduled = True
            # Behind what else the loop has to do: calls of one turn travel together.
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._is_scheduled = False
        user = self._user
        if user is None:
            return
        outflow = self._outflow
        while outflow is not None and not outflow.is_full and (outgoing := user.take()) is not None:
            if isinstance(outgoing, Parcel):
                outflow.write_all(plain.pieces(outgoing, apart=self._sends_payloads))
            else:
                outflow.write(plain.message(outgoing.SerializeToString()))
        if user.is_closing and not (outflow is not None and outflow.is_full) and not self._has_said_bye:
            self._has_said_bye = True
            self._write(_BYE)
            lost = LinkLost("no answer to the goodbye")
            self._goodbye = self._loop.call_later(self._config.session.goodbye_read_s, self._lose, lost)

    def _write(self, data: bytes) -> None:
        if self._outflow is not None:
            self._outflow.write(data)

    def _look_later(self) -> None:
        self._heard = False
        self._pinging = self._loop.call_later(self._config.session.keepalive_s, self._look)

    def _look(self) -> None:
        """Pings a server that was silent; gives it up if it does not answer that."""
        limits = self._config.session
        if self._heard:
            self._silent_s = 0.0
        else:
            self._silent_s += limits.keepalive_s
            if self._silent_s >= limits.keepalive_s + limits.keepalive_timeout_s:
                self._lose(LinkLost("the server is silent"))
                return
        # Also while the server speaks: it knows by this that the client is alive.
        self._write(_PING)
        self._look_later()

    # -- the transport's

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._outflow = Outflow(transport)
        plain.quicken(transport.get_extra_info("socket"))

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._intake.room

    def buffer_updated(self, nbytes: int) -> None:
        self._heard = True
        try:
            for message, payload in self._intake.came(nbytes):
                self._message(message, payload)
        except serr.SigmaError as error:
            self._lose(LinkLost(str(error), final=True))
        except LinkLost as lost:
            self._lose(lost)

    def _message(self, message: bytes, payload: bytes | None) -> None:
        frames = wire.frames_from(message)
        if frames.HasField("error"):
            raise LinkLost(str(wire.error_from_pb(frames.error)))
        if frames.pong:
            return
        user = self._user
        if user is not None:
            if frames.bye and self._has_said_bye:
                self._end()
            else:
                user.received(frames, payload)
        elif self._first is not None and not self._first.done():
            self._first.set_result(frames)
        else:
            self._early.append((frames, payload))

    def connection_lost(self, exc: Exception | None) -> None:
        self._outflow = None
        self._lose(LinkLost(f"the connection was lost: {exc or 'the server closed it'}"))

    def pause_writing(self) -> None:
        if self._outflow is not None:
            self._outflow.pause()

    def resume_writing(self) -> None:
        if self._outflow is not None:
            self._outflow.resume()
        self.wake()

    # -- the end

    def _lose(self, lost: LinkLost) -> None:
        if self._why_lost is None:
            self._why_lost = lost
        if self._first is not None and not self._first.done():
            self._first.set_exception(lost)
        self._end()
        if self._outflow is not None:
            # Not ``close``: the server may be gone, and what it has not read is not waited for.
            self._outflow.abort()

    def _end(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)

    def end(self) -> None:
        """Closes it at once. May be repeated."""
        self._lose(LinkLost("closed"))

    @property
    def is_lost(self) -> bool:
        """True once it is of no use any more."""
        return self._why_lost is not None

    async def close(self, *, keep: bool) -> None:
        if self.is_lost:
            return
        if keep:
            _keep(self)
        else:
            self.end()


def _place(target: str, tls: TlsIdentity | None) -> tuple[str, str]:
    """Where a connection leads to, and as whom."""
    return target, "" if tls is None else tls.place


async def connect(target: str, config: Config, tls: TlsIdentity | None = None) -> PlainLink:
    """A connection to ``host:port``, or to a name in the abstract namespace: one that another session has left, or a
    new one. OSError, TimeoutError, TlsRefused and Perm among them, if there is none to be had."""
    place = _place(target, tls)
    kept = _kept_of_loop().pop(place, None)
    while kept:
        link = kept.pop()
        if not link.is_lost:
            if kept:
                _kept_of_loop()[place] = kept
            return link
    loop = asyncio.get_running_loop()
    link = PlainLink(config, target, tls)
    async with asyncio.timeout(config.session.connect_timeout_s):
        if target.startswith("\0"):
            unix = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                unix.setblocking(False)
                # A local socket connects at once, or not at all; asyncio would ask a thread where it is.
                plain.connect_local(unix, target)
                await loop.create_unix_connection(lambda: link, sock=unix)
            except BaseException:
                unix.close()
                raise
        else:
            host, _, port = target.rpartition(":")
            if tls is not None:
                from sigmaos_ray.tls.transport import open_connection  # with ``ssl``: most procs stay on their host

                await open_connection(link, host.strip("[]"), int(port), tls)
                return link
            await loop.create_connection(lambda: link, host.strip("[]"), int(port))
    return link


_Kept: TypeAlias = "dict[tuple[str, str], list[PlainLink]]"
_kept: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Kept] = weakref.WeakKeyDictionary()
"""Connections that sessions have left: by loop, and by where they lead to."""


def _kept_of_loop() -> _Kept:
    return _kept.setdefault(asyncio.get_running_loop(), {})


def _keep(link: PlainLink) -> None:
    # As long as the loop lives, or the server keeps it: at its end the link is lost, and nobody takes it.
    links = [each for each in _kept_of_loop().get(link.place, []) if not each.is_lost]
    if len(links) < _KEPT_MAX:
        _kept_of_loop()[link.place] = [*links, link]
    else:
        link.end()


async def close_kept() -> None:
    """Closes the running loop's connections that no session uses. Call it before the loop ends."""
    links = [link for each in _kept.pop(asyncio.get_running_loop(), {}).values() for link in each]
    for link in links:
        link.end()
    with contextlib.suppress(RuntimeError):
        await asyncio.sleep(0)  # transports end in the loop's next turn
