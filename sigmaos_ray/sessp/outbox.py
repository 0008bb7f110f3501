"""What one session's requests cost its server: replies that wait to be sent, and what runs. Pure bookkeeping.

It is what keeps a client that sends and does not read from filling the server: once it costs too much, no more of
its requests are read, and gRPC's flow control stops the client.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from sigmaos_ray.sessp.payload import Parcel

if TYPE_CHECKING:
    from sigmaos_ray.config import Session


class Outbox:
    """Replies that wait to be sent, in the bytes in which they go out (see ``wire.reply_frame``), or with payloads."""

    def __init__(self) -> None:
        self._replies: deque[bytes | Parcel] = deque()
        self.size_bytes = 0

    def __bool__(self) -> bool:
        return bool(self._replies)

    def put(self, reply: bytes | Parcel) -> None:
        """Queues a reply behind the others."""
        self._replies.append(reply)
        self.size_bytes += len(reply)

    def take(self, bytes_target: int) -> bytes | Parcel:
        """The next message: as many replies as fit in ``bytes_target``, but at least one; one with a payload alone."""
        first = self._replies.popleft()
        if not self._replies:
            self.size_bytes = 0
            return first
        if isinstance(first, Parcel):
            self.size_bytes -= len(first)
            return first
        parts = [first]
        size_bytes = len(first)
        while self._replies and size_bytes + len(reply := self._replies[0]) <= bytes_target:
            if isinstance(reply, Parcel):
                break
            self._replies.popleft()
            parts.append(reply)
            size_bytes += len(reply)
        self.size_bytes -= size_bytes
        return b"".join(parts)

    def clear(self) -> None:
        """Drops all: they go out again if their client asks for them."""
        self._replies.clear()
        self.size_bytes = 0


class Cost(NamedTuple):
    """Bytes that a request which runs holds, or will. Whoever ``started`` it hands this back to ``ended``."""

    size_bytes: int
    is_waiting: bool
    """True if it waits for somebody else, for how long nobody knows."""


class RequestLoad:
    """What the requests of one session that run hold.

    There are two accounts, bounded in two ways. Requests that come to an end by themselves hold up later ones once they
    are too much. Those that wait for somebody else must not: a later one may be what they wait for, as a read of a
    pipe waits for a write; so no more of them are started, and they get Retry.
    """

    _OVERHEAD_BYTES = 1024
    """Of a request that waits, beside its message."""

    def __init__(self, limits: Session) -> None:
        self._limits = limits
        self.under_way_bytes = 0
        self.waiting_bytes = 0

    def started(self, request_bytes: int, reply_bytes: int | None) -> Cost:
        """Counts a request that has to wait. ``reply_bytes``: see ``SessionHandler.reply_bytes_max``."""
        if reply_bytes is None:
            cost = Cost(request_bytes + self._OVERHEAD_BYTES, is_waiting=True)
            self.waiting_bytes += cost.size_bytes
        else:
            # With its reply: a request of a few bytes may read a megabyte.
            cost = Cost(request_bytes + reply_bytes, is_waiting=False)
            self.under_way_bytes += cost.size_bytes
        return cost

    def ended(self, cost: Cost) -> None:
        """Takes off what ``started`` counted."""
        if cost.is_waiting:
            self.waiting_bytes -= cost.size_bytes
        else:
            self.under_way_bytes -= cost.size_bytes

    @property
    def may_not_wait(self) -> bool:
        """True if no further request that waits may start."""
        return self.waiting_bytes >= self._limits.requests_waiting_bytes_max

    def is_full(self, unread_bytes: int) -> bool:
        """True if no further request is to be read; ``unread_bytes`` of replies wait to be sent."""
        return self.under_way_bytes + unread_bytes >= self._limits.replies_unread_bytes_max
