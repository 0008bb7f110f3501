"""How clerks call servers: over a line where they get one, else over their session."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Final, TypeVar

from google.protobuf.message import Message

from sigmaos_ray import debug, serr
from sigmaos_ray.rpcclnt import AsyncRPCClnt
from user.kv import kv_pb2 as pb
from user.kv.line import METHODS, AsyncKvLine, BlockingKvLine

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sigmaos_ray import AsyncSigmaClnt, SigmaClnt

R = TypeVar("R", bound=Message)

ATTEMPT_S: Final = 5.0
"""So long a server may take; a change is written in milliseconds."""
_DIAL_S: Final = 1.0
_WITHOUT_LINE_S: Final = 30.0
"""For so long nobody tries to get a line, after one could not be had."""
_log = debug.selector("KVCLERK")


class Server:
    """A group's leader, whoever that is. ``close`` it."""

    def __init__(self, sc: AsyncSigmaClnt, pn: str) -> None:
        self._rpc = AsyncRPCClnt(sc, pn)
        self._pathname = pn
        self._line: AsyncKvLine | None = None
        self._opening = asyncio.Lock()
        self._no_line_until_s = 0.0

    async def call(self, method: str, request: Message, reply_class: type[R]) -> R:
        """Calls a method of ``KvSrv``, at most once. Raises like ``AsyncRPCClnt.rpc``."""
        line = self._line
        if line is None or line.is_lost:
            line = await self._open()
            if line is None:
                return await self._rpc.rpc(f"KvSrv.{method}", request, reply_class, ATTEMPT_S)
        try:
            async with asyncio.timeout(ATTEMPT_S):
                return await line.call(METHODS[method], request, reply_class)
        except TimeoutError as error:
            if isinstance(error, serr.SigmaError):
                raise
            line.close()
            raise serr.Timeout(self._pathname, f"no reply in {ATTEMPT_S:g} s") from error

    async def where(self) -> pb.LineReply:
        """Where the leader takes lines."""
        return await self._rpc.rpc("KvSrv.Line", pb.NothingRequest(), pb.LineReply, ATTEMPT_S)

    async def _open(self) -> AsyncKvLine | None:
        """A line; None if the server can be reached by its session alone."""
        async with self._opening:
            if self._line is not None and not self._line.is_lost:
                return self._line
            if time.monotonic() < self._no_line_until_s:
                return None
            at = await self.where()
            try:
                self._line = await AsyncKvLine.open(at.host, at.port, at.token, _DIAL_S)
            except (OSError, TimeoutError) as error:
                _log(f"{self._pathname}: no line to {at.host}:{at.port}: {error}")
                self._no_line_until_s = time.monotonic() + _WITHOUT_LINE_S
                return None
            return self._line

    async def close(self) -> None:
        """May be repeated."""
        if self._line is not None:
            self._line.close()
        with contextlib.suppress(serr.SigmaError):  # a server that is gone has forgotten it
            await self._rpc.close()


class ThreadLines:
    """Lines for blocking calls, from any number of threads: no loop stands between. What does not go at once, does not
    go: the caller then takes the long way. ``close`` it."""

    def __init__(self, sc: SigmaClnt) -> None:
        self._sc = sc
        self._idle: dict[str, list[BlockingKvLine]] = {}
        self._not_until_s: dict[str, float] = {}
        self._closed = False

    def call(
        self, method: str, requests: Mapping[str, Message], servers: Mapping[str, Server], reply_class: type[R]
    ) -> dict[str, R]:
        """Asks several groups' leaders at a time, at most once each; who did not answer, or refused, is left out."""
        asked: dict[str, BlockingKvLine] = {}
        replies: dict[str, R] = {}
        try:
            for group, request in requests.items():
                line = self._take(group, servers)
                if line is not None:
                    asked[group] = line
                    line.send(METHODS[method], request)
            for group in list(asked):
                replies[group] = asked[group].receive(reply_class)
                self._put_back(group, asked.pop(group))
        except (OSError, serr.SigmaError) as error:
            _log(f"{method}: {error}")
        finally:
            for line in asked.values():
                line.close()
        return replies

    def _take(self, group: str, servers: Mapping[str, Server]) -> BlockingKvLine | None:
        idle = self._idle.get(group)
        if idle:
            with contextlib.suppress(IndexError):  # another thread was quicker
                return idle.pop()
        server = servers.get(group)
        if server is None or self._closed or time.monotonic() < self._not_until_s.get(group, 0):
            return None
        at = self._sc.run(server.where())
        try:
            return BlockingKvLine(at.host, at.port, at.token, ATTEMPT_S)
        except OSError:
            self._not_until_s[group] = time.monotonic() + _WITHOUT_LINE_S
            raise

    def _put_back(self, group: str, line: BlockingKvLine) -> None:
        if self._closed:
            line.close()
        else:
            self._idle.setdefault(group, []).append(line)

    def close(self) -> None:
        """May be repeated."""
        self._closed = True
        for lines in self._idle.values():
            while lines:
                lines.pop().close()
