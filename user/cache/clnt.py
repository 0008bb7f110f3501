"""Clients of a cache: ``CacheClnt`` for threads, ``AsyncCacheClnt`` for coroutines, with the same names.

Both go the same rounds (``pending``), each over connections of its kind: the one for threads does without a loop, so
its calls are no ``run`` of the other's.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, Self

from sigmaos_ray import debug, serr
from user.cache import cache_pb2 as pb
from user.cache.config import shard_of
from user.cache.face import check_key, miss, packed, unpacked
from user.cache.paths import CachePaths
from user.cache.pending import PendingKeys, batches
from user.cache.servers import CacheServers, ThreadCacheServers
from user.cache.tuning import CLNT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from types import TracebackType
    from typing import TypeAlias, TypeVar

    from google.protobuf.message import Message

    from sigmaos_ray import AsyncSigmaClnt, SigmaClnt

    R = TypeVar("R", bound=Message)
    Request: TypeAlias = Callable[[Sequence[str]], Message]
    """Makes a request for some keys."""
    Take: TypeAlias = Callable[[Sequence[str], R | serr.SigmaError], None]
    """Takes a server's reply to what was asked for some keys."""

_DONE = bytes([pb.DONE])
_MISS = bytes([pb.MISS])
_log = debug.selector("CACHECLNT")


