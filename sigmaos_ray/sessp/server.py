"""Sessions from their server's side: connections in, requests to a handler, replies out, resumed after a loss.

The handler of a session lives as long as the session, not its connections. Whatever a client sends, what it can make
the server hold is bounded (``config.Session``): what is not a message ends its session; one that does not read its
replies is not read from.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from sigmaos_ray import debug, serr
from sigmaos_ray.pb.sessp_pb2 import Frames, Hello, Welcome
from sigmaos_ray.sessp import wire
from sigmaos_ray.sessp.payload import check_request
from sigmaos_ray.sessp.served import ServedSession, SessionHandler
from sigmaos_ray.sessp.state import KeptBytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from sigmaos_ray.auth.gate import Gate
    from sigmaos_ray.config import Config
    from sigmaos_ray.sessp.connection import ServedConnection
    from sigmaos_ray.sessp.served import SessionConnection

__all__ = ["SessionHandler", "SessionServer"]

_log = debug.selector("SESSSRV")


class SessionServer:
    """All sessions of one server. Doors hand it connections (``came``, ``message``, ``went``); its owner closes it
    before them. ``make_handler``: called for each new session, with its number. ``gate``: lets clients in; without one,
    whoever comes is."""

    def __init__(self, make_handler: Callable[[int], SessionHandler], config: Config, gate: Gate | None = None) -> None:
        self.server_id = secrets.randbits(64) or 1
        """Random in each life of a server: by it a client sees that the address has another server by now."""
        self.plain_address = ""
        """Where this server takes plain connections: told in each welcome."""
        self._make_handler = make_handler
        self._config = config
        self._gate = gate
        if gate is not None:
            gate.tell_change(self._end_refused)
        self._sessions: dict[int, ServedSession] = {}
        self._kept = KeptBytes(config.session.replies_kept_total_bytes_max)
        self._open: set[ServedConnection] = set()
        self._greetings: dict[SessionConnection, asyncio.TimerHandle] = {}
        """Connections that have not said hello; and what ends them if they do not."""
        self._endings: set[asyncio.Task[None]] = set()
        """Sessions that are being ended; ``close`` waits for them."""
        self._closing = False

    @property
    def session_count(self) -> int:
        """Sessions that there are, with a connection or without."""
        return len(self._sessions)

    def connections_report(self) -> dict[str, dict[str, int]]:
        """How many connections are open, for people: by kind, those that sessions live by, those beside them, and
        those of no session."""
        counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for connection in self._open:
            session = connection.session
            role = "unbound" if session is None else "main" if session.main is connection else "beside"
            counts[connection.kind][role] += 1
        return {kind: dict(by_role) for kind, by_role in sorted(counts.items())}

    # -- connections

    def came(self, connection: ServedConnection) -> None:
        """A connection was made. Retry if too many have not said hello."""
        self._open.add(connection)
        limits = self._config.session
        # Before it said hello a connection belongs to no session, whose limits would bound it.
        if len(self._greetings) >= limits.greetings_max:
            raise serr.Retry("stream", f"over {limits.greetings_max} streams have not said hello yet")
        self._await_hello(connection, limits.hello_timeout_s)

    def _await_hello(self, connection: SessionConnection, timeout_s: float) -> None:
        loop = asyncio.get_running_loop()
        self._greetings[connection] = loop.call_later(timeout_s, self._said_nothing, connection, timeout_s)

    def _said_nothing(self, connection: SessionConnection, timeout_s: float) -> None:
        del self._greetings[connection]
        connection.refuse(serr.Timeout("hello", f"none in {timeout_s:g} s"))

    def _forget_greeting(self, connection: SessionConnection) -> None:
        timer = self._greetings.pop(connection, None)
        if timer is not None:
            timer.cancel()

    def went(self, connection: ServedConnection) -> None:
        """A connection has ended. Harmless for one that is known no more."""
        self._open.discard(connection)
        self._forget_greeting(connection)
        session = connection.session
        connection.lost()
        if session is not None:
            is_main = session.main is connection
            session.leave(connection)
            if is_main:
                limits = self._config.session
                expires_s = limits.silent_session_s if connection.was_silent else 0.0
                session.expire_in(max(expires_s, limits.session_timeout_s), self._end_soon)

    def message(self, connection: ServedConnection, data: bytes, payload: bytes | None = None) -> None:
        """Takes one message, and the payload behind it. Raises what ends the connection, and its session
        (``offended``)."""
        frames = wire.frames_from(data)
        session = connection.session
        if session is None:
            self._greet(connection, frames)
            return
        acks, requests = frames.acks, frames.requests
        self._check(frames, len(acks))
        size_bytes = len(data)
        if payload is not None:
            check_request(frames)
            size_bytes += len(payload)
        # Before the requests of the same message: room is made for what they answer.
        if acks:
            session.state.acknowledged(acks)
        if requests or frames.bye:
            connection.take(requests, size_bytes, bye=frames.bye, payload=payload)
        elif frames.unbind and connection.can_stay:
            self._unbind(connection, session)

    def offended(self, connection: ServedConnection) -> None:
        """The client does not speak the protocol: its session ends, since there is no use in a resume."""
        if connection.session is not None:
            self._end_soon(connection.session)

    def _check(self, frames: Frames, acks_count: int) -> None:
        """Inval for a message that no client of the protocol sends; the session ends by it."""
        if frames.HasField("hello"):
            raise serr.Inval("hello", "a stream has one, its first message")
        if frames.HasField("welcome") or frames.replies:
            raise serr.Inval("Frames", "only servers send welcomes and replies")
        if acks_count > self._config.session.acks_max:
            raise serr.Inval("acks", f"over {self._config.session.acks_max} in one message")

    def _unbind(self, connection: ServedConnection, session: ServedSession) -> None:
        is_main = session.main is connection
        session.leave(connection, cleanly=not connection.has_untaken)
        if is_main:
            session.expire_in(self._config.session.session_timeout_s, self._end_soon)
        self._await_hello(connection, self._config.session.unbound_s)

    def said_bye(self, connection: ServedConnection) -> None:
        """The client ended its session; all that came before was taken."""
        session = connection.session
        if session is None:
            return
        for each in list(session.connections):
            if each.can_stay or each is connection:
                session.leave(each, cleanly=True)
            if each.can_stay:
                self._await_hello(each, self._config.session.unbound_s)
        self._end_soon(session)

    # -- greetings

    def _greet(self, connection: ServedConnection, frames: Frames) -> None:
        """A connection's first message: its session is found or made, and the client told. Raises what ends it."""
        if connection not in self._greetings or (frames.unbind and connection.can_stay):
            return  # refused, and not closed yet; or its session ended before it left that
        # Nothing else, but for what a client sends behind it without waiting for the welcome.
        if not frames.HasField("hello") or [field.name for field, _ in frames.ListFields()] != ["hello"]:
            raise serr.Inval("hello", "a stream's first message is a hello, and that alone")
        hello = frames.hello
        self._forget_greeting(connection)
        welcome = Welcome(server_id=self.server_id, accepted=True, plain=self.plain_address)
        try:
            session = self._session_for(hello)
        except serr.SigmaError as error:
            welcome.accepted = False
            welcome.error.CopyFrom(wire.error_to_pb(error))
            connection.outbox.put(Frames(welcome=welcome).SerializeToString())
            connection.refused()
            return
        welcome.payloads = connection.greeted(hello)
        if hello.bind:
            session.bind(connection)
        else:
            session.take_over(connection, hello.outstanding, hello.numbered_to)
        connection.outbox.put(Frames(welcome=welcome).SerializeToString())
        connection.flush()
        _log(f"session {hello.session_id:x}: {_how(hello)} over {connection.kind}")

    def _session_for(self, hello: Hello) -> ServedSession:
        """The session that a hello names: made, or found. Raises what the client is told in its welcome."""
        limits = self._config.session
        session = self._sessions.get(hello.session_id)
        if hello.session_id == 0:
            raise serr.Inval("session 0", "a session has a random number")
        if self._closing:
            raise serr.Closed("server", "shuts down")
        if len(hello.outstanding) > limits.outstanding_max:
            raise serr.Inval("hello", f"over {limits.outstanding_max} outstanding requests")
        if hello.resume or hello.bind:
            # The same answer for a key that is not the session's: who guesses numbers learns nothing.
            if session is None or not hmac.compare_digest(session.key, hello.key):
                # Never made anew for it: what it had sent to the old one would run twice.
                raise serr.Closed("session", "the server does not know the session")
            if hello.bind and len(session.connections) > limits.connections_per_session_max:
                raise serr.Retry("session", f"it has {limits.connections_per_session_max} connections, its most")
            return session
        if session is not None:
            raise serr.Exists("session", "open already; this is no resume")
        if self._gate is not None:
            self._gate.admit(hello.token)
        # New ones only: a server that is full takes resumes all the same, since their sessions are counted already.
        sessions_max = (self._gate.sessions_max if self._gate is not None else 0) or limits.sessions_max
        if len(self._sessions) >= sessions_max:
            raise serr.Retry("session", f"the server has {sessions_max} sessions, its most")
        if len(hello.key) > limits.key_bytes_max:
            raise serr.Inval("hello", f"a key of over {limits.key_bytes_max} bytes")
        handler = self._make_handler(hello.session_id)
        session = ServedSession(hello.session_id, hello.key, hello.token, handler, self._config, self._kept)
        self._sessions[hello.session_id] = session
        return session

    # -- the end

    def _end_refused(self) -> None:
        """Ends the sessions of clients that would not be let in any more."""
        assert self._gate is not None, "who tells is the gate"
        for session in list(self._sessions.values()):
            try:
                self._gate.admit(session.token)
            except serr.Perm as error:
                for connection in list(session.connections):
                    connection.refuse(error)
                self._end_soon(session)

    def _end_soon(self, session: ServedSession) -> None:
        """Forgets a session at once, so that no connection resumes it, and ends it in a task. May be repeated."""
        if self._sessions.pop(session.session_id, None) is None:
            return
        _log(f"session {session.session_id:x}: ended")
        task = asyncio.get_running_loop().create_task(session.end())
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)

    async def close(self) -> None:
        """Tells every client that the server shuts down, and ends all sessions; returns when all are ended. New ones
        are refused. A client that does not read holds this up for half a second."""
        self._closing = True
        last_replies_s = self._config.session.last_replies_s
        goodbyes = {asyncio.create_task(_say_goodbye(session, last_replies_s)) for session in self._sessions.values()}
        if goodbyes:
            _, late = await asyncio.wait(goodbyes, timeout=self._config.session.goodbye_timeout_s)
            for task in late:
                task.cancel()
        for session in list(self._sessions.values()):
            self._end_soon(session)
        while self._endings:
            await asyncio.wait(set(self._endings))
        for connection in list(self._greetings):
            self._forget_greeting(connection)
            connection.close("the server shut down")


def _how(hello: Hello) -> str:
    return "bound" if hello.bind else "resumed" if hello.resume else "opened"


async def _say_goodbye(session: ServedSession, last_replies_s: float) -> None:
    """Sends the last replies, and whether these are all: then the client knows that nothing else of it ran, and may
    safely repeat it elsewhere."""
    all_answered = await session.take_no_more(last_replies_s)
    connections = list(session.connections)
    for connection in connections:
        connection.outbox.put(Frames(bye=True, all_answered=all_answered).SerializeToString())
    await asyncio.gather(*(connection.flushed() for connection in connections))
