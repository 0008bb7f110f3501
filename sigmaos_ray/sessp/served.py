"""One session at its server: it decides on requests, runs them, and sends what they answer.

The session outlives its streams. Whatever finishes while there is none is kept by ``ServerState``; a stream that takes
over is sent what its client asks for again. So nothing here needs to know whether a reply that was written arrived.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final, Protocol

import grpc

from sigmaos_ray import debug, serr
from sigmaos_ray.pb.sessp_pb2 import Reply, Request
from sigmaos_ray.sessp import eager, wire
from sigmaos_ray.sessp.outbox import Cost, Outbox, RequestLoad
from sigmaos_ray.sessp.state import KeptBytes, ServerState, Treatment

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Sequence
    from typing import Any

    from sigmaos_ray.config import Config

_log = debug.selector("SESSSRV")

STREAM_ERRORS: Final = (grpc.aio.BaseError, grpc.aio.UsageError, asyncio.InvalidStateError)
"""What gRPC raises for a write on a stream that has ended."""

_SHARED_BYTES_MAX: Final = 4096
"""Requests of a message up to here stay parts of it; of a larger one each is copied, so that one which runs for long
does not keep all others in memory."""


class SessionHandler(Protocol):
    """What a server does with the requests of one session."""

    def handle(self, request: Request) -> Coroutine[Any, Any, Reply]:
        """Runs one request; serr errors become Rerror. See ``eager`` for what it may not do before it first waits."""

    def reply_bytes_max(self, request: Request) -> int | None:
        """How large the reply of a request that runs can be, roughly; None if the request waits for somebody else,
        for how long nobody knows."""

    async def close(self) -> None:
        """The session is over: fids are clunked, watches dropped. Called once."""


class ServedSession:
    """One session, with or without a stream. ``SessionServer`` owns it and calls ``end``; it owns its handler.

    Requests are taken by the task of the present stream, one message at a time. Those that do not wait are answered
    within that task; each of the others has a task of its own, which outlives the stream.
    """

    def __init__(self, session_id: int, handler: SessionHandler, config: Config, kept: KeptBytes) -> None:
        self.session_id = session_id
        self.handler = handler
        limits = config.session
        self.state = ServerState(
            ahead_max=limits.requests_ahead_max, kept_bytes_max=limits.replies_kept_bytes_max, of_server=kept
        )
        self.stream: grpc.aio.ServicerContext | None = None
        """The one that replies go to; None while there is none, or a new one is being welcomed."""
        self._lost: grpc.aio.ServicerContext | None = None
        """The last stream that could not be written to. Its reader has yet to notice."""
        self._config = config
        self._reader: asyncio.Task[None] | None = None
        """The task of the newest stream."""
        self._expiry: asyncio.TimerHandle | None = None
        self._running: dict[asyncio.Task[Reply], tuple[int, Cost]] = {}
        """By task: the request's number, and what it counts for."""
        self._load = RequestLoad(limits)
        self._outbox = Outbox()
        self._writing = False
        self._flusher: asyncio.Task[None] | None = None
        self._room_made: asyncio.Future[None] | None = None
        """What the reader waits for while the session holds too much."""
        self._is_over = False
        self._takes = True
        """False once the server shuts down: what still comes is left unseen, and the goodbye says so."""
        # Above 1 a lost stream may have taken replies with it, and the goodbye must not say that all were answered.
        self._streams_count = 0

    # -- streams

    def take_over(self) -> asyncio.Task[None] | None:
        """The current task has a new stream for the session. Returns the task of an older one, which may not have
        noticed its end, for the caller to cancel.

        From here until ``attach`` the session has no stream: an old one must take no more requests and no replies,
        though its connection may be half alive (the client gave it up; the server has not heard)."""
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        older, self._reader = self._reader, asyncio.current_task()
        # Its write may hang for as long as the old connection is half alive, and all others would wait behind it. What
        # it had taken from the outbox is not lost: the state keeps each reply until it is acknowledged.
        flusher, self._flusher = self._flusher, None
        self.stream = None
        if flusher is not None:
            flusher.cancel()
        return older if older is not None and not older.done() else None

    def is_taken_over(self) -> bool:
        """True while the session is for the current task: not over, nor taken over by yet another one."""
        return not self._is_over and self._reader is asyncio.current_task()

    def attach(self, stream: grpc.aio.ServicerContext, outstanding: Iterable[int]) -> None:
        """The stream was welcomed; its client waits for the replies of ``outstanding``."""
        self._streams_count += 1
        self.stream = stream
        # What waited for the old stream is kept by the state, and the client asks for it again: sent from here too it
        # would go out twice.
        self._outbox.clear()
        self.state.resumed(outstanding)

    def expire_in(self, timeout_s: float, on_expiry: Callable[[ServedSession], None]) -> None:
        """The session has no stream any more: ``on_expiry`` is called with it unless another one takes over in time."""
        self._expiry = asyncio.get_running_loop().call_later(timeout_s, on_expiry, self)

    # -- requests

    async def take(self, requests: Sequence[Request], message_bytes: int) -> None:
        """Decides on the requests of one message, and runs each as far as it goes without waiting. Makes way for
        other sessions from time to time, and waits while the client does not read. Stops if the stream is lost: the
        client sends what was not taken again."""
        stream = self.stream
        copies = len(requests) > 1 and message_bytes > _SHARED_BYTES_MAX
        slice_s = self._config.session.slice_s
        ends_s = time.monotonic() + slice_s
        for request in requests:
            # Before each request: those of a single message may already ask for more than a session may hold.
            if self._load.is_full(self._outbox.size_bytes):
                await self._wait_for_room()
            if self._lost is stream or self.stream is not stream or not self._takes:
                return  # the rest has not been seen: on its next stream the client sends it again
            self._take_request(_copy(request) if copies else request, 0 if copies else message_bytes)
            if time.monotonic() > ends_s:
                # A message may hold thousands of requests: other sessions of the loop get their turn in between.
                await self.flush()
                await asyncio.sleep(0)
                ends_s = time.monotonic() + slice_s

    def _take_request(self, request: Request, message_bytes: int) -> None:
        seqno = request.seqno
        treatment = self.state.arrived(seqno)
        if treatment is Treatment.RUN:
            self._run(request, message_bytes)
        elif treatment is Treatment.RESEND:
            self._outbox.put(self.state.kept(seqno))
        elif treatment is Treatment.REFUSE:
            self._outbox.put(wire.reply_frame(_failure(self.state.refusal(seqno), seqno)))
        # WAIT: its task runs, and will answer on whatever stream there is then.

    def _run(self, request: Request, message_bytes: int) -> None:
        seqno = request.seqno
        busy = self._why_busy(request)
        if busy is not None:
            # Through the state, too: for that the number runs by now, and a repeat of it would wait for ever.
            self._answer(seqno, _failure(serr.Retry("session", busy)))
            return
        # Started here, in the reader's task: requests that do not wait are answered in the order in which they came.
        try:
            started = eager.start(self.handler.handle(request))
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  # what a handler raises is the client's answer
            self._answer(seqno, _failure(error))
            return
        if isinstance(started, eager.Done):
            self._answer(seqno, started.value)
        else:
            reply_bytes = self.handler.reply_bytes_max(request)
            cost = self._load.started(message_bytes or request.ByteSize(), reply_bytes)
            self._running[started] = (seqno, cost)
            started.add_done_callback(self._finished)

    def _why_busy(self, request: Request) -> str | None:
        """Why a request is not run now but answered with Retry; None if it is run. Not answering at all until there
        is room would hold up the requests behind it, of which one may be what the others wait for."""
        limits = self._config.session
        if len(self._running) >= limits.requests_in_flight_max:
            return f"over {limits.requests_in_flight_max} requests in flight"
        if self._load.may_not_wait and self.handler.reply_bytes_max(request) is None:
            return f"over {limits.requests_waiting_bytes_max} bytes of requests that wait"
        return None

    def _finished(self, task: asyncio.Task[Reply]) -> None:
        seqno, cost = self._running.pop(task)
        self._load.ended(cost)
        if self._is_over:
            if not task.cancelled():
                task.exception()  # looked at: nobody is left to hear of it
            return
        self._answer(seqno, _reply_of(task))
        self._make_room()
        self._flush_soon()

    def _answer(self, seqno: int, reply: Reply) -> None:
        """Keeps a reply, and queues it; the caller sees to it that it is sent soon."""
        reply.seqno = seqno
        frame = wire.reply_frame(reply)
        if len(frame) > self._config.wire.message_bytes_max:
            # The client could not read the message, and would lose the session with all else that is under way in it.
            limit = f"{len(frame)} bytes: a message has at most {self._config.wire.message_bytes_max}"
            frame = wire.reply_frame(_failure(serr.Inval("reply", limit), seqno))
        self.state.replied(seqno, frame)
        self._outbox.put(frame)

    # -- replies

    async def _wait_for_room(self) -> None:
        """Until the client has read enough of its replies, and enough of what runs has ended; or the stream is lost."""
        stream = self.stream
        while self._load.is_full(self._outbox.size_bytes):
            await self.flush()
            if self.stream is not stream or self._lost is stream:
                return
            # Once more: what ended during the flush made room when nobody waited for it, and would wake nobody later.
            if self._load.is_full(self._outbox.size_bytes):
                self._room_made = asyncio.get_running_loop().create_future()
                await self._room_made

    def _make_room(self) -> None:
        if self._room_made is not None and not self._room_made.done():
            self._room_made.set_result(None)

    def _flush_soon(self) -> None:
        """Sends once the loop has nothing else to do first: requests that end together share a message."""
        scheduled = self._flusher is not None and not self._flusher.done()
        if not (self._writing or scheduled) and self.stream is not None:
            self._flusher = asyncio.get_running_loop().create_task(self.flush())

    async def flush(self) -> None:
        """Sends what is in the outbox, all of it in as few messages as fit. Returns at once if that is being done
        already: gRPC takes one write at a time, and whoever writes also takes what is queued meanwhile."""
        if self._writing:
            return
        self._writing = True
        try:
            # The present stream for each message: another one may have taken over during the last write.
            while self._outbox and (stream := self.stream) is not None:
                message = self._outbox.take(self._config.wire.frames_bytes_target)
                try:
                    await stream.write(message)
                except STREAM_ERRORS as error:
                    _log(f"session {self.session_id:x}: write: {type(error).__name__}")
                    # The stream is gone: its reader notices too, and a resume sends the kept replies again.
                    self._lost = stream
                    return
                self._make_room()
        finally:
            self._writing = False
            self._make_room()  # also after a loss: the reader must wake to see that its stream is gone
            if self._outbox and self.stream is not self._lost:
                self._flush_soon()  # another stream took over meanwhile

    async def take_no_more(self, grace_s: float) -> bool:
        """Before the goodbye: no request runs any more that does not now, and what is answered within ``grace_s`` is
        sent. True if every request that ran had its reply sent.

        Always False for a session that was resumed: a reply that a lost stream took with it counts as sent here, while
        its client still waits, and must not hear that its request never ran."""
        self._takes = False
        if self._running:
            await asyncio.wait(set(self._running), timeout=grace_s)
            await asyncio.sleep(0)  # their callbacks put the replies into the outbox
        await self.flush()
        return not (self._running or self._outbox or self._writing or self._streams_count > 1)

    async def end(self) -> None:
        """Cancels what runs and waits for it, then closes the handler: no request is at work on fids that are freed.
        Called once."""
        # First: tasks that end by the cancel below must neither queue replies nor start a flush.
        self._is_over = True
        if self._expiry is not None:
            self._expiry.cancel()
        self.stream = None
        self._make_room()
        ending: list[asyncio.Task[Any]] = [*self._running, *([self._flusher] if self._flusher is not None else [])]
        for task in ending:
            task.cancel()
        if ending:
            await asyncio.wait(ending)
        self._outbox.clear()
        self.state.end()
        await self.handler.close()


def _copy(request: Request) -> Request:
    copied = Request()
    copied.CopyFrom(request)
    return copied


def _reply_of(task: asyncio.Task[Reply]) -> Reply:
    # Not by ``end``, which sets ``_is_over`` before it cancels: something that the handler waited for was.
    if task.cancelled():
        return _failure(serr.Closed("request", "cancelled"))
    error = task.exception()
    return task.result() if error is None else _failure(error)


def _failure(error: BaseException, seqno: int = 0) -> Reply:
    if not isinstance(error, serr.SigmaError):
        debug.error(f"request failed: {type(error).__name__}: {error}")
    return Reply(seqno=seqno, error=wire.error_to_pb(serr.wrap(error)))
