"""The rules of a session, pure: messages in, messages out; no connection, no loop, no clock (S-1 to S-6).

A session is one client's numbered requests to one server. They travel on one main connection, and on any number of
others beside it; replies come in any order. The server keeps each reply until the client acknowledges it, so that a
client that lost a connection can send what was outstanding there again, on another: what ran is answered from the
cache, what still runs is waited for, what never arrived runs now. Nothing runs twice. (So does NFSv4.1: RFC 8881, 2.10,
with its reply cache and trunking.)

A server that does not know the session (it is another life of the server, or the session timed out) must not run
anything again: the client fails what it had sent with IOErr, since it may have run, and what it had not sent
with Unreachable.

What may be forgotten, and when. The client forgets a request with its reply. The server forgets a reply when the client
acknowledged it, when a resume does not name it any more, or when the session keeps too many bytes; it never
forgets that a number was seen, since that alone keeps a late repeat from running.
"""

from __future__ import annotations

import enum
import threading
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from sigmaos_ray import serr
from sigmaos_ray.pb.sessp_pb2 import Frames, Hello, Reply, Request, Welcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Sized

S = TypeVar("S", bound="Sized")

# Most replies are a few bytes: counted without it, a client could have the server keep far more of them than the limit
# means to allow.
_KEPT_OVERHEAD_BYTES: Final = 200
"""Of a reply that is kept, beside its bytes."""