class AsyncCacheClnt:
    """A client of the cache ``job``, for the tasks of one loop. ``close`` it, or use it as a context.

    A look at a server that does not answer is a miss. A change is tried for ten seconds, may then have been made, and
    raises Unreachable, Timeout or, if no server has the shard, Retry. NotFound of the configuration: no such cache.
    """

    def __init__(self, sc: AsyncSigmaClnt, job: str) -> None:
        self._servers = CacheServers(sc, CachePaths(job))

    async def get(self, key: str) -> bytes:
        """The value. NotFound with the object ``key <key>``: a miss."""
        values = await self.get_many([key])
        if key not in values:
            raise miss(key)
        return values[key]

    async def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
        """The values of those of the keys that are there."""
        values: dict[str, bytes] = {}
        pending = PendingKeys(keys, time.monotonic(), changes=False)
        await self._settle(pending, "Get", _get_request, pb.GetReply, partial(_take_values, pending, values))
        return values

    async def put(self, key: str, value: bytes, ttl_s: float | None = None) -> None:
        """Replaces what is there. ``ttl_s``: so long it is kept at most. Inval for a value larger than its server."""
        await self.put_many({key: value}, ttl_s)

    async def put_many(self, values: Mapping[str, bytes], ttl_s: float | None = None) -> None:
        """Puts each by itself, as ``put``: if it raises, some may have been put."""
        for key in values:
            check_key(key)
        for batch in batches(values.items()):
            await self._put(batch, ttl_s, append=False)

    async def append(self, key: str, value: bytes) -> None:
        """Adds one more value of the key, for ``get_vals``. IOErr or Timeout if it is not known whether it was
        added."""
        check_key(key)
        await self._put({key: packed(value)}, None, append=True)

    async def get_vals(self, key: str) -> list[bytes]:
        """The values that were appended. NotFound if there is none; Inval for a key that was put otherwise."""
        return unpacked(key, await self.get(key))

    async def delete(self, key: str) -> bool:
        """Whether it was there. Afterwards it is not."""
        outcomes: dict[str, int] = {}
        pending = PendingKeys([key], time.monotonic(), changes=True)
        take = partial(_take_outcomes, pending, outcomes)
        await self._settle(pending, "Delete", _delete_request, pb.OutcomesReply, take)
        return outcomes[key] == pb.DONE

    async def _put(self, values: Mapping[str, bytes], ttl_s: float | None, *, append: bool) -> None:
        pending = PendingKeys(values, time.monotonic(), changes=True)
        take = partial(_take_outcomes, pending, {}, once=append)
        await self._settle(pending, "Put", _put_request(values, ttl_s, append=append), pb.OutcomesReply, take)

    # Rounds do not wait where a newer configuration was found: that may settle all keys at once. With the same one only
    # time helps.
    async def _settle(
        self, pending: PendingKeys, method: str, request: Request, reply_class: type[R], take: Take[R]
    ) -> None:
        """Goes rounds until no key is pending, or the call is over. ``take`` gets the keys that a server was asked for,
        and its reply, or the error in its place; it says to ``pending`` what is settled."""
        while True:
            keys_of = pending.by_server(self._servers.config)
            requests = {server: request(keys) for server, keys in keys_of.items()}
            for server, reply in (await self._servers.call(method, requests, reply_class)).items():
                take(keys_of[server], reply)
            if pending.is_over(time.monotonic()):
                return
            if not await self._servers.refresh():
                await asyncio.sleep(CLNT.pause_s)

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
    """``AsyncCacheClnt`` for threads, any number of them. ``close`` it, or use it as a context."""

    def __init__(self, sc: SigmaClnt, job: str) -> None:
        self._servers = ThreadCacheServers(sc, CachePaths(job))

    def get(self, key: str) -> bytes:
        """See ``AsyncCacheClnt.get``."""
        # The usual case without the rounds, which take longer than the call.
        servers = self._servers
        request = pb.GetRequest(keys=(key,))
        reply = servers.call_one(servers.config.owners[shard_of(key)], "CacheSrv.Get", request, pb.GetReply)
        if reply is not None and reply.outcomes == _DONE:
            return reply.values[0]
        if reply is not None and reply.outcomes == _MISS:
            raise miss(key)
        values = self.get_many((key,))
        if key not in values:
            raise miss(key)
        return values[key]

    def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
        """See ``AsyncCacheClnt.get_many``."""
        values: dict[str, bytes] = {}
        pending = PendingKeys(keys, time.monotonic(), changes=False)
        self._settle(pending, "Get", _get_request, pb.GetReply, partial(_take_values, pending, values))
        return values

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
        outcomes: dict[str, int] = {}
        pending = PendingKeys([key], time.monotonic(), changes=True)
        self._settle(pending, "Delete", _delete_request, pb.OutcomesReply, partial(_take_outcomes, pending, outcomes))
        return outcomes[key] == pb.DONE

    def key_stats(self, key: str) -> pb.KeyStats:
        """How a key was used since it is there. NotFound: it is not."""
        stats: list[pb.KeyStats] = []
        pending = PendingKeys([key], time.monotonic(), changes=False)

        def take(keys: Sequence[str], reply: pb.KeyStatsReply | serr.SigmaError) -> None:
            if isinstance(reply, serr.SigmaError):
                pending.fail(reply)
                return
            pending.settle(keys, reply.outcomes)
            if reply.outcomes == _DONE:
                stats.append(reply.stats)

        self._settle(pending, "KeyStats", _key_stats_request, pb.KeyStatsReply, take)
        if not stats:
            raise miss(key)
        return stats[0]

    def stats(self) -> dict[str, pb.StatsReply]:
        """The numbers of each server that answers."""
        replies = self._call_all("Stats", pb.StatsRequest(), pb.StatsReply)
        return {server: reply for server, reply in replies.items() if isinstance(reply, pb.StatsReply)}

    def hottest(self, count: int = 10) -> list[pb.KeyStats]:
        """The keys that were asked for most, most first, of all servers that answer. Inval for too many."""
        replies = self._call_all("Hottest", pb.HottestRequest(count=count), pb.HottestReply).values()
        keys = [key for reply in replies if isinstance(reply, pb.HottestReply) for key in reply.keys]
        return sorted(keys, key=lambda key: key.gets, reverse=True)[:count]

    def clear(self) -> None:
        """Forgets all keys, of all servers. Unreachable if one does not answer: others may have forgotten theirs."""
        for reply in self._call_all("Clear", pb.ClearRequest(), pb.ClearReply).values():
            if isinstance(reply, serr.SigmaError):
                raise reply

    def _call_all(self, method: str, request: Message, reply_class: type[R]) -> dict[str, R | serr.SigmaError]:
        """Calls every server that there is now, once."""
        self._servers.refresh()
        requests = dict.fromkeys(self._servers.config.servers, request)
        return self._servers.call(method, requests, reply_class)

    def _put(self, values: Mapping[str, bytes], ttl_s: float | None, *, append: bool) -> None:
        pending = PendingKeys(values, time.monotonic(), changes=True)
        take = partial(_take_outcomes, pending, {}, once=append)
        self._settle(pending, "Put", _put_request(values, ttl_s, append=append), pb.OutcomesReply, take)

    def _settle(self, pending: PendingKeys, method: str, request: Request, reply_class: type[R], take: Take[R]) -> None:
        """See ``AsyncCacheClnt._settle``."""
        while True:
            keys_of = pending.by_server(self._servers.config)
            requests = {server: request(keys) for server, keys in keys_of.items()}
            for server, reply in self._servers.call(method, requests, reply_class).items():
                take(keys_of[server], reply)
            if pending.is_over(time.monotonic()):
                return
            if not self._servers.refresh():
                time.sleep(CLNT.pause_s)

    def close(self) -> None:
        """May be repeated."""
        self._servers.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _get_request(keys: Sequence[str]) -> pb.GetRequest:
    return pb.GetRequest(keys=keys)


