"""A session from its client's side: calls in, one main connection out, replaced when it breaks.

All calls of one loop turn travel in one message. Whoever calls waits for a future; one task owns the connection.

How it ends. A connection that breaks is replaced by another one, and nobody who waits notices, as long as the same life
of the server answers within ``resume_timeout_s``. Otherwise the session is over for good: it is never dialled again,
and what was outstanding fails as ``sessp.state`` says. Whoever owns the mount makes a new session then.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import time
import weakref
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from sigmaos_ray import debug, serr
from sigmaos_ray.sessp import wire
from sigmaos_ray.sessp.allocator import keep_freed_memory
from sigmaos_ray.sessp.aside import AsideConnection, AsideLost, AsidePool, Elsewhere, SaidBye, answer_of, is_direct
from sigmaos_ray.sessp.channel import FORKED, check_address
from sigmaos_ray.sessp.dialling import dial, explained
from sigmaos_ray.sessp.link import PLAIN, LinkLost, forced_kind
from sigmaos_ray.sessp.payload import Answer, check_reply, outgoing_of
from sigmaos_ray.sessp.state import ClientState

if TYPE_CHECKING:
    from collections.abc import Callable

    from sigmaos_ray.config import Config
    from sigmaos_ray.pb.sessp_pb2 import Frames, Reply, Request, Welcome
    from sigmaos_ray.sessp.aside import DataRoom
    from sigmaos_ray.sessp.link import Link
    from sigmaos_ray.sessp.payload import Data, Outgoing
    from sigmaos_ray.tls.identity import TlsIdentity

_log = debug.selector("SESSCLNT")

_KEY_BYTES: Final = 16

_REPLY_NAMES: Final = {"putfile": "write", "removefile": "remove", "openfile": "open"}
"""Replies that are named otherwise than their requests."""


class Aside(NamedTuple):
    """A request that a thread has sent beside the main connection, and waits for."""

    seqno: int
    connection: AsideConnection | None
    """None: it is sent by now over the main one."""


class ClientSession:
    """One client's session with one server. Open it with ``dial``; the opener closes it, also when it has ended by
    itself.

    ``call`` may be used by any number of tasks of the loop it was dialled on.
    """

    is_closing: bool = False
    """What is queued is the last: the goodbye follows."""
    _said_bye = False
    """The server ended the session."""
    _streamed = False
    """True if the last connection was of use: it brought a reply, or lasted. Then the time for resuming starts
    anew; a server that welcomes each and ends it does not hold its clients for ever."""
    _kind = ""
    """Of the last main connection."""

    def __init__(
        self,
        address: str,
        config: Config,
        plain_address: str = "",
        token: str = "",
        tls: TlsIdentity | None = None,
    ) -> None:
        """``plain_address``: where the server takes plain connections, if it is known already. ``token``: the
        client's credentials. ``tls``: what is shown and asked on connections over TCP; None: nothing is, and they are
        not encrypted."""
        self._tls = tls
        self.address = address
        self.plain_address = plain_address
        """Where connections beside the main one may be had."""
        self._main_plain_address = plain_address
        self._config = config
        _all.add(self)
        key = secrets.token_bytes(_KEY_BYTES)
        limits = config.session
        # A random number: two clients with the same one would get into each other's session. 0 is no session.
        session_id = secrets.randbits(64) or 1
        self._state = ClientState(
            session_id, key=key, token=token, ack_batch=limits.ack_batch, acks_max=limits.acks_max
        )
        self._aside = AsidePool(self._state.session_id, key, config, tls)
        self._aside_failures: dict[int, serr.SigmaError] = {}
        """Of requests beside the main connection, when the session ended: for the threads that wait for them."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._begin_loop: Callable[[], asyncio.AbstractEventLoop] | None = None
        """Of a session that was opened without a loop: how to get one."""
        self._here: AsideConnection | None = None
        """Its main connection, which threads use as those beside it, as long as it is on no loop."""
        self._waiters: dict[int, asyncio.Future[Answer]] = {}
        """By request number, oldest first."""
        self._payloads: dict[int, Data] = {}
        """Data of requests without a reply, by their numbers, where these are not within."""
        self._outgoing: deque[Outgoing] = deque()
        """What is sent next: of requests that count as sent."""
        self._on_late: dict[int, Callable[[], None]] = {}
        """What to do about replies that nobody waits for any more."""
        self._link: Link | None = None
        """The main connection; None between two."""
        self._owner: asyncio.Task[None] | None = None
        """The task that dials, resumes, and runs the connection; it lives as long as the session."""
        self._on_slow: Callable[[], None] | None = None
        self._on_end: list[Callable[[], None]] = []
        self._slow_timer: asyncio.TimerHandle | None = None

    @property
    def ended(self) -> bool:
        """True once the session is over; every call on it fails."""
        return self._state.ended is not None

    @property
    def server_id(self) -> int:
        """Which life of the server this is with: a random number; 0 before it was welcomed."""
        return self._state.server_id or 0

    @property
    def kind(self) -> str:
        """The kind of the main connection: grpc or plain; empty while there is none."""
        return self._link.kind if self._link is not None else ""

    async def dial(self) -> None:
        """Opens the main connection; blocks until the server welcomed it. Unreachable, and the session is over, if it
        does not within ``dial_timeout_s``, or refuses; Perm if it does not let in who shows such credentials; Inval at
        once for an address, or a ``SIGMAOS_TRANSPORT``, that is none. Called once."""
        check_address(self.address)
        forced_kind()  # here, where its error is the caller's
        keep_freed_memory()
        self._loop = asyncio.get_running_loop()
        opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._owner = asyncio.create_task(self._run(opened), name=f"session-{self.address}")
        try:
            # Shielded: the owner sets it, also when nobody waits here any more.
            await asyncio.wait_for(asyncio.shield(opened), self._config.session.dial_timeout_s)
        except TimeoutError:
            self._end(serr.Unreachable(self.address, "no answer"))
            await self._stop_owner()
            raise serr.Unreachable(self.address, "no answer") from None
        except asyncio.CancelledError:
            # Nobody gets the session and could close it: without this its owner would go on, and the server keep it.
            self._end(serr.Unreachable(self.address, "dial cancelled"))
            await self._stop_owner()
            raise

    def dial_here(self, begin_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
        """Opens the session in this thread, without a loop: for clients that make a few calls and are gone. The hello
        goes out with the first request, which is to be one that may be made again in another session. Its main
        connection is a Unix socket, whose end tells itself, so nobody pings. As soon as something needs a loop,
        ``begin_loop`` gives it, from any thread, and the session goes on there over another connection, as after a
        loss. Elsewhere if it cannot be opened here; it is of no use then. Called once, instead of ``dial``."""
        check_address(self.address)
        keep_freed_memory()
        hello = self._state.hello()
        hello.hello.still = True
        self._here = self._aside.open(self.address, hello, self._welcomed_here)
        self._begin_loop = begin_loop

    def _welcomed_here(self, welcome: Welcome) -> None:
        if not self._state.welcomed(welcome):
            raise ConnectionError("another life of the server")
        self.plain_address = self.plain_address or welcome.plain
        self._kind = PLAIN
        _log(f"{self.address}: over {PLAIN}, without a loop")

    def _go_on_loop(self) -> None:
        """On the loop: the session lives there from now on, if it did not."""
        if self._owner is not None or self._begin_loop is None or self.ended:
            return
        self._loop = asyncio.get_running_loop()
        here, self._here = self._here, None
        if here is not None and self._aside.take_out(here):
            here.close()
        opened: asyncio.Future[None] = self._loop.create_future()
        opened.set_result(None)  # this is no first dial: it is tried for as long as any resume
        self._owner = asyncio.create_task(self._run(opened), name=f"session-{self.address}")

    async def call(self, request: Request, on_late: Callable[[], None] | None = None) -> Reply:
        """Sends a request and blocks for its reply, without a time-out. Raises the server's error as its class.

        IOErr: sent, and its fate is unknown. Unreachable: it did not run. A caller that is cancelled gives up waiting;
        the request may run all the same, and ``on_late`` is called on the loop if it then worked: what the request
        made at the server (a fid, an open file) has no owner otherwise. The request is this session's until then.
        """
        return (await self.exchange(request, on_late)).whole()

    async def exchange(
        self, request: Request, on_late: Callable[[], None] | None = None, payload: Data | None = None
    ) -> Answer:
        """``call`` with large data: ``payload`` are the request's, and those of the reply may be apart as well."""
        seqno = self._state.request(request)
        if payload is not None:
            self._payloads[seqno] = payload
        return self._checked(request, await self._reply_to(seqno, on_late))

    async def _reply_to(self, seqno: int, on_late: Callable[[], None] | None = None) -> Answer:
        """The reply to a request that is queued for the main connection."""
        waiter: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        # By rising numbers: the first entry is the oldest call, which the look for slow ones relies on.
        self._waiters[seqno] = waiter
        if self._on_slow is not None and self._slow_timer is None:
            self._look_later()
        if on_late is not None:
            self._on_late[seqno] = on_late
        # Who calls alone waits for nobody. Tasks that go on by replies of one message are all still among the waiters
        # when the first of them calls again.
        self._wake(now=len(self._waiters) == 1)
        try:
            answer = await waiter
        except asyncio.CancelledError:
            # Reply and cancellation in one turn of the loop: the reply was delivered, and is lost with its waiter.
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._came_late(waiter.result().reply)
            raise
        finally:
            # The waiter holds its error, whose traceback holds this frame: without the del that is a circle.
            del self._waiters[seqno], waiter
        # Not in the ``finally``: of a call that was cancelled it stays, for the reply that is still to come.
        self._on_late.pop(seqno, None)
        return answer

    def post(self, request: Request) -> None:
        """Sends a request whose reply nobody waits for, in its turn: what a caller leaves behind to be freed. Does
        nothing once the session is over: then the server has freed it."""
        if is_direct():
            self.on_loop(self.post, request)
        elif not self.ended:
            self._state.request(request)
            self._wake()

    # -- from threads

    def begin_aside(
        self,
        request: Request,
        on_late: Callable[[], None] | None = None,
        ends_s: float | None = None,
        payload: Data | None = None,
        *,
        only_near: bool = False,
    ) -> Aside:
        """Sends a request from a thread, over a connection beside the main one; whoever begins it finishes or abandons
        it. Blocks for a moment if one has to be dialled, and at most to the moment ``ends_s`` while the server does not
        take what is sent. Elsewhere if there is none to be had; raises the error that the session ended with.
        ``on_late``: see ``call``; of a call that is given up before it was begun. ``payload``: see ``exchange``.
        ``only_near``: Elsewhere, too, if the server is on another machine."""
        if self._state.ended is not None:
            raise type(self._state.ended)(self._state.ended.obj, self._state.ended.msg)
        connection = self._aside.take(self.address, self.plain_address, ends_s)
        if only_near and not connection.is_near:
            self._aside.put_back(connection)
            raise Elsewhere
        if connection is self._here and not connection.is_clean():
            # The server has ended it, and nobody was there to notice: nothing is to be sent whose fate nobody knows.
            self._aside.drop(connection)
            self.on_loop(self._go_on_loop)
            raise Elsewhere
        try:
            seqno = self._state.request_aside(request)
        except BaseException:
            self._aside.put_back(connection)
            raise
        if payload is not None:
            self._payloads[seqno] = payload
        try:
            on_slow = self._is_slow if self._on_slow is not None else None
            connection.send(request, ends_s, on_slow, payload)
        except OSError as error:
            _log(f"{self.address}: beside: {error}")
            self._aside.drop(connection)
            return Aside(seqno, None)  # however much of it arrived: the same number is sent over the main one
        except BaseException:
            self.abandon_aside(Aside(seqno, connection), on_late)
            raise
        return Aside(seqno, connection)

    def finish_aside(
        self,
        aside: Aside,
        request: Request,
        ends_s: float | None,
        on_late: Callable[[], None] | None = None,
        data_room: DataRoom | None = None,
    ) -> Answer:
        """Blocks for the reply, in the thread. Raises as ``call``; TimeoutError once that moment of
        ``time.monotonic`` is over. ``on_late``: see ``call``. ``data_room``: if it was filled, the answer's data
        are there."""
        seqno, connection = aside
        on_slow = self._is_slow if self._on_slow is not None else None
        try:
            if connection is None:
                answer = self._again(seqno, ends_s, on_late)
            else:
                try:
                    answer = answer_of(connection.receive(ends_s, on_slow, data_room), seqno)
                except TimeoutError:
                    raise
                except (OSError, AsideLost, serr.UnknownMsg, serr.Inval) as error:
                    _log(f"{self.address}: beside: {error}")
                    self._aside.drop(connection)
                    connection = None
                    if data_room is not None:
                        data_room.filled_bytes = None
                    answer = self._again(seqno, ends_s, on_late)
                except SaidBye:
                    if connection is self._here:
                        self.on_loop(self.abandon, "the server shut down")
                    self._answered_aside(seqno)
                    self._aside_failures.pop(seqno, None)
                    self._aside.drop(connection)
                    raise serr.Unreachable(self.address, "the server shut down") from None
        except serr.SigmaError:
            raise
        except BaseException:
            if connection is not None:
                self.abandon_aside(Aside(seqno, connection), on_late)
            raise
        if connection is not None:
            self._answered_aside(seqno)
            connection.acks.append(seqno)
            self._aside.put_back(connection)
        return self._checked(request, answer)

    def _answered_aside(self, seqno: int) -> None:
        self._state.answered_aside(seqno)
        self._payloads.pop(seqno, None)

    def _is_slow(self) -> None:
        if self._on_slow is not None:
            self.on_loop(self._on_slow)

    def abandon_aside(self, aside: Aside, on_late: Callable[[], None] | None = None) -> None:
        """Nobody waits for the reply any more. The request may run, or have run; see ``call`` for ``on_late``."""
        if aside.connection is not None:
            # The reply may come yet, and would be taken for that of the next request there.
            self._aside.drop(aside.connection)
        self.on_loop(self._take_back, aside.seqno, on_late)

    def on_loop(self, call: Callable[..., object], *arguments: object) -> None:
        """Calls it on the session's loop, soon; from any thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed, and the session over
            self._a_loop().call_soon_threadsafe(call, *arguments)

    def _a_loop(self) -> asyncio.AbstractEventLoop:
        loop = self._loop
        if loop is None:
            assert self._begin_loop is not None
            loop = self._begin_loop()
            loop.call_soon_threadsafe(self._go_on_loop)
        return loop

    def _take_back(self, seqno: int, on_late: Callable[[], None] | None) -> None:
        """The request goes out again on the main connection, which acknowledges its reply."""
        self._aside_failures.pop(seqno, None)
        if self._state.take_back(seqno):
            if on_late is not None:
                self._on_late[seqno] = on_late
            self._wake()

    def _again(self, seqno: int, ends_s: float | None, on_late: Callable[[], None] | None) -> Answer:
        """Blocks for the reply to a request whose connection was lost."""
        left_s = None if ends_s is None else max(ends_s - time.monotonic(), 0.0)
        waiting = asyncio.run_coroutine_threadsafe(self._over_main(seqno, on_late), self._a_loop())
        try:
            return waiting.result(left_s)
        except BaseException:
            waiting.cancel()
            # It may not have begun: then nothing else would take the request off the connection that is lost.
            self.on_loop(self._take_back, seqno, on_late)
            raise

    async def _over_main(self, seqno: int, on_late: Callable[[], None] | None) -> Answer:
        if not self._state.take_back(seqno):
            raise self._aside_failures.pop(seqno, serr.IOErr(self.address, "the session ended"))
        return await self._reply_to(seqno, on_late)

    def _checked(self, request: Request, answer: Answer) -> Answer:
        """The answer to a request; raises its error. IOErr for a reply to another kind of request: who reads it would
        take absent fields for zeros."""
        reply = answer.reply
        request_kind, reply_kind = request.WhichOneof("op"), reply.WhichOneof("op")
        if request_kind == reply_kind:
            return answer
        if reply_kind == "error":
            raise wire.error_from_pb(reply.error)
        if request_kind is not None and reply_kind != _REPLY_NAMES.get(request_kind, request_kind):
            raise serr.IOErr(self.address, f"the server answered a {request_kind} with {reply_kind or 'nothing'}")
        return answer

    def _came_late(self, reply: Reply) -> None:
        """A reply that nobody waits for any more."""
        on_late = self._on_late.pop(reply.seqno, None)
        if on_late is not None and not reply.HasField("error"):
            on_late()

    async def close(self) -> None:
        """Ends the session: the server drops its fids and watches. What is outstanding fails. Waits about a second at
        most for a server that does not read the goodbye; that one finds out by the session time-out. May be repeated.
        """
        self.is_closing = True
        here, self._here = self._here, None
        if here is not None and self._aside.take_out(here):
            with contextlib.suppress(OSError):
                await here.say_bye_on_loop(self._config.session.goodbye_read_s)
            here.close()
        self._aside.close(keep=True)
        if self._owner is not None and not self.ended:
            # The writer sends the goodbye: without one the server keeps fids and watches for its session time-out.
            self._wake()
            await asyncio.wait({self._owner}, timeout=self._config.session.close_timeout_s)
        self._end(serr.Unreachable(self.address, "session closed"))
        await self._stop_owner()

    def close_here(self, *, waits: bool) -> None:
        """Does as ``close`` in this thread, for a session that is on no loop. Elsewhere if it is, or is in use.
        ``waits``: until the server has ended it."""
        here = self._here
        if here is None or self._state.outstanding_count or not self._aside.take_out(here):
            raise Elsewhere
        self._here = None
        self.is_closing = True
        with contextlib.suppress(OSError, serr.UnknownMsg):
            here.say_bye(time.monotonic() + self._config.session.goodbye_read_s, waits=waits)
        here.close()
        self._aside.close(keep=True)
        self._end(serr.Unreachable(self.address, "session closed"))

    def forked(self) -> None:
        """This process is a forked child: the session is its parent's. Later calls are Unreachable."""
        self._state.forked(serr.Unreachable(self.address, FORKED))

    def tell_end(self, on_end: Callable[[], None]) -> None:
        """``on_end`` is called on the loop when the session ends; at once if it has."""
        if self.ended:
            on_end()
        else:
            self._on_end.append(on_end)

    def tell_slow(self, on_slow: Callable[[], None]) -> None:
        """From now on ``on_slow`` is called four times a second while the oldest call waits for longer than a quarter
        of a second, and each time that the stream is lost. For owners who can find out by other means that the server
        is gone, and then ``abandon`` the session."""
        self._on_slow = on_slow

    def _look_later(self) -> None:
        # One timer for all calls, not one each: it asks whether the call that is the oldest now still is then.
        oldest = next(iter(self._waiters))
        self._slow_timer = asyncio.get_running_loop().call_later(self._config.session.slow_call_s, self._look, oldest)

    def _look(self, oldest: int) -> None:
        self._slow_timer = None
        if self._waiters and not self.ended and self._on_slow is not None:
            if next(iter(self._waiters)) == oldest:
                self._on_slow()
            self._look_later()

    def abandon(self, why: str) -> None:
        """Ends the session at once, without a goodbye: the server is known to be gone. What is outstanding fails."""
        _log(f"{self.address}: {why}")
        self._end(serr.Unreachable(self.address, why))
        if self._owner is not None:
            self._owner.cancel()

    def _wake(self, *, now: bool = False) -> None:
        if self._link is not None:
            self._link.wake(now=now)
        elif self._owner is None:
            self._go_on_loop()

    def _end(self, error: serr.SigmaError, *, none_ran: bool = False) -> None:
        """Fails what is outstanding and tells who asked. May be repeated: the first error stays."""
        if self._slow_timer is not None:
            self._slow_timer.cancel()
            self._slow_timer = None
        self._on_late.clear()  # what was made at the server goes with the session
        failures = self._state.end(error, none_ran=none_ran)
        self._payloads.clear()
        self._outgoing.clear()
        for seqno, failure in failures.items():
            waiter = self._waiters.get(seqno)
            if waiter is None:
                self._aside_failures[seqno] = failure
            elif not waiter.done():
                waiter.set_exception(failure)
        self._wake()
        if self._said_bye:
            # Each of them gets the server's last replies, and its goodbye, which say more than this one.
            asyncio.get_running_loop().call_later(self._config.session.goodbye_read_s, self._end_aside)
        else:
            self._end_aside()
        callbacks, self._on_end = self._on_end, []
        for on_end in callbacks:
            on_end()

    def _end_aside(self) -> None:
        self._aside.close(keep=False)

    async def _stop_owner(self) -> None:
        if self._owner is not None and self._owner is not asyncio.current_task():
            self._owner.cancel()
            await asyncio.wait({self._owner})

    async def _run(self, opened: asyncio.Future[None]) -> None:
        """Owns the connection: opens it, and another one after a loss, until the session ends."""
        loop = asyncio.get_running_loop()
        lost_at_s: float | None = None
        try:
            while not self.is_closing:
                try:
                    await self._one_link(opened)
                    return
                except LinkLost as lost:
                    _log(f"{self.address}: connection lost: {lost.why}")
                    # A first one that fails is not tried again here: nothing was sent yet, so whoever dials may go
                    # elsewhere.
                    if lost.final or not opened.done():
                        refusal = lost.refusal if not opened.done() else None
                        why = lost.why if lost.final else await explained(self.address, lost, self._config, self._tls)
                        self._fail(opened, refusal or serr.Unreachable(self.address, why), none_ran=lost.none_ran)
                        return
                    # From the first of several losses in a row: tries that get nowhere do not prolong the time.
                    if self._streamed or lost_at_s is None:
                        lost_at_s = loop.time()
                    elif loop.time() - lost_at_s >= self._config.session.resume_timeout_s:
                        self._fail(opened, serr.Unreachable(self.address, lost.why))
                        return
                # Also without a call that waits: the owner may learn that the server is gone long before the tries end.
                if self._on_slow is not None:
                    self._on_slow()
                await asyncio.sleep(self._config.session.resume_pause_s)
        finally:
            # Whatever ended this task, a bug included: nobody would answer those who wait.
            self._end(serr.Unreachable(self.address, "session closed"))

    def _fail(self, opened: asyncio.Future[None], error: serr.SigmaError, *, none_ran: bool = False) -> None:
        self._end(error, none_ran=none_ran)
        if not opened.done():
            opened.set_exception(error)
            opened.exception()  # looked at: whoever dialled may have given up, and nobody else asks

    async def _one_link(self, opened: asyncio.Future[None]) -> None:
        """One connection from hello to its end. Returns when the session was closed; raises LinkLost otherwise."""
        self._streamed = False
        loop = asyncio.get_running_loop()
        link = await dial(self.address, self._main_plain_address, self._config, self._kind, self._tls)
        is_over = False
        try:
            await self._greet(link)
            self._link, self._kind = link, link.kind
            if not opened.done():
                opened.set_result(None)
            welcomed_s = loop.time()
            try:
                await link.run(self)
                is_over = True
            finally:
                self._streamed |= loop.time() - welcomed_s >= self._config.session.resume_timeout_s
        finally:
            # Between connections calls are only queued: the next one looks at the queue first.
            self._link = None
            self._outgoing.clear()  # it goes out again by the next welcome, from the state
            await link.close(keep=is_over)

    async def _greet(self, link: Link) -> None:
        """Hello and welcome. LinkLost, final if the server knows the session no more."""
        try:
            async with asyncio.timeout(self._config.session.dial_timeout_s):
                first = await link.greet(self._state.hello())
        except TimeoutError as error:
            raise LinkLost("no answer") from error
        if not first.HasField("welcome"):
            raise LinkLost("the server's first message is no welcome", final=True)
        if not self._state.welcomed(first.welcome):
            raise _refused(first.welcome)
        # Not for the next main connection: the way that led here may be the only one, through a tunnel say.
        self.plain_address = self.plain_address or first.welcome.plain
        _log(f"{self.address}: over {link.kind}")

    # -- what the connection asks for

    def take(self) -> Outgoing | None:
        """See ``LinkUser``."""
        if self._outgoing:
            return self._outgoing.popleft()
        frames = self._state.take(self._config.wire.frames_bytes_target)
        if frames is None or not self._payloads:
            return frames
        self._outgoing.extend(outgoing_of(frames, self._payloads))
        return self._outgoing.popleft()

    def received(self, frames: Frames, payload: bytes | None = None) -> None:
        """Hands replies to those who wait. See ``LinkUser``."""
        if payload is not None:
            try:
                check_reply(frames)
            except serr.Inval as error:
                raise LinkLost(str(error), final=True) from error
        for reply in self._state.received(frames.replies):
            self._streamed = True
            if self._payloads:
                self._payloads.pop(reply.seqno, None)
            waiter = self._waiters.get(reply.seqno)
            if waiter is not None and not waiter.done():
                waiter.set_result(Answer(reply, payload))
            else:
                self._came_late(reply)
        # They travel with requests, as a rule; a client that sends none for long would have the server keep all
        # replies.
        if self._state.owes_acks:
            self._wake()
        # After the replies of the message: what was answered must not fail by the goodbye that came with it.
        if frames.bye:
            self._said_bye = True
            raise LinkLost("the server shut down", final=True, none_ran=frames.all_answered)


_all: weakref.WeakSet[ClientSession] = weakref.WeakSet()


def _after_fork() -> None:
    for session in list(_all):
        session.forked()


os.register_at_fork(after_in_child=_after_fork)


def _refused(welcome: Welcome) -> LinkLost:
    if not welcome.HasField("error"):
        return LinkLost("the server does not know the session", final=True)
    error = wire.error_from_pb(welcome.error)
    return LinkLost(str(error), final=True, refusal=error if isinstance(error, serr.Perm) else None)