class ClientState:
    """One session as its client sees it: which requests are to be sent, which wait for replies, what to acknowledge.

    A request is kept, and belongs to this object, until its reply came or the session ended: it may be sent again.
    The main connection's requests are numbered, sent and answered by one thread. Those that go ``aside``, on other
    connections, may be so by any thread.
    """

    def __init__(
        self, session_id: int, *, key: bytes = b"", token: str = "", ack_batch: int = 64, acks_max: int = 65_536
    ) -> None:
        """``token``: the client's credentials, for the hello that opens the session."""
        self.session_id = session_id
        self.key = key
        self._token = token
        self._acks_max = acks_max
        self.server_id: int | None = None
        self.ended: serr.SigmaError | None = None
        self._ack_batch = ack_batch
        self._numbering = threading.Lock()
        """A number is given and its request outstanding in one step: a hello that names the one tells of the other."""
        self._last_seqno = 0
        self._unsent: dict[int, Request] = {}
        """To be sent on the present main connection, in order of their numbers; also those that went out before."""
        self._sent: dict[int, Request] = {}
        """Sent on the present main connection."""
        self._carried: set[int] = set()
        """Those of ``_unsent`` that an earlier connection carried."""
        self._aside: dict[int, Request] = {}
        """On other connections."""
        self._were_aside: set[int] = set()
        """Those that were taken back from there, and wait for replies. The server may not know of the loss yet, and
        say of the main connection that it answered all."""
        self._acks: list[int] = []

    def request(self, request: Request) -> int:
        """Numbers a request and queues it; returns the number. Raises the error that the session ended with."""
        with self._numbering:
            seqno = self._number(request)
            self._unsent[seqno] = request
        return seqno

    def request_aside(self, request: Request) -> int:
        """Numbers a request that goes out on another connection than the main one. Raises as ``request``."""
        with self._numbering:
            seqno = self._number(request)
            self._aside[seqno] = request
        return seqno

    def _number(self, request: Request) -> int:
        if self.ended is not None:
            # A new one each time: callers add to an error what they know, such as the pathname.
            raise type(self.ended)(self.ended.obj, self.ended.msg)
        self._last_seqno = seqno = self._last_seqno + 1
        request.seqno = seqno
        return seqno

    def answered_aside(self, seqno: int) -> None:
        """The reply came on the connection that the request went out on, which also acknowledges it."""
        self._aside.pop(seqno, None)

    def take_back(self, seqno: int) -> bool:
        """The other connection is lost: the request goes out again on the main one. False if the session has ended."""
        request = self._aside.pop(seqno, None)
        if request is None:
            return False
        self._unsent[seqno] = request
        self._were_aside.add(seqno)
        return True

    def hello(self) -> Frames:
        """The first message of a main connection. A resume names all requests that wait for replies:
        acknowledgements may have been lost with a connection, and by this the server learns which replies it need not
        keep."""
        hello = Hello(session_id=self.session_id, key=self.key)
        if self.server_id is None:
            hello.token = self._token
        else:
            with self._numbering:
                hello.resume, hello.numbered_to = True, self._last_seqno
                hello.outstanding.extend(sorted((*self._sent, *self._unsent, *self._aside)))
        return Frames(hello=hello)

    def welcomed(self, welcome: Welcome) -> bool:
        """Takes the server's answer to a hello; True if the session goes on. What is outstanding on the main connection
        is queued again.

        False too for another life of the server behind the same address, even if it accepts: it has no replies of the
        one before, and would run again what that one ran.
        """
        is_same_server = self.server_id is None or self.server_id == welcome.server_id
        if not (welcome.accepted and is_same_server):
            return False
        self.server_id = welcome.server_id
        if self._sent:
            self._carried.update(self._sent)
            # In order of their numbers, as they went out first: the server bounds how far ahead a number may be.
            self._unsent = dict(sorted((self._sent | self._unsent).items()))
            self._sent = {}
        self._acks.clear()  # the hello said as much
        return True

    def take(self, bytes_target: int) -> Frames | None:
        """The next message to send, of about ``bytes_target`` at most or one request; None if there is nothing to say.
        Its requests count as sent from now on, whether the connection then takes them or not."""
        if self._unsent:
            # Before it is written: a write that fails may have reached the server all the same.
            requests = self._take_requests(bytes_target)
            return Frames(requests=requests, acks=self._take_acks())
        if self.owes_acks:
            return Frames(acks=self._take_acks())
        return None

    @property
    def owes_acks(self) -> bool:
        """True if there are so many acknowledgements to send that they should not wait for a request."""
        return len(self._acks) >= self._ack_batch

    def _take_acks(self) -> list[int]:
        acks, self._acks = self._acks[: self._acks_max], self._acks[self._acks_max :]
        return acks

    def _take_requests(self, bytes_target: int) -> list[Request]:
        if len(self._unsent) == 1:  # one call at a time, mostly: no sizes need be added up
            seqno, request = self._unsent.popitem()
            self._sent[seqno] = request
            self._carried.discard(seqno)
            return [request]
        requests: list[Request] = []
        size_bytes = 0
        for request in self._unsent.values():
            size_bytes += request.ByteSize()
            if requests and size_bytes > bytes_target:
                break
            requests.append(request)
        for request in requests:
            seqno = request.seqno
            self._sent[seqno] = self._unsent.pop(seqno)
            self._carried.discard(seqno)
        return requests

    def received(self, replies: Iterable[Reply]) -> list[Reply]:
        """The replies to outstanding requests, which are answered and to be acknowledged by this; a second reply to
        one is dropped.

        After a resume a reply may overtake the repeat of its request, which is then queued, but need not be sent."""
        first_replies = []
        for reply in replies:
            seqno = reply.seqno
            if self._sent.pop(seqno, None) is None:
                if self._unsent.pop(seqno, None) is None:
                    continue
                self._carried.discard(seqno)
            self._were_aside.discard(seqno)
            self._acks.append(seqno)
            first_replies.append(reply)
        return first_replies

    def end(self, error: serr.SigmaError, *, none_ran: bool = False) -> dict[int, serr.SigmaError]:
        """Ends the session. Returns how each outstanding request fails: IOErr if it may have run, else Unreachable;
        later ones fail with ``error``. ``none_ran``: the server said so of those on the main connection that it did not
        answer. May be repeated: the first error stays."""
        cause = error.msg or error.text
        with self._numbering:
            if self.ended is None:
                self.ended = error
            may_have_run = {*self._aside, *self._were_aside, *self._carried, *(() if none_ran else self._sent)}
            outstanding = (*self._sent, *self._unsent, *self._aside)
            self._sent, self._unsent, self._aside = {}, {}, {}
            self._carried, self._were_aside = set(), set()
        return {
            seqno: (serr.IOErr if seqno in may_have_run else serr.Unreachable)(error.obj, cause)
            for seqno in outstanding
        }

    def forked(self, error: serr.SigmaError) -> None:
        """In a forked child: the session is its parent's, and every request here fails with ``error``."""
        self._numbering = threading.Lock()  # a thread that is not here may have held the other one
        self.ended = error

    @property
    def outstanding_count(self) -> int:
        """Requests without a reply."""
        return len(self._sent) + len(self._unsent) + len(self._aside)


class Treatment(enum.Enum):
    """What a server does with a request that arrived."""

    RUN = enum.auto()
    WAIT = enum.auto()
    """A repeat of one that still runs: its reply will go to the connection of the repeat."""
    RESEND = enum.auto()
    """A repeat of one that is answered: the reply goes out again."""
    REFUSE = enum.auto()
    """Not to be run; ``refusal`` tells why."""


class KeptBytes:
    """How many bytes of replies all sessions of one server keep together; shared by their ``ServerState``."""

    def __init__(self, bytes_max: int) -> None:
        self.size_bytes = 0
        self.bytes_max = bytes_max


