"""The blocking face of the clients.

A call of a thread could always go through the event loop; that costs two switches of threads. So it goes over a line
where there is one, and the loop does what a line cannot: dial, fetch large results, and repeat.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from google.protobuf.message import Message

from sigmaos_ray import config as configuration
from sigmaos_ray import serr
from sigmaos_ray.rpcclnt.channel import Answered
from sigmaos_ray.rpcclnt.clnt import AsyncRPCClnt, parse_reply
from sigmaos_ray.rpcclnt.line import BlockingLine, LinePool

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sigmaos_ray.blocking import BlockingClient

R = TypeVar("R", bound=Message)


class BlockingCalls:
    """Calls of threads to the server of an ``AsyncRPCClnt``: over lines, which save the way through the loop; and where
    no line can be had, or the call is too large for one, over its session. May be shared by threads. ``close`` it;
    ``sc`` and ``clnt`` stay their owner's."""

    def __init__(self, sc: BlockingClient, clnt: AsyncRPCClnt) -> None:
        self.sc = sc
        self.clnt = clnt
        self.inline_bytes_max = configuration.current().rpc.inline_bytes_max
        self.lines = LinePool(lambda: sc.run(clnt.line()))

    def rpc(
        self, method: str, request: Message, reply_class: type[R], timeout_s: float | None, *, idempotent: bool = False
    ) -> R:
        """See ``AsyncRPCClnt.rpc``."""
        return self.begin(method, request, timeout_s, idempotent=idempotent).finish(reply_class)

    def begin(self, method: str, request: Message, timeout_s: float | None, *, idempotent: bool = False) -> PendingCall:
        """Sends a call, if there is a line for it (else ``finish`` does), and returns without waiting for the reply.
        Whoever begins it finishes or abandons it. Errors of the call are raised by ``finish``."""
        return PendingCall(self, method, request.SerializeToString(), timeout_s, idempotent=idempotent)

    def close(self) -> None:
        """Closes the lines, and leaves the client as it is. May be repeated."""
        self.lines.close()


class PendingCall:
    """A call that was begun, and has not returned. For one thread."""

    def __init__(
        self, calls: BlockingCalls, method: str, argument: bytes, timeout_s: float | None, *, idempotent: bool
    ) -> None:
        self._calls = calls
        self._method = method
        self._argument = argument
        self._ends_s = None if timeout_s is None else time.monotonic() + timeout_s
        self._idempotent = idempotent
        # A larger argument goes in parts, as only the session has them.
        self._line = calls.lines.take() if len(argument) <= calls.inline_bytes_max else None
        if self._line is not None:
            try:
                self._line.send(method, argument, timeout_s)
            except serr.Unreachable:  # not sent whole, so it does not run: finish makes it over the session
                self.abandon()
            except BaseException:
                self.abandon()
                raise

    def finish(self, reply_class: type[R]) -> R:
        """Blocks for the reply. Raises as ``AsyncRPCClnt.rpc``. Called once."""
        if self._line is None:
            return parse_reply(self._method, self._by_session(), reply_class)
        try:
            result = self._by_line(self._line)
        except Answered as answered:
            raise answered.error from None
        except serr.SESSION_ERRORS as error:
            if not (self._idempotent or isinstance(error, serr.Unreachable)):
                raise
            # The client behind the session finds out where the server is by now; a line leads to the old one for ever.
            result = self._by_session()
        return parse_reply(self._method, result, reply_class)

    def _by_line(self, line: BlockingLine) -> bytes:
        """The reply that comes over the line. Unreachable: the call never ran. An error that the server answered with
        raises ``Answered``."""
        try:
            frames = line.receive(self._method, self._left_s())
        except BaseException:
            self.abandon()  # the reply may come yet, and would be taken for that of the next call
            raise
        self._line = None
        self._calls.lines.put_back(line)
        if not frames[0]:
            return frames[1]
        result: bytes = self._calls.sc.run(line.channel.result(self._method, frames))
        return result

    def _by_session(self) -> bytes:
        call = self._calls.clnt.call(self._method, self._argument, self._left_s(), idempotent=self._idempotent)
        result: bytes = self._calls.sc.run(call)
        return result

    def _left_s(self) -> float | None:
        return None if self._ends_s is None else max(self._ends_s - time.monotonic(), 0.0)

    def abandon(self) -> None:
        """Nobody waits for the call any more: its line is closed. The handler may run, or have run. May be repeated,
        also after ``finish``."""
        line, self._line = self._line, None
        if line is not None:
            self._calls.lines.drop(line)


def call_each(
    calls: Sequence[tuple[BlockingCalls, Message]],
    method: str,
    reply_class: type[R],
    timeout_s: float | None = None,
) -> list[R | serr.SigmaError]:
    """Calls several servers, each with a request of its own, side by side as far as they have lines; blocks until all
    have answered or failed. Their replies or errors, in order."""
    pending: list[PendingCall] = []
    try:
        # All are sent before the first reply is waited for: so the servers work at the same time, without threads here.
        pending.extend(each.begin(method, request, timeout_s) for each, request in calls)
        outcomes: list[R | serr.SigmaError] = []
        for call in pending:
            try:
                outcomes.append(call.finish(reply_class))
            except serr.SigmaError as error:
                outcomes.append(error)
        return outcomes
    finally:
        # For when something else than such an error ended it: replies that are to come yet would meet the next call
        # there.
        for call in pending:
            call.abandon()


class RPCClnt:
    """The blocking face of ``AsyncRPCClnt``; may be shared by threads. ``close`` it."""

    def __init__(self, sc: BlockingClient, pn: str) -> None:
        self._sc = sc
        self._clnt = AsyncRPCClnt(sc.asynchronous, pn)
        self._calls = BlockingCalls(sc, self._clnt)

    @property
    def is_open(self) -> bool:
        """See ``AsyncRPCClnt.is_open``."""
        return self._clnt.is_open

    def rpc(
        self,
        method: str,
        request: Message,
        reply_class: type[R],
        timeout_s: float | None = None,
        *,
        idempotent: bool = False,
    ) -> R:
        """See ``AsyncRPCClnt.rpc``."""
        return self._calls.rpc(method, request, reply_class, timeout_s, idempotent=idempotent)

    def close(self) -> None:
        """Closes the channel and its lines; a later call opens others. May be repeated."""
        self._calls.close()
        # For later calls: a pool that was closed gives out no more lines.
        self._calls = BlockingCalls(self._sc, self._clnt)
        self._sc.run(self._clnt.close())
