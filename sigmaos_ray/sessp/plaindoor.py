"""Connections of kind ``plain``, at their server: over TCP, and from the same machine over a Unix socket."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from functools import partial
from typing import TYPE_CHECKING, Final

from sigmaos_ray import debug, serr
from sigmaos_ray.pb.sessp_pb2 import Frames
from sigmaos_ray.sessp import plain, wire
from sigmaos_ray.sessp.connection import ServedConnection
from sigmaos_ray.sessp.outflow import Outflow
from sigmaos_ray.sessp.payload import Parcel

if TYPE_CHECKING:
    from collections.abc import Callable

    from sigmaos_ray.config import Config
    from sigmaos_ray.pb.sessp_pb2 import Hello
    from sigmaos_ray.sessp.server import SessionServer
    from sigmaos_ray.tls.handshakes import Handshakes
    from sigmaos_ray.tls.identity import TlsIdentity

_log = debug.selector("SESSSRV")

_PING = Frames(ping=True).SerializeToString()
_TURNS_OF_AN_ACCEPT: Final = 3
"""Of the loop: asyncio accepts, makes a transport of it, and tells its protocol."""
_PONG = plain.message(Frames(pong=True).SerializeToString())


class PlainDoor:
    """Where a server takes plain connections. ``open`` it, and ``close`` it. ``tls``: what is asked of those over TCP;
    of those over a Unix socket, that they are of the same user."""

    def __init__(self, sessions: SessionServer, config: Config, tls: TlsIdentity | None = None) -> None:
        self._sessions = sessions
        self._config = config
        self._tls = tls
        self._handshakes: Handshakes | None = None
        self._servers: list[asyncio.Server] = []
        self._connections: set[_PlainConnection] = set()

    async def open(self, address: str) -> str:
        """Takes connections for the server at ``host:port`` from now on; returns at which ``host:port`` others than
        those on this machine make them. OSError if none can be taken, Perm without the certificate."""
        loop = asyncio.get_running_loop()
        host = address.rpartition(":")[0].strip("[]")
        make: Callable[[], asyncio.BaseProtocol] = self._make
        if self._tls is not None:
            from sigmaos_ray.tls.handshakes import Handshakes  # with ``ssl``, which servers on loopback do without

            limits = self._config.session
            self._handshakes = Handshakes(
                self._tls,
                limits.handshakes_max,
                limits.hello_timeout_s,
                lambda refused: _log(f"plain: refused: {refused}"),
            )
            make = partial(self._handshakes.begin, self._make)
        server = await loop.create_server(make, host, 0)
        self._servers.append(server)
        with contextlib.suppress(OSError):  # no Linux, or the name is taken: TCP does it, too
            self._servers.append(await loop.create_unix_server(self._make, plain.local_name(address)))
        port = server.sockets[0].getsockname()[1]
        return f"{address.rpartition(':')[0]}:{port}"

    def _make(self) -> asyncio.BaseProtocol:
        return _PlainConnection(self._sessions, self._connections, self._config)

    async def close(self) -> None:
        """Takes no more connections, and ends those that there are. May be repeated."""
        servers, self._servers = self._servers, []
        loop = asyncio.get_running_loop()
        for server in servers:
            for listening in server.sockets:
                loop.remove_reader(listening)
        # What was just accepted is no connection yet, and asyncio leaks it if its server is closed meanwhile.
        for _ in range(_TURNS_OF_AN_ACCEPT):
            await asyncio.sleep(0)
        for server in servers:
            server.close()
        if self._handshakes is not None:
            self._handshakes.end()
        for connection in list(self._connections):
            connection.end()


class _PlainConnection(ServedConnection, asyncio.BufferedProtocol):
    """One connection."""

    kind = "plain"
    can_stay = True

    def __init__(self, sessions: SessionServer, open_ones: set[_PlainConnection], config: Config) -> None:
        super().__init__(config)
        self._sessions = sessions
        self._open_ones = open_ones
        self._transport: asyncio.Transport | None = None
        self._outflow: Outflow | None = None
        self._intake = plain.Intake(config.wire.message_bytes_max)
        self._flushes_soon = False
        self._written: asyncio.Future[None] | None = None
        self._silence: asyncio.TimerHandle | None = None
        self._giving_up: asyncio.TimerHandle | None = None
        self._heard = True
        self._is_local = False
        """A Unix socket: the system tells of its other end's end, whatever that does."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._outflow = Outflow(transport)
        self._open_ones.add(self)
        taken = transport.get_extra_info("socket")
        plain.quicken(taken)
        self._is_local = taken.family == socket.AF_UNIX
        try:
            if self._is_local and not plain.is_ours(taken, or_roots=True):
                raise serr.Perm("socket", "it is for processes of the server's user")
            self._sessions.came(self)
        except serr.SigmaError as error:
            self.refuse(error)
        self._look_soon()

    def _look_soon(self) -> None:
        limits = self._config.session
        silence_s = limits.keepalive_s + limits.keepalive_timeout_s
        self._silence = asyncio.get_running_loop().call_later(silence_s, self._look)

    def _look(self) -> None:
        """A main connection that is silent for so long, though its client pings, is dead. Those beside it are not
        pinged: they end with their session."""
        session = self.session
        if (
            not self._heard
            and not (self.is_still and self._is_local)
            and session is not None
            and session.main is self
            and not self.has_untaken
        ):
            _log("plain: silent")
            self.was_silent = True
            if self._outflow is not None:
                self._outflow.abort()
            return
        self._heard = False
        self._look_soon()

    def connection_lost(self, exc: Exception | None) -> None:
        self._open_ones.discard(self)
        for timer in (self._silence, self._giving_up):
            if timer is not None:
                timer.cancel()
        self._sessions.went(self)
        self._tell_written()

    def greeted(self, hello: Hello) -> bool:
        super().greeted(hello)
        self._intake.takes_payloads = hello.payloads
        return hello.payloads

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._intake.room

    def buffer_updated(self, nbytes: int) -> None:
        self._heard = True
        try:
            for message, payload in self._intake.came(nbytes):
                if message == _PING and payload is None:
                    self._write(_PONG)
                else:
                    self._sessions.message(self, message, payload)
        except serr.SigmaError as error:
            self._sessions.offended(self)
            self.refuse(error)
            return
        if self.has_untaken and self._transport is not None:
            self._transport.pause_reading()

    def all_taken(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    # -- replies

    def flush(self) -> None:
        outbox, outflow = self.outbox, self._outflow
        while outbox and outflow is not None and not (outflow.is_full or self.is_lost):
            message = outbox.take(self._config.wire.frames_bytes_target)
            if isinstance(message, Parcel):
                outflow.write_all(plain.pieces(message, apart=self._intake.takes_payloads))
            else:
                outflow.write(plain.message(message))
        if self._written is not None and self.is_flushed():
            self._tell_written()

    def _write(self, data: bytes) -> None:
        if self._outflow is not None:
            self._outflow.write(data)

    def flush_soon(self) -> None:
        if self.session is not None and not self.session.is_busy:
            self.flush()  # nothing is under way that could share the message
        elif not self._flushes_soon:
            self._flushes_soon = True
            asyncio.get_running_loop().call_soon(self._flush_now)

    def _flush_now(self) -> None:
        self._flushes_soon = False
        self.flush()

    def pause_writing(self) -> None:
        if self._outflow is not None:
            self._outflow.pause()

    def resume_writing(self) -> None:
        if self._outflow is not None:
            self._outflow.resume()
        self.flush()
        if self.session is not None:
            self.session.make_room()

    async def flushed(self) -> None:
        self.flush()
        if not self.is_flushed():
            self._written = asyncio.get_running_loop().create_future()
            await self._written

    def is_flushed(self) -> bool:
        return not self.outbox and (self.is_lost or self._outflow is None or self._outflow.is_empty)

    def _tell_written(self) -> None:
        if self._written is not None and not self._written.done():
            self._written.set_result(None)

    # -- the end

    def said_bye(self) -> None:
        self._sessions.said_bye(self)
        # The client may close now, or say hello to begin another session.
        self._write(plain.message(Frames(bye=True).SerializeToString()))

    def refuse(self, error: serr.SigmaError) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        _log(f"plain: {error}")
        self._write(plain.message(Frames(bye=True, error=wire.error_to_pb(error)).SerializeToString()))
        self._close()

    def refused(self) -> None:
        self.flush()
        self._close()

    def _close(self) -> None:
        """Closes it behind what was written."""
        if self._outflow is None:
            return
        self._outflow.close()
        # Nothing else bounds what is kept for clients that do not read: it belongs to no session.
        timeout_s = self._config.session.goodbye_timeout_s
        self._giving_up = asyncio.get_running_loop().call_later(timeout_s, self._outflow.abort)

    def end(self) -> None:
        """Ends it; what a client does not read is dropped."""
        if self._outflow is not None:
            # What the system has not taken by now is for a client that does not read: a close would wait for it.
            if self._outflow.is_empty and self._transport is not None and not self._transport.get_write_buffer_size():
                self._outflow.close()
            else:
                self._outflow.abort()
