"""Clerks: clients of a store. They find each key's server by the balancer's configuration, and follow it.

Whatever happens to servers, a call is repeated until it is answered, and a write takes effect once, since servers know
it by its client and its number. After ``timeout_s`` the clerk gives up with Timeout: a write may then have taken
effect, or do so a little later, or never.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import threading
import time
from typing import TYPE_CHECKING, Final, TypeVar

from sigmaos_ray import debug, serr
from sigmaos_ray.rpcclnt import AsyncRPCClnt
from user.kv import config as cfg
from user.kv import kv_pb2 as pb
from user.kv.keys import SHARDS_COUNT, VALUE_BYTES_MAX, Key, shard_of, text_of
from user.kv.paths import KvPaths
from user.kv.tuning import CLERK

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from sigmaos_ray import AsyncSigmaClnt
    from user.kv.config import KvConfig

    Ask = Callable[[AsyncRPCClnt, Sequence[int]], Awaitable[bytes]]
    """Asks a server for some of the things that are wanted, by index; returns the outcome of each of them."""

K = TypeVar("K", str, bytes, str | bytes)
"""Keys in the form that a caller has them in."""

_AGAIN: Final = frozenset({pb.MOVING, pb.ELSEWHERE, pb.LATER})
"""Outcomes after which the same is to be asked again, there or elsewhere."""
_log = debug.selector("KVCLERK")


class AsyncKvClerk:
    """One client of the store ``job``. May be shared by tasks. ``close`` it.

    Each call raises NotFound, of the store's directory, if there is no such store, and Timeout, past ``timeout_s``, if
    no server answers. A call for many keys is one for each: they are not answered at one moment.
    """

    def __init__(self, sc: AsyncSigmaClnt, job: str, timeout_s: float = CLERK.timeout_s) -> None:
        self._sc = sc
        self._paths = KvPaths(job)
        self._timeout_s = timeout_s
        self.book = WriteBook()
        """The writes that are under way: of its blocking face, too."""
        self._config: KvConfig | None = None
        self.route: list[str] = [cfg.NOBODY] * SHARDS_COUNT
        """Per shard: the group to ask. A guess: whoever has the shard says so."""
        self.servers: dict[str, AsyncRPCClnt] = {}
        """By group."""

    # -- one key

    async def get(self, key: Key) -> bytes:
        """The value. NotFound, of ``key <key>``, for a key that is not there."""
        text = text_of(key)
        values = await self.get_many((text,))
        if text not in values:
            raise serr.NotFound(f"key {text}")
        return values[text]

    async def put(self, key: Key, value: bytes) -> None:
        """Replaces what is there. Inval for a key or a value that is too long."""
        await self._write(pb.PUT, key, value)

    async def append(self, key: Key, value: bytes) -> None:
        """Puts ``value`` behind what is there; nothing counts as empty. Inval if it then is too long."""
        await self._write(pb.APPEND, key, value)

    async def delete(self, key: Key) -> bool:
        """Removes a key; whether it was there."""
        return await self._write(pb.DELETE, key, b"") == pb.DONE

    async def compare_and_set(self, key: Key, expected: bytes | None, value: bytes) -> bool:
        """Puts ``value`` if the key has the value ``expected`` (None: if it is not there); whether it did."""
        return await self._write(pb.CAS, key, value, expected) == pb.DONE

    async def _write(self, kind: pb.Kind, key: Key, value: bytes, expected: bytes | None = None) -> int:
        return (await self._write_all([write_of(kind, key, value, expected)]))[0]

    # -- several keys

    async def get_many(self, keys: Iterable[K]) -> dict[K, bytes]:
        """The values of those that are there, by the keys as they were given: a call to each server, or more if the
        values are large."""
        given = list(keys)
        wanted = [text_of(key) for key in given]
        values: dict[str, bytes] = {}

        async def ask(server: AsyncRPCClnt, indices: Sequence[int]) -> bytes:
            part = wanted if len(indices) == len(wanted) else [wanted[index] for index in indices]
            reply = await server.rpc("KvSrv.Get", pb.GetRequest(keys=part), pb.GetReply, CLERK.attempt_s)
            outcomes: bytes = reply.outcomes
            if any(outcomes):
                for outcome, key, value in zip(outcomes, part, reply.values, strict=True):
                    if outcome == pb.DONE:
                        values[key] = value
            else:  # DONE is 0: all are there, as it mostly is
                values.update(zip(part, reply.values, strict=True))
            return outcomes

        await self._ask_until_settled(wanted, ask)
        return by_given(given, wanted, values)

    async def put_many(self, values: Mapping[K, bytes]) -> None:
        """Puts them all, in a call or more to each server. If it raises, some may have been put."""
        await self._write_all([write_of(pb.PUT, key, value) for key, value in values.items()])

    async def scan(self, shard: int) -> dict[str, bytes]:
        """The keys of one shard, sorted, with their values: page after page, each as it was at one moment. Inval for a
        number that no shard has."""
        if not 0 <= shard < SHARDS_COUNT:
            raise serr.Inval(f"shard {shard}", f"there are {SHARDS_COUNT}")
        values: dict[str, bytes] = {}
        more = True

        async def ask(server: AsyncRPCClnt, _: Sequence[int]) -> bytes:
            nonlocal more
            # From the last key on, not from a position: between two pages keys come and go, and the shard may move.
            request = pb.ScanRequest(shard=shard, after=next(reversed(values), ""))
            reply = await server.rpc("KvSrv.Scan", request, pb.ScanReply, CLERK.attempt_s)
            if reply.outcome == pb.DONE:
                values.update(zip(reply.keys, reply.values, strict=True))
                more = reply.more
            return bytes([reply.outcome])

        while more:
            await self._ask_until_settled([shard], ask)
        return values

    async def _write_all(self, writes: list[pb.Write]) -> list[int]:
        self.book.begin(writes)
        try:
            return await self.write_begun(writes)
        finally:
            self.book.end(writes)

    async def write_begun(self, writes: list[pb.Write]) -> list[int]:
        """The outcomes of writes that are in the book; some may have been sent before. Inval for a value that would be
        too long."""
        outcomes: list[int] = [pb.LATER] * len(writes)

        async def ask(server: AsyncRPCClnt, indices: Sequence[int]) -> bytes:
            taken, size = 0, 0
            # What does not fit is LATER: the next round asks for it, without a pause.
            while taken < len(indices) and size < CLERK.request_bytes:
                write = writes[indices[taken]]
                size += len(write.key) + len(write.value) + len(write.expected)
                taken += 1
            request = self.book.request([writes[index] for index in indices[:taken]])
            reply = await server.rpc("KvSrv.Write", request, pb.WriteReply, CLERK.attempt_s)
            # Not strict: the reply is about those that were taken.
            for index, outcome in zip(indices, reply.outcomes, strict=False):
                outcomes[index] = outcome
            return bytes(reply.outcomes) + bytes([pb.LATER]) * (len(indices) - taken)

        await self._ask_until_settled([write.key for write in writes], ask)
        check_outcomes(writes, outcomes)
        return outcomes

    # -- finding servers

    async def _ask_until_settled(self, wanted: Sequence[str] | Sequence[int], ask: Ask) -> None:
        """Asks for each of what is wanted, keys or shards, until the outcome is a server's last word. Timeout if none
        has one. Mostly one round: the search begins once a server is away or a shard is not where it was."""
        shards = [shard_of(each) if isinstance(each, str) else each for each in wanted]
        remaining: Sequence[int] = range(len(shards))
        search: _Search | None = None
        while remaining:
            by_group: dict[str, list[int]] = {}
            for index in remaining:
                by_group.setdefault(self.route[shards[index]], []).append(index)
            if len(by_group) == 1:
                group, indices = next(iter(by_group.items()))
                again = await self._ask(group, indices, shards, ask, search)
            else:
                parts = (self._ask(group, indices, shards, ask, search) for group, indices in by_group.items())
                again = [part for parts in await asyncio.gather(*parts) for part in parts]
            remaining = [index for index, _ in again]
            # LATER is no trouble: a reply was full, and its server is asked for the rest at once. It is with the first
            # real trouble that the time begins which a call may take.
            if again and any(outcome != pb.LATER for _, outcome in again):
                if search is None:
                    search = _Search(time.monotonic() + self._timeout_s)
                await self._search(search, {shards[index] for index, outcome in again if outcome != pb.LATER})

    async def _ask(
        self, group: str, indices: list[int], shards: Sequence[int], ask: Ask, search: _Search | None
    ) -> list[tuple[int, int]]:
        """Asks one group's server; returns what is to be asked again, and the outcome that says why. A server that does
        not answer counts as one whose shards move."""
        if group == cfg.NOBODY:
            return [(index, pb.ELSEWHERE) for index in indices]
        server = self.servers.get(group)
        if server is None:
            server = self.servers[group] = AsyncRPCClnt(self._sc, self._paths.group(group))
        try:
            outcomes = await ask(server, indices)
        except (serr.NotFound, serr.Timeout, *serr.SESSION_ERRORS) as error:
            _log(f"{group}: {error}")
            # Of a write that got no reply nobody knows whether it was carried out. It is asked for again, under its
            # number, by which the server knows a repetition.
            if search is not None:
                search.error = error
            return [(index, pb.MOVING) for index in indices]
        if _AGAIN.isdisjoint(outcomes):
            return []
        return [(index, outcome) for index, outcome in zip(indices, outcomes, strict=True) if outcome in _AGAIN]

    async def _search(self, search: _Search, shards: set[int]) -> None:
        """These shards are not where they were looked for: routes them elsewhere, or, if all was tried, reads the
        configuration, after a pause unless it was never read. Timeout past the end of the search."""
        pause = False
        for shard in shards:
            tried = search.tried.setdefault(shard, set())
            tried.add(self.route[shard])
            # While a move is on, its source and its destination: only they know which of them has the shard.
            others = [] if self._config is None else [g for g in self._config.where(shard) if g not in tried]
            if others:
                self.route[shard] = others[0]
            else:
                tried.clear()
                pause = True
        if not pause:
            return
        if time.monotonic() >= search.until_s:
            reason = f": {search.error}" if search.error is not None else ""
            raise serr.Timeout(self._paths.dir, f"no server answered for {self._timeout_s:g} s{reason}")
        if self._config is not None:
            await asyncio.sleep(search.pause_s)
            search.pause_s = min(2 * search.pause_s, CLERK.pause_s_max)
        await self._read_config(search)

    async def _read_config(self, search: _Search) -> None:
        """Routes shards as the configuration says. NotFound if there is no such store."""
        try:
            data = await self._sc.get_file(self._paths.config)
        except serr.SESSION_ERRORS as error:  # named is being replaced
            search.error = error
            return
        except serr.NotFound as error:
            raise serr.NotFound(self._paths.dir, "no such kv store") from error
        config = self._config = cfg.decode(data, self._paths.config)
        self._route_by(config)
        for group in [group for group in self.servers if group not in config.groups]:
            await _close(self.servers.pop(group))

    def _route_by(self, config: KvConfig) -> None:
        for shard in range(SHARDS_COUNT):
            where = config.where(shard)
            # The present guess may stay while the shard moves: the other one was asked before, or will be.
            if self.route[shard] not in where or len(where) == 1:
                self.route[shard] = where[0] if where else cfg.NOBODY

    async def close(self) -> None:
        """May be repeated."""
        # One by one: while a connection is being closed, a call that still runs may open another one.
        while self.servers:
            _, server = self.servers.popitem()
            await _close(server)


async def _close(server: AsyncRPCClnt) -> None:
    with contextlib.suppress(serr.SigmaError):  # a server that is gone has forgotten it
        await server.close()


class _Search:
    """What one call did so far to find its servers, and until when it goes on."""

    def __init__(self, until_s: float) -> None:
        self.until_s = until_s
        self.pause_s = CLERK.first_pause_s
        self.tried: dict[int, set[str]] = {}
        self.error: serr.SigmaError | None = None
        """The last one, for whoever has to be told that nobody answered."""


class WriteBook:
    """A client's writes that are under way, and their numbers. May be used by threads.

    A server keeps the outcomes of a client's writes from the ``floor`` on: from the oldest one that anybody waits for.
    """

    def __init__(self) -> None:
        # Never twice: of two clerks with one id, each would be told how the other's writes fared.
        self._client = secrets.randbits(63)
        self._lock = threading.Lock()
        self._seqno = 0
        self._open: dict[int, None] = {}
        """In the order of their beginning."""

    def begin(self, writes: Sequence[pb.Write]) -> None:
        """Numbers them. Inval, and none is begun, for what no server takes. Whoever begins writes ends them."""
        for write in writes:
            _check(write)
        with self._lock:
            for write in writes:
                self._seqno = write.seqno = self._seqno + 1
                self._open[self._seqno] = None

    def request(self, writes: Sequence[pb.Write]) -> pb.WriteRequest:
        """A request of writes that are begun; it may be sent several times."""
        with self._lock:
            # Whichever thread's it is: below it, servers may forget.
            floor = next(iter(self._open))
        return pb.WriteRequest(client=self._client, floor=floor, writes=writes)

    def end(self, writes: Sequence[pb.Write]) -> None:
        """Nobody waits for them any more: servers forget how they fared."""
        with self._lock:
            for write in writes:
                del self._open[write.seqno]


def by_given(given: Sequence[K], wanted: Sequence[str], values: Mapping[str, bytes]) -> dict[K, bytes]:
    """Values by the keys as the caller has them."""
    return {key: values[text] for key, text in zip(given, wanted, strict=True) if text in values}


def write_of(kind: pb.Kind, key: Key, value: bytes = b"", expected: bytes | None = None) -> pb.Write:
    """A write that has no number yet. Inval for what cannot be a key."""
    return pb.Write(kind=kind, key=text_of(key), value=value, expected=expected)


def check_outcomes(writes: Sequence[pb.Write], outcomes: Sequence[int]) -> None:
    """Inval for a write that would have made a value too long."""
    for write, outcome in zip(writes, outcomes, strict=True):
        if outcome == pb.TOO_LARGE:
            raise serr.Inval(f"key {write.key}", f"a value has at most {VALUE_BYTES_MAX} bytes")
        if outcome == pb.OVER:  # cannot be: nobody else uses this client's numbers
            raise serr.IOErr(f"key {write.key}", "the server believes that nobody waits for this write")


def _check(write: pb.Write) -> None:
    text_of(write.key)
    if len(write.value) > VALUE_BYTES_MAX:
        raise serr.Inval(f"key {write.key}", f"{len(write.value)} bytes: a value has at most {VALUE_BYTES_MAX}")
