"""Sessions from their server's side: streams in, requests to a handler, replies out, resumed after a lost stream.

The handler of a session lives as long as the session, not the stream. Requests run side by side; those that do not
wait are answered from within the reader, so that a burst of them makes one message.

Whatever a client sends, what it can make the server hold is bounded (``config.Session``): what is not a message ends
its session; one that does not read its replies is not read from, by which gRPC's flow control stops it.
"""

from __future__ import annotations

import asyncio
import secrets
import weakref
from typing import TYPE_CHECKING, Final

import grpc

from sigmaos_ray import debug, serr
from sigmaos_ray.deadlines import within
from sigmaos_ray.pb import sessp_pb2
from sigmaos_ray.pb.sessp_pb2 import Frames, Hello, Welcome
from sigmaos_ray.sessp import wire
from sigmaos_ray.sessp.served import STREAM_ERRORS, ServedSession, SessionHandler
from sigmaos_ray.sessp.state import KeptBytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from sigmaos_ray.config import Config

__all__ = ["SessionHandler", "SessionServer"]

_log = debug.selector("SESSSRV")

_SERVICE: Final = sessp_pb2.DESCRIPTOR.services_by_name["Sigma"]
_STATUS: Final = {
    serr.Code.RETRY: grpc.StatusCode.RESOURCE_EXHAUSTED,
    serr.Code.TIMEOUT: grpc.StatusCode.DEADLINE_EXCEEDED,
}
"""What ends a stream, as gRPC says it; anything else is INVALID_ARGUMENT."""


