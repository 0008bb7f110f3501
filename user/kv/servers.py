"""How clerks call servers: over a line where they get one, else over their session.

Both ways a call is made at most once; whether to repeat it is the clerk's decision.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, TypeVar

from google.protobuf.message import Message

from sigmaos_ray import debug, serr
from sigmaos_ray.rpcclnt import AsyncRPCClnt
from user.kv import kv_pb2 as pb
from user.kv.line import METHODS, AsyncKvLine, BlockingKvLine
from user.kv.tuning import CLERK

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sigmaos_ray import AsyncSigmaClnt, SigmaClnt

R = TypeVar("R", bound=Message)

_log = debug.selector("KVCLERK")


class KvServer:
    """A group's leader, whoever that is, for the tasks of one loop. ``close`` it."""

    def __init__(self, sc: AsyncSigmaClnt, pn: str) -> None:
        self._rpc = AsyncRPCClnt(sc, pn)
        self._pathname = pn
        self._line: AsyncKvLine | None = None
        self._opening = asyncio.Lock()
        self._no_line_until_s = 0.0

    async def call(self, method: str, request: Message, reply_class: type[R]) -> R:
        """Calls a method of ``KvSrv``, at most once. Raises like ``AsyncRPCClnt.rpc``: Timeout after
        ``ClerkTuning.attempt_s``, and IOErr, leave open whether it was carried out."""
        line = self._line
        if line is None or line.is_lost:
            line = await self._open()
            if line is None:
                return await self._rpc.rpc(f"KvSrv.{method}", request, reply_class, CLERK.attempt_s)
        try:
            async with asyncio.timeout(CLERK.attempt_s):
                return await line.call(METHODS[method], request, reply_class)
        except TimeoutError as error:
            if isinstance(error, serr.SigmaError):  # serr.Timeout is one, too: it is the server's reply
                raise
            # A server that is stopped keeps its connections: the next call finds out who leads by now.
            line.close()
            raise serr.Timeout(self._pathname, f"no reply in {CLERK.attempt_s:g} s") from error

    async def where(self) -> pb.LineReply:
        """Where the leader takes lines. Raises like ``call``."""
        return await self._rpc.rpc("KvSrv.Line", pb.NothingRequest(), pb.LineReply, CLERK.attempt_s)

    async def _open(self) -> AsyncKvLine | None:
        """A line; None if the server can be reached by its session alone, or nobody is to try now."""
        async with self._opening:
            # Whoever had the lock before may have opened one.
            if self._line is not None and not self._line.is_lost:
                return self._line
            if time.monotonic() < self._no_line_until_s:
                return None
            return await self._dial()

    async def _dial(self) -> AsyncKvLine | None:
        # Its errors are the caller's: where the session does not lead to the server, nothing does.
        at = await self.where()
        try:
            self._line = await AsyncKvLine.open(at.host, at.port, at.token, CLERK.dial_s)
        except (OSError, TimeoutError) as error:
            _log(f"{self._pathname}: no line to {at.host}:{at.port}: {error}")
            self._no_line_until_s = time.monotonic() + CLERK.without_line_s
            return None
        return self._line

    async def close(self) -> None:
        """May be repeated."""
        if self._line is not None:
            self._line.close()
        with contextlib.suppress(serr.SigmaError):  # a server that is gone has forgotten it
            await self._rpc.close()


class ThreadLines:
    """Lines for blocking calls, from any number of threads: no loop stands between. ``close`` it.

    What cannot be had at once is left out: the caller then takes the long way, by ``AsyncKvClerk``.
    """

    def __init__(self, sc: SigmaClnt) -> None:
        self._sc = sc
        self._idle: dict[str, list[BlockingKvLine]] = {}
        self._not_until_s: dict[str, float] = {}
        self._closed = False

    def call(
        self, method: str, requests: Mapping[str, Message], servers: Mapping[str, KvServer], reply_class: type[R]
    ) -> dict[str, R]:
        """Asks several groups' leaders at a time, at most once each. The replies by group; of those that did not
        answer, or refused, there is none, and the call may have been carried out."""
        pending: dict[str, BlockingKvLine] = {}
        replies: dict[str, R] = {}
        try:
            for group, request in requests.items():
                line = self._take(group, servers)
                if line is not None:
                    pending[group] = line
                    # To all of them before the first reply is waited for, so that they work side by side.
                    line.send(METHODS[method], request)
            for group in list(pending):
                replies[group] = pending[group].receive(reply_class)
                self._put_back(group, pending.pop(group))
        except (OSError, serr.SigmaError) as error:
            _log(f"{method}: {error}")
        finally:
            # The next thing that comes on such a line may be the reply to this call: nobody may use it again.
            for line in pending.values():
                line.close()
        return replies

    def _take(self, group: str, servers: Mapping[str, KvServer]) -> BlockingKvLine | None:
        """A line that no other thread uses, perhaps a new one; None if there is to be none now. OSError and session
        errors if it cannot be had."""
        idle = self._idle.get(group)
        if idle:
            with contextlib.suppress(IndexError):  # another thread was quicker
                return idle.pop()
        server = servers.get(group)
        if server is None or self._closed or time.monotonic() < self._not_until_s.get(group, 0):
            return None
        # Where it listens is asked over the session, each time: a new leader listens elsewhere.
        at = self._sc.run(server.where())
        try:
            return BlockingKvLine(at.host, at.port, at.token, CLERK.attempt_s)
        except OSError:
            self._not_until_s[group] = time.monotonic() + CLERK.without_line_s
            raise

    def _put_back(self, group: str, line: BlockingKvLine) -> None:
        if self._closed:
            line.close()
        else:
            self._idle.setdefault(group, []).append(line)

    def close(self) -> None:
        """May be repeated. Lines in use are closed when their calls are answered."""
        self._closed = True
        for lines in self._idle.values():
            while lines:
                lines.pop().close()
