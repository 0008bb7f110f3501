"""The blocking face of the clients."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from google.protobuf.message import Message

from sigmaos_ray import config as configuration
from sigmaos_ray import serr
from sigmaos_ray.rpcclnt.channel import Answered
from sigmaos_ray.rpcclnt.clnt import AsyncRPCClnt, parsed
from sigmaos_ray.rpcclnt.line import BlockingLine, Lines

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from sigmaos_ray.fslib import AsyncFsLib

R = TypeVar("R", bound=Message)


class BlockingClient(Protocol):
    """What the blocking face of a client offers to the faces built on it."""

    @property
    def asynchronous(self) -> AsyncFsLib: ...

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any: ...


class BlockingCalls:
    """Calls of threads to the server of an ``AsyncRPCClnt``: over lines, which save the way through the loop; and where
    no line can be had, or the call is too large for one, over its session. ``close`` it."""

    def __init__(self, sc: BlockingClient, clnt: AsyncRPCClnt) -> None:
        self._sc = sc
        self.clnt = clnt
        self._inline_bytes_max = configuration.current().rpc.inline_bytes_max
        self._lines = Lines(lambda: sc.run(clnt.line()))

    def rpc(
        self, method: str, request: Message, reply_class: type[R], timeout_s: float | None, *, idempotent: bool = False
    ) -> R:
        """See ``AsyncRPCClnt.rpc``."""
        argument = request.SerializeToString()
        return parsed(method, self._call(method, argument, timeout_s, idempotent=idempotent), reply_class)

    def _call(self, method: str, argument: bytes, timeout_s: float | None, *, idempotent: bool) -> bytes:
        line = self._lines.take() if len(argument) <= self._inline_bytes_max else None
        if line is None:
            return self._by_session(method, argument, timeout_s, idempotent=idempotent)
        began_s = time.monotonic()
        try:
            return self._by_line(line, method, argument, timeout_s)
        except serr.SESSION_ERRORS as error:
            if not (idempotent or isinstance(error, serr.Unreachable)):
                raise
        except Answered as answered:
            raise answered.error from None
        if timeout_s is not None:
            timeout_s = max(timeout_s - (time.monotonic() - began_s), 0.0)
        return self._by_session(method, argument, timeout_s, idempotent=idempotent)

    def _by_session(self, method: str, argument: bytes, timeout_s: float | None, *, idempotent: bool) -> bytes:
        result: bytes = self._sc.run(self.clnt.call(method, argument, timeout_s, idempotent=idempotent))
        return result

    def _by_line(self, line: BlockingLine, method: str, argument: bytes, timeout_s: float | None) -> bytes:
        """One call. Unreachable: it never ran. What the server answered raises ``Answered``."""
        try:
            frames = line.call(method, argument, timeout_s)
        except BaseException:  # a cancellation too: what was opened is closed, and it goes on
            self._lines.drop(line)
            raise
        self._lines.put_back(line)
        if not frames[0]:
            return frames[1]
        result: bytes = self._sc.run(line.channel.result(method, frames))
        return result

    def close(self) -> None:
        """Leaves the client as it is. May be repeated."""
        self._lines.close()


class RPCClnt:
    """The blocking face of ``AsyncRPCClnt``; may be shared by threads."""

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
        """Closes the channel; a later call opens another."""
        self._calls.close()
        self._calls = BlockingCalls(self._sc, self._clnt)
        self._sc.run(self._clnt.close())