class SessionServer:
    """All sessions of one server. Its owner adds it to a gRPC server with ``add_to``, and calls ``close`` before that
    one stops. ``make_handler``: called for each new session, with its number."""

    def __init__(self, make_handler: Callable[[int], SessionHandler], config: Config) -> None:
        self.server_id = secrets.randbits(64) or 1
        """Random in each life of a server: by it a client sees that the address has another server by now."""
        self._make_handler = make_handler
        self._config = config
        self._sessions: dict[int, ServedSession] = {}
        self._kept = KeptBytes(config.session.replies_kept_total_bytes_max)
        self._greetings_count = 0
        self._superseded: weakref.WeakSet[asyncio.Task[None]] = weakref.WeakSet()
        """Tasks of streams that others took over from: told apart from those that gRPC cancels."""
        self._endings: set[asyncio.Task[None]] = set()
        """Sessions that are being ended; ``close`` waits for them."""
        self._closing = False

    @property
    def session_count(self) -> int:
        """Sessions that there are, with a stream or without."""
        return len(self._sessions)

    def add_to(self, server: grpc.aio.Server) -> None:
        """Offers ``Sigma.Session``. Messages pass as bytes: what is none is answered here, not by gRPC."""
        handlers = {"Session": grpc.stream_stream_rpc_method_handler(self.Session)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE.full_name, handlers),))

    async def Session(self, request_iterator: object, context: grpc.aio.ServicerContext) -> None:
        """One stream, from the client's hello to its end."""
        try:
            session = await self._greet(context)
            if session is not None:
                await self._serve_to_end(session, context)
        except asyncio.CancelledError:
            if asyncio.current_task() not in self._superseded:
                raise
            # Said to the client: it may live, with two streams, and must not take this for the end of the session.
            await context.abort(grpc.StatusCode.ABORTED, "another stream of the session took over")
        except serr.SigmaError as error:
            _log(f"stream refused: {error}")
            await context.abort(_STATUS.get(error.code, grpc.StatusCode.INVALID_ARGUMENT), str(error))

    # -- greetings

    async def _greet(self, context: grpc.aio.ServicerContext) -> ServedSession | None:
        """The session that a new stream is for; None if there is none. Raises what ends the stream."""
        limits = self._config.session
        # Before it said hello a stream belongs to no session, whose limits would bound it.
        if self._greetings_count >= limits.greetings_max:
            raise serr.Retry("stream", f"over {limits.greetings_max} streams have not said hello yet")
        self._greetings_count += 1
        try:
            async with within(limits.hello_timeout_s, "hello", "none"):
                return await self._meet(context)
        finally:
            self._greetings_count -= 1

    async def _meet(self, context: grpc.aio.ServicerContext) -> ServedSession | None:
        """Reads the hello, answers with a welcome. None if there is no session: refused, or taken over meanwhile."""
        hello = await self._hello(context)
        if hello is None:
            return None
        try:
            session = self._session_for(hello)
        except serr.SigmaError as error:
            refusal = Welcome(server_id=self.server_id, accepted=False, error=wire.error_to_pb(error))
            await context.write(Frames(welcome=refusal).SerializeToString())
            return None
        # Before the welcome, which waits: of two streams that want one session the last one has it from here on.
        older = session.take_over()
        if older is not None:
            self._superseded.add(older)
            older.cancel()
        welcome = Welcome(server_id=self.server_id, accepted=True)
        try:
            await context.write(Frames(welcome=welcome).SerializeToString())
        except BaseException:
            if session.is_taken_over():
                # take_over stopped the clock of a session without a stream: unless it is set again here, the session
                # of a client that went away during the greeting would stay for ever.
                session.expire_in(self._config.session.session_timeout_s, self._end_soon)
            raise
        if not session.is_taken_over():  # by yet another stream, while the welcome was written
            return None
        session.attach(context, hello.outstanding)
        _log(f"session {hello.session_id:x}: {'resumed' if hello.resume else 'opened'}")
        return session

    async def _hello(self, context: grpc.aio.ServicerContext) -> Hello | None:
        """The first message; None if the stream ended before."""
        first = await context.read()
        if first is grpc.aio.EOF:
            return None
        frames = wire.frames_from(first)
        if [field.name for field, _ in frames.ListFields()] != ["hello"]:
            raise serr.Inval("hello", "a stream's first message is a hello, and that alone")
        return frames.hello

    def _session_for(self, hello: Hello) -> ServedSession:
        """The session that a hello names: made, or resumed. Raises what the client is told in its welcome."""
        limits = self._config.session
        session = self._sessions.get(hello.session_id)
        if hello.session_id == 0:
            raise serr.Inval("session 0", "a session has a random number")
        if self._closing:
            raise serr.Closed("server", "shuts down")
        if len(hello.outstanding) > limits.outstanding_max:
            raise serr.Inval("hello", f"over {limits.outstanding_max} outstanding requests")
        if hello.resume:
            if session is None:  # never made anew for it: what it had sent to the old one would run twice
                raise serr.Closed("session", "the server does not know the session")
            return session
        if session is not None:
            raise serr.Exists("session", "open already; this is no resume")
        # New ones only: a server that is full takes resumes all the same, since their sessions are counted already.
        if len(self._sessions) >= limits.sessions_max:
            raise serr.Retry("session", f"the server has {limits.sessions_max} sessions, its most")
        handler = self._make_handler(hello.session_id)
        session = self._sessions[hello.session_id] = ServedSession(hello.session_id, handler, self._config, self._kept)
        return session

    # -- streams

    async def _serve_to_end(self, session: ServedSession, context: grpc.aio.ServicerContext) -> None:
        """Serves a stream to its end; then the session ends with it, or waits for another one."""
        for_good = False
        try:
            for_good = await self._serve(session, context)
        except serr.SigmaError:  # a client that does not speak the protocol: there is no use in a resume
            for_good = True
            raise
        finally:
            self._stream_ended(session, context, for_good=for_good)

    async def _serve(self, session: ServedSession, context: grpc.aio.ServicerContext) -> bool:
        """Reads until the stream ends; True if the client said goodbye."""
        while True:
            data: bytes = await context.read()
            if data is grpc.aio.EOF or session.stream is not context:
                return False  # after a take-over: the client sends what is unanswered again, on its new stream
            frames = wire.frames_from(data)
            self._check(frames)
            # Before the requests of the same message: room is made for what they answer.
            if frames.acks:
                session.state.acknowledged(frames.acks)
            if frames.requests:
                await session.take(frames.requests, len(data))
            if frames.bye:
                return True
            await session.flush()

    def _check(self, frames: Frames) -> None:
        """Inval for a message that no client of the protocol sends; the session ends by it."""
        if frames.HasField("hello"):
            raise serr.Inval("hello", "a stream has one, its first message")
        if frames.HasField("welcome") or frames.replies:
            raise serr.Inval("Frames", "only servers send welcomes and replies")
        if len(frames.acks) > self._config.session.acks_max:
            raise serr.Inval("acks", f"over {self._config.session.acks_max} in one message")

    def _stream_ended(self, session: ServedSession, context: grpc.aio.ServicerContext, *, for_good: bool) -> None:
        if session.stream is not context:
            return  # another stream took over: what becomes of the session is its matter
        session.stream = None
        if for_good or self._closing:
            self._end_soon(session)
        else:
            session.expire_in(self._config.session.session_timeout_s, self._end_soon)

    def _end_soon(self, session: ServedSession) -> None:
        """Forgets a session at once, so that no stream resumes it, and ends it in a task. May be repeated."""
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


async def _say_goodbye(session: ServedSession, last_replies_s: float) -> None:
    """Sends the last replies, and whether these are all: then the client knows that nothing else of it ran, and may
    safely repeat it elsewhere."""
    stream = session.stream
    if stream is None:
        return
    all_answered = await session.take_no_more(last_replies_s)
    try:
        await stream.write(Frames(bye=True, all_answered=all_answered).SerializeToString())
    except STREAM_ERRORS:
        _log(f"session {session.session_id:x}: gone before the goodbye")
