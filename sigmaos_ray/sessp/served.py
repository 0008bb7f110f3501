"""One session at its server: it decides on requests, runs them, and says what they answer.

The session outlives its connections. What is answered is kept by ``ServerState`` and sent on the connection that the
request came by last; if that is lost, the client asks again on another one. So nothing here needs to know whether a
reply that was written arrived.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

from sigmaos_ray import debug, serr
from sigmaos_ray.pb.sessp_pb2 import Reply, Request
from sigmaos_ray.sessp import eager, wire
from sigmaos_ray.sessp.outbox import Cost, RequestLoad
from sigmaos_ray.sessp.payload import Answer, Parcel
from sigmaos_ray.sessp.state import KeptBytes, ServerState, Treatment

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable
    from typing import Any

    from sigmaos_ray.config import Config
    from sigmaos_ray.sessp.outbox import Outbox


Outcome: TypeAlias = Reply | Answer
"""Of a request: a reply, or one with its data apart."""
_OUTCOMES: Final = (Reply, Answer)


class SessionHandler(Protocol):
    """What a server does with the requests of one session."""

    def handle(self, request: Request, payload: bytes | None = None) -> Outcome | Coroutine[Any, Any, Outcome]:
        """Runs one request: its reply, or what to await for it; serr errors become Rerror. See ``eager`` for what it
        may not do before it first waits. ``payload``: the request's data, if they are not within."""

    def reply_bytes_max(self, request: Request) -> int | None:
        """How large the reply of a request that runs can be, roughly; None if the request waits for somebody else,
        for how long nobody knows."""

    async def close(self) -> None:
        """The session is over: fids are clunked, watches dropped. Called once."""


class SessionConnection(Protocol):
    """A connection, as its session sees it (``connection.ServedConnection``)."""

    session: ServedSession | None
    """Whom it is for; None for nobody."""
    outbox: Outbox
    can_stay: bool
    """Whether it takes another hello after this session."""

    @property
    def has_untaken(self) -> bool:
        """True while requests wait to be taken."""

    def go_on(self) -> None:
        """Takes what waits, as far as there is room."""

    def flush_soon(self) -> None:
        """Sends what is in the outbox."""

    async def flushed(self) -> None:
        """Blocks until that is done, or the connection lost."""

    def is_flushed(self) -> bool:
        """Whether it is done."""

    def left(self) -> None:
        """It is for no session any more."""

    def close(self, why: str) -> None:
        """Ends it. May be repeated."""

    def refuse(self, error: serr.SigmaError) -> None:
        """The same, and the client is told why."""


