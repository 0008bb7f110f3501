"""A client's servers: the configuration as it was last read, and a connection to each of them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from google.protobuf.message import Message

from sigmaos_ray import serr
from sigmaos_ray.rpcclnt import BlockingCalls, InstanceRPCClnt, call_each
from user.cache.config import EMPTY, CacheConfig
from user.cache.tuning import CLNT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sigmaos_ray import AsyncSigmaClnt, SigmaClnt
    from user.cache.paths import CachePaths

R = TypeVar("R", bound=Message)


class CacheServers:
    """The servers of one cache, for the tasks of one loop. ``close`` it."""

    def __init__(self, sc: AsyncSigmaClnt, paths: CachePaths) -> None:
        self._sc = sc
        self._paths = paths
        self.config: CacheConfig = EMPTY
        """As it was read last."""
        self._clnts: dict[str, InstanceRPCClnt] = {}

    async def refresh(self) -> bool:
        """Reads the configuration again; whether it is another one. NotFound if there is no such cache."""
        try:
            config = CacheConfig.from_bytes(await self._sc.get_file(self._paths.config))
        except serr.NotFound as error:
            raise serr.NotFound(self._paths.config, f"there is no cache {self._paths.job}") from error
        older, self.config = self.config, config
        return config.number != older.number

    async def clnt_of(self, server: str) -> InstanceRPCClnt:
        """A connection to the server as it is advertised now. Unreachable if it is not."""
        clnt = self._clnts.get(server)
        if clnt is None:
            pn = self._paths.server(server)
            try:
                endpoint = await self._sc.read_endpoint(pn)
            except serr.NotFound as error:
                raise serr.Unreachable(pn, "the server is away") from error
            # Another task may have asked at the same time: one connection stays. It is bound to this instance of the
            # server, so that a call never gets to a later one, which lost what this one held.
            clnt = self._clnts.setdefault(server, InstanceRPCClnt(self._sc, pn, endpoint))
        return clnt

    async def forget(self, server: str) -> None:
        """Gives up the connection to a server that did not answer: another one may have its name by now. It is closed
        behind the caller, since its server may be silent."""
        clnt = self._clnts.pop(server, None)
        if clnt is not None:
            self._sc.core.behind.start(clnt.close(), f"cache-close-{server}")

    async def call(
        self, method: str, requests: Mapping[str, Message], reply_class: type[R]
    ) -> dict[str, R | serr.SigmaError]:
        """Calls several servers at a time, once each: replies, or the session errors or Timeout of those that did not
        answer. Raises other errors."""
        replies = await asyncio.gather(*(self._call(*item, method, reply_class) for item in requests.items()))
        return dict(zip(requests, replies, strict=True))

    async def _call(self, server: str, request: Message, method: str, reply_class: type[R]) -> R | serr.SigmaError:
        try:
            return await (await self.clnt_of(server)).rpc(f"CacheSrv.{method}", request, reply_class, CLNT.attempt_s)
        except (*serr.SESSION_ERRORS, serr.Timeout) as error:
            await self.forget(server)
            return error

    async def close(self) -> None:
        """May be repeated."""
        clnts, self._clnts = list(self._clnts.values()), {}
        await asyncio.gather(*(clnt.close() for clnt in clnts))


class ThreadCacheServers:
    """``CacheServers`` for any number of threads. ``close`` it."""

    def __init__(self, sc: SigmaClnt, paths: CachePaths) -> None:
        self._sc = sc
        self._servers = CacheServers(sc.asynchronous, paths)
        self._calls: dict[str, BlockingCalls] = {}

    @property
    def config(self) -> CacheConfig:
        """As it was read last."""
        return self._servers.config

    def refresh(self) -> bool:
        """See ``CacheServers.refresh``."""
        return self._sc.run(self._servers.refresh())

    def _calls_of(self, server: str) -> BlockingCalls:
        calls = self._calls.get(server)
        if calls is None:
            # Of two threads that come here at one time, both keep what the first one put there.
            new = BlockingCalls(self._sc, self._sc.run(self._servers.clnt_of(server)))
            calls = self._calls.setdefault(server, new)
        return calls

    def call_one(self, server: str, method: str, request: Message, reply_class: type[R]) -> R | None:
        """Calls a server that was called before; None if it was not, or does not answer, or refuses: then ``call``
        says why."""
        calls = self._calls.get(server)
        if calls is None:
            return None
        try:
            return calls.rpc(method, request, reply_class, CLNT.attempt_s)
        except serr.SigmaError:
            return None

    def call(
        self, method: str, requests: Mapping[str, Message], reply_class: type[R]
    ) -> dict[str, R | serr.SigmaError]:
        """See ``CacheServers.call``."""
        results: dict[str, R | serr.SigmaError] = {}
        reachable: dict[str, tuple[BlockingCalls, Message]] = {}
        for server, request in requests.items():
            try:
                reachable[server] = (self._calls_of(server), request)
            except serr.Unreachable as error:
                results[server] = error
        replies = call_each(list(reachable.values()), f"CacheSrv.{method}", reply_class, CLNT.attempt_s)
        for server, reply in zip(reachable, replies, strict=True):
            if isinstance(reply, serr.SigmaError):
                if not isinstance(reply, (*serr.SESSION_ERRORS, serr.Timeout)):
                    raise reply
                self._forget(server)
            results[server] = reply
        return results

    def _forget(self, server: str) -> None:
        self._calls.pop(server, None)
        self._sc.run(self._servers.forget(server))

    def close(self) -> None:
        """May be repeated."""
        self._calls.clear()
        self._sc.run(self._servers.close())
