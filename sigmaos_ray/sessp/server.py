"""Sessions from their server's side: streams in, requests to a handler, replies out, resumed after a lost stream.

The handler of a session lives as long as the session, not the stream. Requests run side by side; those that do not
wait are answered from within the reader, so that a burst of them makes one message.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Protocol

import grpc

from sigmaos_ray import debug, serr
from sigmaos_ray.pb.sessp_pb2 import Frames, Reply, Request, Welcome
from sigmaos_ray.pb.sessp_pb2_grpc import SigmaServicer
from sigmaos_ray.sessp import eager, wire
from sigmaos_ray.sessp.state import ServerState, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from sigmaos_ray.config import Config

_log = debug.selector("SESSSRV")


class SessionHandler(Protocol):
    """What a server does with the requests of one session."""

    def handle(self, request: Request) -> Coroutine[Any, Any, Reply]:
        """Runs one request; serr errors become Rerror. See ``eager`` for what it may not do before it first waits."""

    async def close(self) -> None:
        """The session is over: fids are clunked, watches dropped. Called once."""


class _Session:
    """One session, with or without a stream."""

    def __init__(self, session_id: int, handler: SessionHandler, config: Config) -> None:
        self.session_id = session_id
        self.handler = handler
        self.state = ServerState()
        self.stream: grpc.aio.ServicerContext | None = None
        self.expiry: asyncio.TimerHandle | None = None
        self.running: dict[asyncio.Task[Reply], int] = {}
        self._config = config
        self._outbox: list[Reply] = []
        self._writing = False
        self._flusher: asyncio.Task[None] | None = None

    def take_request(self, request: Request) -> None:
        """Decides on one request, and runs it as far as it goes without waiting."""
        verdict = self.state.arrived(request.seqno)
        if verdict is Verdict.RUN:
            self._run(request)
        elif verdict is Verdict.RESEND:
            self._outbox.append(self.state.kept(request.seqno))
        elif verdict is Verdict.REFUSE:
            closed = serr.Closed("session", f"request {request.seqno} was answered and acknowledged before")
            self._outbox.append(Reply(seqno=request.seqno, error=wire.error_to_pb(closed)))

    def _run(self, request: Request) -> None:
        seqno = request.seqno
        if len(self.running) >= self._config.session.requests_in_flight_max:
            busy = serr.Retry("session", f"over {len(self.running)} requests in flight")
            self._answer(seqno, Reply(error=wire.error_to_pb(busy)))
            return
        try:
            started = eager.start(self.handler.handle(request))
        except Exception as error:  # noqa: BLE001  # whatever a handler raises is the client's answer
            self._answer(seqno, _failure(error))
            return
        if isinstance(started, eager.Done):
            self._answer(seqno, started.value)
        else:
            self.running[started] = seqno
            started.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[Reply]) -> None:
        seqno = self.running.pop(task)
        if task.cancelled():
            return
        error = task.exception()
        self._answer(seqno, task.result() if error is None else _failure(error))
        self._flush_soon()

    def _answer(self, seqno: int, reply: Reply) -> None:
        reply.seqno = seqno
        self.state.replied(reply)
        self._outbox.append(reply)

    def _flush_soon(self) -> None:
        scheduled = self._flusher is not None and not self._flusher.done()
        if not (self._writing or scheduled) and self.stream is not None:
            self._flusher = asyncio.get_running_loop().create_task(self.flush())

    async def flush(self) -> None:
        """Sends what is in the outbox, all of it in as few messages as fit; one writer at a time."""
        if self._writing:
            return
        self._writing = True
        try:
            while self._outbox and (stream := self.stream) is not None:
                frames = Frames(replies=self._take_replies())
                try:
                    await stream.write(frames)
                except (grpc.aio.BaseError, grpc.aio.UsageError, asyncio.InvalidStateError) as error:
                    # The stream is gone: its reader notices too, and a resume sends the kept replies again.
                    _log(f"session {self.session_id:x}: write: {type(error).__name__}")
                    return
        finally:
            self._writing = False

    def _take_replies(self) -> list[Reply]:
        outbox = self._outbox
        if len(outbox) == 1:
            self._outbox = []
            return outbox
        size = count = 0
        for reply in outbox:
            size += reply.ByteSize()
            if count and size > self._config.wire.frames_bytes_target:
                break
            count += 1
        self._outbox = outbox[count:]
        return outbox[:count]

    def attach_stream(self, stream: grpc.aio.ServicerContext, outstanding: list[int]) -> None:
        """A new stream takes over; an older one that has not noticed its end is left behind."""
        if self.expiry is not None:
            self.expiry.cancel()
            self.expiry = None
        self.stream = stream
        self._outbox.clear()
        self.state.resumed(outstanding)

    async def end(self) -> None:
        """Ends what runs, then the handler."""
        if self.expiry is not None:
            self.expiry.cancel()
        self.stream = None
        running = list(self.running)
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)
        await self.handler.close()


def _failure(error: BaseException) -> Reply:
    if not isinstance(error, serr.SigmaError):
        debug.error(f"request failed: {type(error).__name__}: {error}")
    return Reply(error=wire.error_to_pb(serr.wrap(error)))


class SessionServer(SigmaServicer):
    """All sessions of one server. ``close`` ends them."""

    def __init__(self, make_handler: Callable[[int], SessionHandler], config: Config) -> None:
        self.server_id = secrets.randbits(64) or 1
        self._make_handler = make_handler
        self._config = config
        self._sessions: dict[int, _Session] = {}
        self._endings: set[asyncio.Task[None]] = set()
        self._closing = False

    @property
    def session_count(self) -> int:
        return len(self._sessions)

    async def Session(self, request_iterator: object, context: grpc.aio.ServicerContext) -> None:
        """One stream, from the client's hello to its end."""
        session = await self._greet(context)
        if session is None:
            return
        said_bye = False
        try:
            said_bye = await self._serve(session, context)
        finally:
            self._stream_ended(session, context, for_good=said_bye)

    async def _greet(self, context: grpc.aio.ServicerContext) -> _Session | None:
        first: Frames = await context.read()
        if first is grpc.aio.EOF or not first.HasField("hello"):
            return None
        hello = first.hello
        session = self._sessions.get(hello.session_id)
        refused = self._closing or (session is None and (hello.resume or self._is_full()))
        if refused or hello.session_id == 0:
            await context.write(Frames(welcome=Welcome(server_id=self.server_id, accepted=False)))
            return None
        if session is None:
            session = _Session(hello.session_id, self._make_handler(hello.session_id), self._config)
            self._sessions[hello.session_id] = session
        await context.write(Frames(welcome=Welcome(server_id=self.server_id, accepted=True)))
        session.attach_stream(context, list(hello.outstanding))
        _log(f"session {hello.session_id:x}: {'resumed' if hello.resume else 'opened'}")
        return session

    def _is_full(self) -> bool:
        return len(self._sessions) >= self._config.session.sessions_max

    async def _serve(self, session: _Session, context: grpc.aio.ServicerContext) -> bool:
        """Reads until the stream ends; True if the client said goodbye."""
        while True:
            frames: Frames = await context.read()
            if frames is grpc.aio.EOF or session.stream is not context:
                return False
            if frames.acks:
                session.state.acknowledged(frames.acks)
            for request in frames.requests:
                session.take_request(request)
            if frames.bye:
                return True
            await session.flush()

    def _stream_ended(self, session: _Session, context: grpc.aio.ServicerContext, *, for_good: bool) -> None:
        if session.stream is not context:
            return
        session.stream = None
        if for_good or self._closing:
            self._end_soon(session)
            return
        timeout_s = self._config.session.session_timeout_s
        session.expiry = asyncio.get_running_loop().call_later(timeout_s, self._end_soon, session)

    def _end_soon(self, session: _Session) -> None:
        if self._sessions.pop(session.session_id, None) is None:
            return
        _log(f"session {session.session_id:x}: ended")
        task = asyncio.get_running_loop().create_task(session.end())
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)

    async def close(self) -> None:
        """Tells every client that the server shuts down, and ends all sessions. New ones are refused."""
        self._closing = True
        for session in list(self._sessions.values()):
            stream = session.stream
            if stream is not None:
                await session.flush()
                try:
                    await stream.write(Frames(bye=True))
                except (grpc.aio.BaseError, grpc.aio.UsageError, asyncio.InvalidStateError):
                    _log(f"session {session.session_id:x}: gone before the goodbye")
            self._end_soon(session)
        while self._endings:
            await asyncio.wait(set(self._endings))