def _delete_request(keys: Sequence[str]) -> pb.DeleteRequest:
    return pb.DeleteRequest(keys=keys)


def _key_stats_request(keys: Sequence[str]) -> pb.KeyStatsRequest:
    return pb.KeyStatsRequest(key=keys[0])


def _put_request(values: Mapping[str, bytes], ttl_s: float | None, *, append: bool) -> Request:
    """Makes requests that put some of the values. Inval for a time that is none."""
    if ttl_s is not None and not 0 < ttl_s < float("inf"):
        raise serr.Inval("ttl_s", f"{ttl_s} s: a value is kept for some time, or (None) as long as there is room")

    def request(keys: Sequence[str]) -> pb.PutRequest:
        pairs = [pb.Pair(key=key, value=values[key]) for key in keys]
        return pb.PutRequest(pairs=pairs, ttl_s=ttl_s or 0.0, append=append)

    return request


def _take_values(
    pending: PendingKeys, values: dict[str, bytes], keys: Sequence[str], reply: pb.GetReply | serr.SigmaError
) -> None:
    """One server's reply to a look: adds the values of the keys that are there."""
    if isinstance(reply, serr.SigmaError):
        _log(f"get: {reply}")
        pending.fail(reply)
        return
    pending.settle(keys, reply.outcomes)
    if any(reply.outcomes):
        parts = zip(keys, reply.values, reply.outcomes, strict=True)
        values.update((key, value) for key, value, outcome in parts if outcome == pb.DONE)
    else:  # DONE is 0: all are there
        values.update(zip(keys, reply.values, strict=True))


def _take_outcomes(
    pending: PendingKeys,
    outcomes: dict[str, int],
    keys: Sequence[str],
    reply: pb.OutcomesReply | serr.SigmaError,
    *,
    once: bool = False,
) -> None:
    """One server's reply to a change: adds the outcomes. ``once``: a change that may have been made must not be made
    again, so its error is raised."""
    if isinstance(reply, serr.SigmaError):
        # Unreachable alone says that nothing was done; a second append would be a second value.
        if once and not isinstance(reply, serr.Unreachable):
            raise reply
        _log(f"change: {reply}")
        pending.fail(reply)
        return
    pending.settle(keys, reply.outcomes)
    outcomes.update(zip(keys, reply.outcomes, strict=True))
