"""The rules of a session, pure: messages in, messages out; no stream, no loop, no clock (S-1 to S-6).

A session is one client's stream of numbered requests to one server. Replies come in any order. The server keeps each
reply until the client acknowledges it, so that a client that lost the stream can send its outstanding requests again:
what ran is answered from the cache, what still runs is waited for, what never arrived runs now. Nothing runs twice.

A server that does not know the session (it is another life of the server, or the session timed out) must not run
anything again: the client fails what it had sent with IOErr, since it may have run, and what it had not sent
with Unreachable.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from sigmaos_ray import serr
from sigmaos_ray.pb.sessp_pb2 import Frames, Hello, Reply, Request, Welcome

if TYPE_CHECKING:
    from collections.abc import Iterable


class ClientState:
    """One session as its client sees it."""

    def __init__(self, session_id: int, *, ack_batch: int = 64) -> None:
        self.session_id = session_id
        self.server_id: int | None = None
        self.ended: serr.SigmaError | None = None
        self._ack_batch = ack_batch
        self._last_seqno = 0
        self._unsent: dict[int, Request] = {}
        self._sent: dict[int, Request] = {}
        self._acks: list[int] = []

    def request(self, request: Request) -> int:
        """Numbers a request and queues it. Raises the error that the session ended with."""
        if self.ended is not None:
            raise self.ended
        self._last_seqno = seqno = self._last_seqno + 1
        request.seqno = seqno
        self._unsent[seqno] = request
        return seqno

    def hello(self) -> Frames:
        """The first message of each stream."""
        resume = self.server_id is not None
        outstanding = sorted((*self._sent, *self._unsent)) if resume else ()
        return Frames(hello=Hello(session_id=self.session_id, resume=resume, outstanding=outstanding))

    def welcomed(self, welcome: Welcome) -> bool:
        """The server's answer to a hello; True if the session goes on. All outstanding requests are queued again."""
        known = self.server_id is None or self.server_id == welcome.server_id
        if not (welcome.accepted and known):
            return False
        self.server_id = welcome.server_id
        if self._sent:
            self._unsent = dict(sorted((self._sent | self._unsent).items()))
            self._sent = {}
        self._acks.clear()
        return True

    def take(self, bytes_target: int) -> Frames | None:
        """The next message to send, and its requests count as sent; None if there is nothing to say."""
        if self._unsent:
            taken = self._take_requests(bytes_target)
            frames = Frames(requests=taken, acks=self._acks)
        elif len(self._acks) >= self._ack_batch:
            frames = Frames(acks=self._acks)
        else:
            return None
        self._acks.clear()
        return frames

    def _take_requests(self, bytes_target: int) -> list[Request]:
        if len(self._unsent) == 1:
            seqno, request = self._unsent.popitem()
            self._sent[seqno] = request
            return [request]
        taken: list[Request] = []
        size = 0
        for request in self._unsent.values():
            size += request.ByteSize()
            if taken and size > bytes_target:
                break
            taken.append(request)
        for request in taken:
            self._sent[request.seqno] = self._unsent.pop(request.seqno)
        return taken

    def received(self, replies: Iterable[Reply]) -> list[Reply]:
        """The replies that somebody waits for; a doubled one is dropped, and acknowledged again.

        After a resume a reply may overtake the repeat of its request, which is then queued, but need not be sent."""
        wanted = []
        for reply in replies:
            seqno = reply.seqno
            self._acks.append(seqno)
            if self._sent.pop(seqno, None) is not None or self._unsent.pop(seqno, None) is not None:
                wanted.append(reply)
        return wanted

    def end(self, error: serr.SigmaError) -> dict[int, serr.SigmaError]:
        """Ends the session. Returns how each outstanding request fails; later ones fail with ``error``."""
        if self.ended is None:
            self.ended = error
        cause = error.msg or error.text
        failed: dict[int, serr.SigmaError] = {n: serr.IOErr(error.obj, cause) for n in self._sent}
        failed |= {n: serr.Unreachable(error.obj, cause) for n in self._unsent}
        self._sent.clear()
        self._unsent.clear()
        return failed

    @property
    def outstanding_count(self) -> int:
        return len(self._sent) + len(self._unsent)


class Verdict(enum.Enum):
    """What a server does with a request that arrived."""

    RUN = enum.auto()
    WAIT = enum.auto()
    """A repeat of one that still runs: its reply will go to the present stream."""
    RESEND = enum.auto()
    """A repeat of one that is answered: the reply goes out again."""
    REFUSE = enum.auto()
    """A repeat of one whose reply was acknowledged and forgotten: Closed."""


class ServerState:
    """One session as its server sees it: what was seen, what runs, which replies are kept."""

    def __init__(self) -> None:
        self._seen_to = 0
        self._seen_beyond: set[int] = set()
        self._kept: dict[int, Reply | None] = {}

    def arrived(self, seqno: int) -> Verdict:
        if seqno in self._kept:
            return Verdict.WAIT if self._kept[seqno] is None else Verdict.RESEND
        if not self._see(seqno):
            return Verdict.REFUSE
        self._kept[seqno] = None
        return Verdict.RUN

    def _see(self, seqno: int) -> bool:
        """Marks a number as seen; False if it was, or cannot be one. Numbers mostly come in order: a mark says up to
        where all were seen, a small set holds those beyond it."""
        if seqno <= self._seen_to or seqno in self._seen_beyond:
            return False
        if seqno != self._seen_to + 1:
            self._seen_beyond.add(seqno)
            return True
        self._seen_to = seqno
        while self._seen_beyond and self._seen_to + 1 in self._seen_beyond:
            self._seen_to += 1
            self._seen_beyond.remove(self._seen_to)
        return True

    def replied(self, reply: Reply) -> None:
        """Keeps the reply of a request that ran, until it is acknowledged."""
        if reply.seqno in self._kept:
            self._kept[reply.seqno] = reply

    def acknowledged(self, seqnos: Iterable[int]) -> None:
        for seqno in seqnos:
            if self._kept.get(seqno) is not None:
                del self._kept[seqno]

    def resumed(self, outstanding: Iterable[int]) -> None:
        """The client came back: it has all replies but those that it waits for."""
        waited_for = set(outstanding)
        self._kept = {n: reply for n, reply in self._kept.items() if reply is None or n in waited_for}

    def kept(self, seqno: int) -> Reply:
        """The reply of a request for which ``arrived`` said RESEND."""
        reply = self._kept[seqno]
        assert reply is not None
        return reply

    @property
    def running_count(self) -> int:
        return sum(reply is None for reply in self._kept.values())

    @property
    def kept_count(self) -> int:
        return len(self._kept)