class ServedSession:
    """One session, with connections or without. ``SessionServer`` owns it and calls ``end``; it owns its handler.

    Requests that do not wait are answered where their connection takes them; each of the others has a task of its own,
    which outlives the connection.
    """

    def __init__(
        self, session_id: int, key: bytes, token: str, handler: SessionHandler, config: Config, kept: KeptBytes
    ) -> None:
        self.session_id = session_id
        self.key = key
        self.token = token
        """What its client showed."""
        self.handler = handler
        limits = config.session
        self.state = ServerState[bytes | Parcel](
            ahead_max=limits.requests_ahead_max, kept_bytes_max=limits.replies_kept_bytes_max, of_server=kept
        )
        self.main: SessionConnection | None = None
        """The one that the session lives by; None while there is none."""
        self.connections: set[SessionConnection] = set()
        """With those that were bound beside it."""
        self._config = config
        self._expiry: asyncio.TimerHandle | None = None
        self._running: dict[int, tuple[asyncio.Task[None], Cost]] = {}
        """By the request's number: its task, and what it counts for."""
        self._came_by: dict[int, SessionConnection] = {}
        """Of requests that run: where their reply goes."""
        self._load = RequestLoad(limits)
        self._is_over = False
        self._takes = True
        """False once the server shuts down: what still comes is left unseen, and the goodbye says so."""
        self._may_lack_replies = False
        """True once a connection was lost, which may have taken replies with it: the goodbye must not say then that
        all were answered."""

    # -- connections

    def take_over(self, connection: SessionConnection, outstanding: Iterable[int], numbered_to: int) -> None:
        """The client has a new main connection, and waits there for the replies of ``outstanding``. An older one, which
        may not have noticed its end, takes no more requests and no replies."""
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        older = self.main
        if older is not None:
            self.leave(older)
            older.close("another connection of the session took over")
        self.main = connection
        self.bind(connection)
        self.state.resumed(outstanding, numbered_to)

    def bind(self, connection: SessionConnection) -> None:
        """One more connection."""
        self.connections.add(connection)
        connection.session = self

    def leave(self, connection: SessionConnection, *, cleanly: bool = False) -> None:
        """A connection is not for this session any more. ``cleanly``: nothing was outstanding on it."""
        self.connections.discard(connection)
        connection.left()
        self._may_lack_replies |= not cleanly
        if self.main is connection:
            self.main = None
        self.make_room()

    def expire_in(self, timeout_s: float, on_expiry: Callable[[ServedSession], None]) -> None:
        """The session has no main connection any more: ``on_expiry`` is called with it unless one takes over in
        time."""
        if not self._is_over:
            self._expiry = asyncio.get_running_loop().call_later(timeout_s, on_expiry, self)

    # -- requests

    @property
    def is_busy(self) -> bool:
        """True while requests run that were not answered at once."""
        return bool(self._running)

    @property
    def is_full(self) -> bool:
        """True if no further request is to be taken: so many bytes are under way, or wait to be read."""
        unread_bytes = 0
        for connection in self.connections:
            unread_bytes += connection.outbox.size_bytes
        return self._load.is_full(unread_bytes)

    def take(
        self, request: Request, size_bytes: int, connection: SessionConnection, payload: bytes | None = None
    ) -> None:
        """Decides on a request, and runs it as far as it goes without waiting. ``size_bytes``: what it keeps in memory,
        0 for its own size. ``payload``: its data, if they are not within."""
        if not self._takes:
            return
        seqno = request.seqno
        treatment = self.state.arrived(seqno)
        if treatment is Treatment.RUN:
            self._run(request, size_bytes, connection, payload)
        elif treatment is Treatment.RESEND:
            connection.outbox.put(self.state.kept(seqno))
        elif treatment is Treatment.WAIT:
            # Clients repeat on the main connection only. A copy from beside it that comes later was under way all the
            # time, on a connection that its client has given up.
            if self._came_by[seqno] is not self.main:
                self._came_by[seqno] = connection
        else:
            connection.outbox.put(wire.reply_frame(_failure(self.state.refusal(seqno), seqno)))

    def _run(self, request: Request, size_bytes: int, connection: SessionConnection, payload: bytes | None) -> None:
        seqno = request.seqno
        # Limits are of what runs.
        if self._running and (busy := self._why_busy(request)) is not None:
            # Through the state, too: for that the number runs by now, and a repeat of it would wait for ever.
            self._answer(seqno, _failure(serr.Retry("session", busy)), connection)
            return
        # Started here: requests that do not wait are answered in the order in which they came.
        try:
            begun = self.handler.handle(request) if payload is None else self.handler.handle(request, payload)
            if isinstance(begun, _OUTCOMES):
                self._answer(seqno, begun, connection)
                return
            started = eager.start(begun, partial(self._ended, seqno))
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  # what a handler raises is the client's answer
            self._answer(seqno, _failure(error), connection)
            return
        if isinstance(started, eager.Done):
            self._answer(seqno, started.value, connection)
        else:
            cost = self._load.started(size_bytes or request.ByteSize(), self.handler.reply_bytes_max(request))
            self._running[seqno] = (started, cost)
            self._came_by[seqno] = connection

    def _why_busy(self, request: Request) -> str | None:
        """Why a request is not run now but answered with Retry; None if it is run. Not answering at all until there
        is room would hold up the requests behind it, of which one may be what the others wait for."""
        limits = self._config.session
        if len(self._running) >= limits.requests_in_flight_max:
            return f"over {limits.requests_in_flight_max} requests in flight"
        if self._load.may_not_wait and self.handler.reply_bytes_max(request) is None:
            return f"over {limits.requests_waiting_bytes_max} bytes of requests that wait"
        return None

    def _ended(self, seqno: int, reply: Outcome | None, error: BaseException | None) -> None:
        """What a request came to that had to wait; its task is about to end."""
        _, cost = self._running.pop(seqno)
        connection = self._came_by.pop(seqno)
        self._load.ended(cost)
        if self._is_over:
            return  # nobody is left to hear of it
        if reply is None:
            reply = _failure(error or serr.Closed("request", "it returned nothing"))
        self._answer(seqno, reply, connection)
        connection.flush_soon()
        self.make_room()

    def _answer(self, seqno: int, outcome: Outcome, connection: SessionConnection) -> None:
        """Keeps a reply, and queues it; the caller sees to it that it is sent soon."""
        frame: bytes | Parcel
        if isinstance(outcome, Answer):
            frame = _frame(seqno, outcome)
        else:
            outcome.seqno = seqno
            frame = wire.reply_frame(outcome)
        if len(frame) > self._config.wire.message_bytes_max:
            # The client could not read the message, and would lose the session with all else that is under way in it.
            limit = f"{len(frame)} bytes: a message has at most {self._config.wire.message_bytes_max}"
            frame = wire.reply_frame(_failure(serr.Inval("reply", limit), seqno))
        self.state.replied(seqno, frame)
        if connection.session is self:  # else it is lost by now, and the client asks again
            connection.outbox.put(frame)

    def _tasks(self) -> list[asyncio.Task[None]]:
        return [task for task, _ in self._running.values()]

    def make_room(self) -> None:
        """Less is under way, or unread: what waited for that may go on."""
        for connection in list(self.connections):
            if connection.has_untaken:
                connection.go_on()

    # -- the end

    async def take_no_more(self, grace_s: float) -> bool:
        """Before the goodbye: no request runs any more that does not now, and what is answered within ``grace_s`` is
        sent. True if every request that ran had its reply sent.

        Always False for a session that lost a connection: a reply that this took with it counts as sent here, while its
        client still waits, and must not hear that its request never ran."""
        self._takes = False
        if self._running:
            await asyncio.wait(self._tasks(), timeout=grace_s)
        connections = list(self.connections)
        await asyncio.gather(*(connection.flushed() for connection in connections))
        are_sent = all(connection.is_flushed() for connection in connections)
        return are_sent and not (self._running or self._may_lack_replies)

    async def end(self) -> None:
        """Cancels what runs and waits for it, then closes the handler: no request is at work on fids that are freed.
        Called once."""
        # First: tasks that end by the cancel below must neither queue replies nor start a flush.
        self._is_over = True
        if self._expiry is not None:
            self._expiry.cancel()
        for connection in list(self.connections):
            self.leave(connection)
            connection.close("the session ended")
        if tasks := self._tasks():
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        self.state.end()
        await self.handler.close()


def _frame(seqno: int, answer: Answer) -> bytes | Parcel:
    answer.reply.seqno = seqno
    return wire.reply_frame(answer.reply) if answer.data is None else Parcel(answer.reply, answer.data)


def _failure(error: BaseException, seqno: int = 0) -> Reply:
    # Not by ``end``, which sets ``_is_over`` before it cancels: something that the handler waited for was.
    if isinstance(error, asyncio.CancelledError):
        error = serr.Closed("request", "cancelled")
    if not isinstance(error, serr.SigmaError):
        debug.error(f"request failed: {type(error).__name__}: {error}")
    return Reply(seqno=seqno, error=wire.error_to_pb(serr.wrap(error)))
