"""The blocking face of the clients.

A call of a thread could always go through the event loop; that costs two switches of threads. So the thread sends it
itself where that can be (``sessp.aside``), and the loop does the rest: dial, fetch large results, and repeat.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self, TypeVar

from google.protobuf.message import Message

from sigmaos_ray import config as configuration
from sigmaos_ray import serr
from sigmaos_ray.blocking.face import can_be_direct
from sigmaos_ray.deadlines import within
from sigmaos_ray.fslib.repeats import NEVER_RAN
from sigmaos_ray.rpcclnt.channel import Answered
from sigmaos_ray.rpcclnt.clnt import AsyncRPCClnt, parse_reply
from sigmaos_ray.sessp.aside import Elsewhere

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence
    from typing import Any

    from sigmaos_ray.blocking import BlockingClient
    from sigmaos_ray.rpcclnt.channel import SentCall

R = TypeVar("R", bound=Message)


class BlockingCalls:
    """Calls of threads to the server of an ``AsyncRPCClnt``. May be shared by threads; ``sc`` and ``clnt`` stay their
    owner's."""

    def __init__(self, sc: BlockingClient, clnt: AsyncRPCClnt) -> None:
        self.sc = sc
        self.clnt = clnt
        self.inline_bytes_max = configuration.current().rpc.inline_bytes_max

    def rpc(
        self, method: str, request: Message, reply_class: type[R], timeout_s: float | None, *, idempotent: bool = False
    ) -> R:
        """See ``AsyncRPCClnt.rpc``."""
        return self.begin(method, request, timeout_s, idempotent=idempotent).finish(reply_class)

    def begin(self, method: str, request: Message, timeout_s: float | None, *, idempotent: bool = False) -> PendingCall:
        """Sends a call, if this thread can (else ``finish`` does), and returns without waiting for the reply. Whoever
        begins it finishes or abandons it. Errors of the call are raised by ``finish``."""
        return PendingCall(self, method, request.SerializeToString(), timeout_s, idempotent=idempotent)


class PendingCall:
    """A call that was begun, and has not returned. For one thread."""

    def __init__(
        self, calls: BlockingCalls, method: str, argument: bytes, timeout_s: float | None, *, idempotent: bool
    ) -> None:
        self._calls = calls
        self._method = method
        self._argument = argument
        self._timeout_s = timeout_s
        self._ends_s = None if timeout_s is None else time.monotonic() + timeout_s
        self._idempotent = idempotent
        self._sent: SentCall | None = None
        channel = calls.clnt.channel
        # A larger argument goes in parts, side by side.
        if channel is not None and len(argument) <= calls.inline_bytes_max and can_be_direct():
            try:
                self._sent = channel.begin(method, argument, timeout_s, self._ends_s)
            except (Elsewhere, *serr.SESSION_ERRORS):  # nothing was sent: finish makes the call
                pass

    @property
    def is_sent(self) -> bool:
        """Whether this thread has sent the call, and ``finish`` waits for the reply alone."""
        return self._sent is not None

    def finish(self, reply_class: type[R]) -> R:
        """Blocks for the reply. Raises as ``AsyncRPCClnt.rpc``. Called once."""
        sent, self._sent = self._sent, None
        if sent is None:
            return parse_reply(self._method, self._on_loop(), reply_class)
        try:
            result = self._result(sent)
        except Answered as answered:
            raise answered.error from None
        except serr.SESSION_ERRORS as error:
            self._calls.clnt.leave_soon(sent.channel)
            if not (self._idempotent or isinstance(error, NEVER_RAN)):
                raise
            result = self._on_loop()
        return parse_reply(self._method, result, reply_class)

    def _result(self, sent: SentCall) -> bytes:
        """What came of the call. Unreachable: it never ran. An error that the server answered with raises
        ``Answered``."""
        frames = sent.channel.finish(self._method, sent, self._ends_s)
        if not frames[0]:
            return frames[1]
        result: bytes = self._calls.sc.run(self._in_time(sent.channel.result(self._method, frames)))
        return result

    async def _in_time(self, result: Coroutine[Any, Any, bytes]) -> bytes:
        left_s, taken_s = self._times_s()
        async with within(left_s, self._method, "no reply", taken_s):
            return await result

    def _on_loop(self) -> bytes:
        left_s, taken_s = self._times_s()
        call = self._calls.clnt.call(self._method, self._argument, left_s, idempotent=self._idempotent, taken_s=taken_s)
        result: bytes = self._calls.sc.run(call)
        return result

    def _times_s(self) -> tuple[float | None, float]:
        """How much of its time is left, and how much is over."""
        if self._ends_s is None or self._timeout_s is None:
            return None, 0.0
        left_s = max(self._ends_s - time.monotonic(), 0.0)
        return left_s, self._timeout_s - left_s

    def abandon(self) -> None:
        """Nobody waits for the call any more. The handler may run, or have run. May be repeated, also after
        ``finish``."""
        sent, self._sent = self._sent, None
        if sent is not None:
            sent.channel.abandon(sent)


def call_each(
    calls: Sequence[tuple[BlockingCalls, Message]],
    method: str,
    reply_class: type[R],
    timeout_s: float | None = None,
) -> list[R | serr.SigmaError]:
    """Calls several servers, each with a request of its own, side by side as far as this thread can; blocks until all
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
    """The blocking face of ``AsyncRPCClnt``; may be shared by threads. ``close`` it. A context manager."""

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
        """Closes the channel; a later call opens another. May be repeated."""
        self._sc.run(self._clnt.close())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
