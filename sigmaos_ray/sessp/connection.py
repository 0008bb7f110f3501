"""One connection of a session, at its server: what its kinds have in common.

It takes requests one after the other, each as far as that goes without waiting, and brings back what they answer. Its
session may have others, and outlives it. No kind is known here but by what it can do.
"""

from __future__ import annotations

import abc
import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from sigmaos_ray import serr
from sigmaos_ray.pb.sessp_pb2 import Request
from sigmaos_ray.sessp.outbox import Outbox

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sigmaos_ray.config import Config
    from sigmaos_ray.pb.sessp_pb2 import Hello
    from sigmaos_ray.sessp.served import ServedSession

_SHARED_BYTES_MAX: Final = 4096
"""Requests of a message up to here stay parts of it; of a larger one each is copied, so that one which runs for long
does not keep all others in memory."""


class ServedConnection(abc.ABC):
    """A connection, from its beginning to its end. The server that took it ends it; ``session`` is what it is for."""

    kind: str
    """As it is told to people."""
    can_stay: bool
    """Whether it takes another hello after the session that it was for."""

    def __init__(self, config: Config) -> None:
        self.session: ServedSession | None = None
        self.is_still = False
        """The client does not ping here, where it need not."""
        self.is_lost = False
        """True once nothing comes or goes any more."""
        self.was_silent = False
        """It was given up since nothing came, though it was not broken: its client may be busy, and come back."""
        self.outbox = Outbox()
        self._config = config
        self._untaken: deque[tuple[Request, int, bytes | None]] = deque()
        """Requests that wait for those before them; what each keeps in memory, in bytes, 0 for its own size; and its
        payload."""
        self._said_bye = False
        self._is_scheduled = False

    # -- what a kind can do

    @abc.abstractmethod
    def flush(self) -> None:
        """Sends what is in the outbox, as far as the client takes it."""

    @abc.abstractmethod
    def flush_soon(self) -> None:
        """The same once the loop has nothing else to do first: requests that end together share a message."""

    @abc.abstractmethod
    async def flushed(self) -> None:
        """Blocks until the outbox is empty, or the connection lost."""

    @abc.abstractmethod
    def is_flushed(self) -> bool:
        """Whether everything was handed to the system."""

    @abc.abstractmethod
    def refuse(self, error: serr.SigmaError) -> None:
        """Ends it, and tells the client why. May be repeated."""

    @abc.abstractmethod
    def refused(self) -> None:
        """The client was told in its welcome that it gets no session: sends that, and ends the connection."""

    @abc.abstractmethod
    def said_bye(self) -> None:
        """The client ended the session, and all before that was taken."""

    def close(self, why: str) -> None:
        """Ends it, for the session is not its any more. May be repeated."""
        self.refuse(serr.Closed("session", why))

    @abc.abstractmethod
    def all_taken(self) -> None:
        """No request waits any more: more may be read."""

    def greeted(self, hello: Hello) -> bool:
        """The client said hello, and is welcome. True if payloads may travel behind their messages here."""
        self.is_still = hello.still
        return False

    # -- requests

    @property
    def has_untaken(self) -> bool:
        """True while requests wait to be taken: no more are to be read."""
        return bool(self._untaken)

    def take(self, requests: Sequence[Request], message_bytes: int, *, bye: bool, payload: bytes | None = None) -> None:
        """The requests of one message; with ``bye``: they are the session's last. ``payload``: of the only one."""
        session = self.session
        is_alone = len(requests) == 1 and not (bye or self._untaken or self._is_scheduled)
        if is_alone and session is not None and not session.is_full:  # one call at a time, mostly
            session.take(requests[0], message_bytes, self, payload)
            self.flush()
            return
        if len(requests) == 1:
            self._untaken.append((requests[0], message_bytes, payload))
        elif message_bytes <= _SHARED_BYTES_MAX:
            self._untaken.extend((request, message_bytes, None) for request in requests)
        else:
            self._untaken.extend((_copy(request), 0, None) for request in requests)
        self._said_bye |= bye
        self.go_on()

    def go_on(self) -> None:
        """Takes what waits, as long as the session may hold more; makes way for others of the loop from time to time:
        a message may hold thousands of requests."""
        session = self.session
        if session is None or self.is_lost or self._is_scheduled:
            return
        untaken = self._untaken
        if untaken:
            ends_s = time.monotonic() + self._config.session.slice_s
            while untaken:
                # Before each: those of a single message may already ask for more than a session may hold.
                if session.is_full:
                    self.flush()
                    if session.is_full:
                        return  # the session says when there is room
                request, size_bytes, payload = untaken.popleft()
                session.take(request, size_bytes, self, payload)
                if untaken and time.monotonic() > ends_s:
                    self._is_scheduled = True
                    asyncio.get_running_loop().call_soon(self._next_slice)
                    self.flush()
                    return
            self.all_taken()
        self.flush()
        if self._said_bye:
            self._said_bye = False
            self.said_bye()

    def _next_slice(self) -> None:
        self._is_scheduled = False
        self.go_on()

    def left(self) -> None:
        """It is for no session any more: what waits here is that one's, and not the next one's."""
        self.session = None
        self._said_bye = False
        self._drop_all()

    def lost(self) -> None:
        """Nothing comes or goes any more: the client sends what was not taken, or not answered, on another one."""
        self.is_lost = True
        self._drop_all()

    def _drop_all(self) -> None:
        self._untaken.clear()
        self.outbox.clear()
        self.all_taken()


def _copy(request: Request) -> Request:
    copied = Request()
    copied.CopyFrom(request)
    return copied
