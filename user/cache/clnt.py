"""Clients of a cache: ``CacheClnt`` for threads, ``AsyncCacheClnt`` for coroutines, with the same names."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Self

from sigmaos_ray import debug, serr
from user.cache import cache_pb2 as pb
from user.cache.asking import PAUSE_S, Asking, batches
from user.cache.config import shard_of
from user.cache.face import check_key, miss, packed, unpacked
from user.cache.paths import CachePaths
from user.cache.servers import CacheServers, ThreadCacheServers

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from types import TracebackType

    from google.protobuf.message import Message

    from sigmaos_ray import AsyncSigmaClnt, SigmaClnt

_DONE = bytes([pb.DONE])
_MISS = bytes([pb.MISS])
_log = debug.selector("CACHECLNT")


def _put(keys: Sequence[str], values: Mapping[str, bytes], ttl_s: float | None, *, append: bool) -> pb.PutRequest:
    pairs = [pb.Pair(key=key, value=values[key]) for key in keys]
    return pb.PutRequest(pairs=pairs, ttl_s=_checked_ttl(ttl_s), append=append)


def _checked_ttl(ttl_s: float | None) -> float:
    if ttl_s is None:
        return 0.0
    if not 0 < ttl_s < float("inf"):
        raise serr.Inval("ttl_s", f"{ttl_s} s: a value is kept for some time, or (None) as long as there is room")
    return ttl_s


class AsyncCacheClnt:
    """A client of the cache ``job``. A look at a server that does not answer is a miss; a change is tried for ten
    seconds, may then have been made, and raises. ``close`` it, or use it as a context."""

    def __init__(self, sc: AsyncSigmaClnt, job: str) -> None:
        self._servers = CacheServers(sc, CachePaths(job))

    async def get(self, key: str) -> bytes:
        """NotFound with the object ``key <key>``: a miss."""
        found = await self.get_many([key])
        if key not in found:
            raise miss(key)
        return found[key]

    async def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
        """Those of the keys that are there."""
        found: dict[str, bytes] = {}
        asking = Asking(keys, time.monotonic(), changes=False)
        while True:
            asked = asking.by_server(self._servers.config)
            requests: dict[str, Message] = {server: pb.GetRequest(keys=part) for server, part in asked.items()}
            for server, reply in (await self._servers.call("Get", requests, pb.GetReply)).items():
                _looked(asking, asked[server], reply, found)
            if asking.is_over(time.monotonic()):
                return found
            await self._refresh()

    async def put(self, key: str, value: bytes, ttl_s: float | None = None) -> None:
        """Replaces what is there. ``ttl_s``: so long it is kept at most. Inval for a value larger than its server."""
        await self.put_many({key: value}, ttl_s)

    async def put_many(self, values: Mapping[str, bytes], ttl_s: float | None = None) -> None:
        """Each by itself, as ``put``."""
        for key in values:
            check_key(key)
        for batch in batches(values.items()):
            await self._put(batch, ttl_s, append=False)

    async def append(self, key: str, value: bytes) -> None:
        """One more value of the key, for ``get_vals``. IOErr if it is not known whether it was appended."""
        check_key(key)
        await self._put({key: packed(value)}, None, append=True)

    async def get_vals(self, key: str) -> list[bytes]:
        """The values that were appended. NotFound if there is none; Inval for a key that was put otherwise."""
        return unpacked(key, await self.get(key))

    async def delete(self, key: str) -> bool:
        """Whether it was there. Afterwards it is not."""
        asking = Asking([key], time.monotonic(), changes=True)
        told = b""
        while True:
            asked = asking.by_server(self._servers.config)
            requests: dict[str, Message] = {server: pb.DeleteRequest(keys=part) for server, part in asked.items()}
            for server, reply in (await self._servers.call("Delete", requests, pb.ToldReply)).items():
                told = _changed(asking, asked[server], reply)
            if asking.is_over(time.monotonic()):
                return told == _DONE
            await self._refresh()

    async def _put(self, values: Mapping[str, bytes], ttl_s: float | None, *, append: bool) -> None:
        asking = Asking(values, time.monotonic(), changes=True)
        while True:
            asked = asking.by_server(self._servers.config)
            requests: dict[str, Message] = {
                server: _put(part, values, ttl_s, append=append) for server, part in asked.items()
            }
            for server, reply in (await self._servers.call("Put", requests, pb.ToldReply)).items():
                _changed(asking, asked[server], reply, once=append)
            if asking.is_over(time.monotonic()):
                return
            await self._refresh()

    async def _refresh(self) -> None:
        if not await self._servers.refresh():
            await asyncio.sleep(PAUSE_S)

    async def close(self) -> None:
        """May be repeated."""
        await self._servers.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()


class CacheClnt:
    """``AsyncCacheClnt`` for threads, any number of them. A context manager."""

    def __init__(self, sc: SigmaClnt, job: str) -> None:
        self._servers = ThreadCacheServers(sc, CachePaths(job))

    def get(self, key: str) -> bytes:
        """See ``AsyncCacheClnt.get``."""
        servers = self._servers
        request = pb.GetRequest(keys=(key,))
        reply = servers.call_one(servers.config.owners[shard_of(key)], "CacheSrv.Get", request, pb.GetReply)
        if reply is not None and reply.told == _DONE:
            return reply.values[0]
        if reply is not None and reply.told == _MISS:
            raise miss(key)
        found = self.get_many((key,))
        if key not in found:
            raise miss(key)
        return found[key]

    def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
        """See ``AsyncCacheClnt.get_many``."""
        found: dict[str, bytes] = {}
        asking = Asking(keys, time.monotonic(), changes=False)
        while True:
            asked = asking.by_server(self._servers.config)
            requests: dict[str, Message] = {server: pb.GetRequest(keys=part) for server, part in asked.items()}
            for server, reply in self._servers.call("Get", requests, pb.GetReply).items():
                _looked(asking, asked[server], reply, found)
            if asking.is_over(time.monotonic()):
                return found
            self._refresh()

    def put(self, key: str, value: bytes, ttl_s: float | None = None) -> None:
        """See ``AsyncCacheClnt.put``."""
        self.put_many({key: value}, ttl_s)

    def put_many(self, values: Mapping[str, bytes], ttl_s: float | None = None) -> None:
        """See ``AsyncCacheClnt.put_many``."""
        for key in values:
            check_key(key)
        for batch in batches(values.items()):
            self._put(batch, ttl_s, append=False)

    def append(self, key: str, value: bytes) -> None:
        """See ``AsyncCacheClnt.append``."""
        check_key(key)
        self._put({key: packed(value)}, None, append=True)

    def get_vals(self, key: str) -> list[bytes]:
        """See ``AsyncCacheClnt.get_vals``."""
        return unpacked(key, self.get(key))

    def delete(self, key: str) -> bool:
        """See ``AsyncCacheClnt.delete``."""
        asking = Asking([key], time.monotonic(), changes=True)
        told = b""
        while True:
            asked = asking.by_server(self._servers.config)
            requests: dict[str, Message] = {server: pb.DeleteRequest(keys=part) for server, part in asked.items()}
            for server, reply in self._servers.call("Delete", requests, pb.ToldReply).items():
                told = _changed(asking, asked[server], reply)
            if asking.is_over(time.monotonic()):
                return told == _DONE
            self._refresh()

    def key_stats(self, key: str) -> pb.KeyStats:
        """How a key was used since it is there. NotFound: it is not."""
        asking = Asking([key], time.monotonic(), changes=False)
        while True:
            asked = asking.by_server(self._servers.config)
            requests: dict[str, Message] = {server: pb.KeyStatsRequest(key=key) for server in asked}
            for server, reply in self._servers.call("KeyStats", requests, pb.KeyStatsReply).items():
                if isinstance(reply, serr.SigmaError):
                    asking.failed(reply)
                    continue
                asking.answered(asked[server], reply.told)
                if reply.told == _DONE:
                    return reply.stats
            if asking.is_over(time.monotonic()):
                raise miss(key)
            self._refresh()

    def stats(self) -> dict[str, pb.StatsReply]:
        """The numbers of each server that answers."""
        return {
            server: reply
            for server, reply in self._all("Stats", pb.StatsRequest(), pb.StatsReply).items()
            if isinstance(reply, pb.StatsReply)
        }

    def hottest(self, count: int = 10) -> list[pb.KeyStats]:
        """The keys that were asked for most, most first, of all servers that answer."""
        replies = self._all("Hottest", pb.HottestRequest(count=count), pb.HottestReply).values()
        keys = [key for reply in replies if isinstance(reply, pb.HottestReply) for key in reply.keys]
        return sorted(keys, key=lambda key: key.gets, reverse=True)[:count]

    def clear(self) -> None:
        """Forgets all keys, of all servers. Unreachable if one does not answer."""
        for reply in self._all("Clear", pb.ClearRequest(), pb.ClearReply).values():
            if isinstance(reply, serr.SigmaError):
                raise reply

    def _all(self, method: str, request: Message, reply_class: type[Message]) -> dict[str, Message | serr.SigmaError]:
        self._servers.refresh()
        requests = dict.fromkeys(self._servers.config.servers, request)
        return self._servers.call(method, requests, reply_class)

    def _put(self, values: Mapping[str, bytes], ttl_s: float | None, *, append: bool) -> None:
        asking = Asking(values, time.monotonic(), changes=True)
        while True:
            asked = asking.by_server(self._servers.config)
            requests: dict[str, Message] = {
                server: _put(part, values, ttl_s, append=append) for server, part in asked.items()
            }
            for server, reply in self._servers.call("Put", requests, pb.ToldReply).items():
                _changed(asking, asked[server], reply, once=append)
            if asking.is_over(time.monotonic()):
                return
            self._refresh()

    def _refresh(self) -> None:
        if not self._servers.refresh():
            time.sleep(PAUSE_S)

    def close(self) -> None:
        """May be repeated."""
        self._servers.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _looked(asking: Asking, keys: Sequence[str], reply: pb.GetReply | serr.SigmaError, found: dict[str, bytes]) -> None:
    """One server's reply to a look."""
    if isinstance(reply, serr.SigmaError):
        _log(f"get: {reply}")
        asking.failed(reply)
        return
    asking.answered(keys, reply.told)
    if any(reply.told):
        found.update(
            (key, value) for key, value, told in zip(keys, reply.values, reply.told, strict=True) if told == pb.DONE
        )
    else:
        found.update(zip(keys, reply.values, strict=True))


def _changed(
    asking: Asking, keys: Sequence[str], reply: pb.ToldReply | serr.SigmaError, *, once: bool = False
) -> bytes:
    """One server's reply to a change, as it was told. ``once``: raises if the change may have been made."""
    if isinstance(reply, serr.SigmaError):
        if once and not isinstance(reply, serr.Unreachable):
            raise reply
        _log(f"change: {reply}")
        asking.failed(reply)
        return b""
    asking.answered(keys, reply.told)
    return reply.told