class ServerState(Generic[S]):
    """One session as its server sees it: what was seen, what runs, which replies are kept.

    A reply is kept as what is sent, of which only the length in bytes counts here. A client that acknowledges none has
    the oldest of them forgotten, so that it cannot fill the server: their requests do not run again, but after a loss
    have an unknown outcome.
    """

    _FAIR_BYTES: Final = 64 << 10
    """What each session may keep, whatever the others do: one that acknowledges nothing costs the others no resume."""

    def __init__(
        self, *, ahead_max: int = 65_536, kept_bytes_max: int = 32 << 20, of_server: KeptBytes | None = None
    ) -> None:
        self._seen_to = 0
        self._seen_beyond: set[int] = set()
        self._ahead_max = ahead_max
        self._running: set[int] = set()
        self._kept: dict[int, S] = {}
        """In the order of their replies."""
        self._kept_bytes = 0
        self._kept_bytes_max = kept_bytes_max
        self._of_server = of_server or KeptBytes(kept_bytes_max)
        self._has_forgotten = False
        """Whether replies were dropped that nobody had acknowledged."""

    def arrived(self, seqno: int) -> Treatment:
        """Decides on a request that came, whichever way. After RUN the caller runs it and says ``replied``."""
        # Repeats first: their numbers are seen, too. Refused is what was seen, does not run, and is not kept.
        if seqno in self._running:
            return Treatment.WAIT
        if seqno in self._kept:
            return Treatment.RESEND
        if not self._see(seqno):
            return Treatment.REFUSE
        self._running.add(seqno)
        return Treatment.RUN

    def _see(self, seqno: int) -> bool:
        """Marks a number as seen; False if it was seen before, or cannot be one.

        Numbers are remembered for as long as the session lives, in little: they mostly come in order, so a mark says
        up to where all were seen, and a small set holds those beyond it. ``ahead_max`` bounds that set: a client that
        leaves a number out for ever cannot make it grow."""
        if seqno <= self._seen_to or seqno in self._seen_beyond:
            return False
        if seqno != self._seen_to + 1:
            if seqno > self._seen_to + self._ahead_max:
                return False
            self._seen_beyond.add(seqno)
            return True
        self._seen_to = seqno
        while self._seen_beyond and self._seen_to + 1 in self._seen_beyond:
            self._seen_to += 1
            self._seen_beyond.remove(self._seen_to)
        return True

    def refusal(self, seqno: int) -> serr.SigmaError:
        """Why ``arrived`` said REFUSE."""
        if seqno == 0:
            return serr.Inval("request 0", "requests count from 1")
        if seqno > self._seen_to + self._ahead_max:
            limit = f"over {self._ahead_max} ahead of request {self._seen_to + 1}, which has not come"
            return serr.Inval(f"request {seqno}", limit)
        # Which replies were forgotten is not remembered: for any that is not kept now the worse case is told.
        if self._has_forgotten:
            limit = f"the session kept over {self._kept_bytes_max} bytes of replies that were not acknowledged"
            return serr.IOErr(f"request {seqno}", f"it ran; the reply is forgotten: {limit}")
        return serr.Closed("session", f"request {seqno} was answered and acknowledged before")

    def replied(self, seqno: int, reply: S) -> None:
        """Keeps the reply of a request that ran, until it is acknowledged. One that did not run here is ignored."""
        if seqno not in self._running:
            return
        self._running.remove(seqno)
        self._kept[seqno] = reply
        self._count(len(reply) + _KEPT_OVERHEAD_BYTES)
        server = self._of_server
        while self._kept_bytes > self._kept_bytes_max or (
            server.size_bytes > server.bytes_max and self._kept_bytes > self._FAIR_BYTES
        ):
            self._has_forgotten = True
            # The oldest: its client has most likely read it, and only the acknowledgement is missing.
            self._forget(next(iter(self._kept)))

    def _count(self, size_bytes: int) -> None:
        self._kept_bytes += size_bytes
        self._of_server.size_bytes += size_bytes

    def _forget(self, seqno: int) -> None:
        reply = self._kept.pop(seqno, None)
        if reply is not None:
            self._count(-len(reply) - _KEPT_OVERHEAD_BYTES)

    def acknowledged(self, seqnos: Iterable[int]) -> None:
        """Forgets replies that the client has. Numbers that are not kept are ignored."""
        for seqno in seqnos:
            self._forget(seqno)

    def resumed(self, outstanding: Iterable[int], numbered_to: int) -> None:
        """The client came back and waits for these: it has all other replies to requests up to ``numbered_to``,
        whatever acknowledgements were lost."""
        for seqno in self._kept.keys() - set(outstanding):
            if seqno <= numbered_to:
                self._forget(seqno)

    def kept(self, seqno: int) -> S:
        """The reply of a request for which ``arrived`` said RESEND."""
        return self._kept[seqno]

    def end(self) -> None:
        """Forgets all replies: the session is over."""
        for seqno in list(self._kept):
            self._forget(seqno)

    @property
    def running_count(self) -> int:
        """Requests that run."""
        return len(self._running)

    @property
    def kept_count(self) -> int:
        """Replies that are kept, and requests that run."""
        return len(self._kept) + len(self._running)
