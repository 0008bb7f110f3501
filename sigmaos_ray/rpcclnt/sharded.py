"""Calls to any, to one, or to all of several servers whose endpoint files stand in one directory (R-5)."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Self, TypeVar

from google.protobuf.message import Message

from sigmaos_ray import debug, serr
from sigmaos_ray.deadlines import within
from sigmaos_ray.fslib.dircache import AsyncDirCache
from sigmaos_ray.rpcclnt.clnt import FateUnknown, InstanceRPCClnt, NeverRan
from sigmaos_ray.sigmap import path

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from sigmaos_ray.fslib import AsyncFsLib

_log = debug.selector("RPCCLNT")

R = TypeVar("R", bound=Message)


class AsyncShardedRPCClnt:
    """Spreads calls over the servers in a directory, in turn, and follows them as they come and go.

    A server that did not answer just now gets a call only if no other does. May be used by any number of tasks of the
    client's loop. ``close`` it, or use it as a context; ``sc`` stays its owner's."""

    def __init__(self, sc: AsyncFsLib, pn: str) -> None:
        self._sc = sc
        self._pathname = pn.rstrip("/")
        self._clnts: dict[str, InstanceRPCClnt] = {}
        """By entry: one for each server that was called, to be closed here."""
        self._failed_s: dict[str, float] = {}
        """When a server last failed, by entry; a moment of ``time.monotonic``."""
        self._turn = 0
        self._servers: AsyncDirCache[InstanceRPCClnt] = AsyncDirCache(sc, self._pathname, self._make_clnt)

    async def _make_clnt(self, name: str) -> InstanceRPCClnt:
        """A client of the server that the entry names now: the same name may come back with another server behind
        it."""
        pn = path.join(self._pathname, name)
        clnt = InstanceRPCClnt(self._sc, pn, await self._sc.read_endpoint(pn))
        older, self._clnts[name] = self._clnts.get(name), clnt
        # Another server has the name now: that the one before did not answer is not held against it.
        self._failed_s.pop(name, None)
        if older is not None:
            await older.close()
        return clnt

    async def names(self) -> list[str]:
        """The servers there are now, in order."""
        return await self._servers.get_entries()

    async def wait_n(self, n: int, timeout_s: float | None = None) -> list[str]:
        """Blocks until there are at least ``n`` servers; returns them. Timeout past ``timeout_s``."""
        return await self._servers.wait_get_entries_n(n, timeout_s)

    async def rpc(
        self,
        method: str,
        request: Message,
        reply_class: type[R],
        timeout_s: float | None = None,
        *,
        idempotent: bool = False,
    ) -> R:
        """Calls the server whose turn it is, and blocks for the reply. One that cannot be reached is passed over; a
        call that may have run is made again at another one if it is ``idempotent``, else it is IOErr. NotFound if there
        are no servers, and none comes within ten seconds. Else as ``AsyncRPCClnt.rpc``."""
        ends_s = None if timeout_s is None else time.monotonic() + timeout_s
        async with within(timeout_s, method, "no reply"):
            return await self._rpc_any(method, request, reply_class, ends_s, idempotent=idempotent)

    async def _rpc_any(
        self, method: str, request: Message, reply_class: type[R], ends_s: float | None, *, idempotent: bool
    ) -> R:
        walk = self._sc.config.walk
        tried: set[str] = set()
        gives_up_s: float | None = None
        while True:
            name = await self._next(tried)
            tried.add(name)
            try:
                left_s = None if ends_s is None else max(ends_s - time.monotonic(), 1e-3)
                return await self.rpc_to(name, method, request, reply_class, left_s)
            except (NeverRan, FateUnknown) as error:
                if self._sc.is_closed or (isinstance(error, FateUnknown) and not idempotent):
                    raise
                _log(f"{self._pathname}: {method} at another server: {error}")
                # Once around, then a pause: each server has failed, so what is left is to wait for one to come back.
                if tried.issuperset(await self.names()):
                    now_s = time.monotonic()
                    gives_up_s = gives_up_s or now_s + walk.patience_s
                    if now_s >= gives_up_s:
                        raise
                    tried.clear()
                    await asyncio.sleep(walk.retry_pause_s)

    async def _next(self, tried: set[str]) -> str:
        """The server whose turn it is: one that was not tried, and did not fail just now, if there is one."""
        await self._servers.wait_timed_random_entry()
        names = await self._servers.get_entries()
        self._turn += 1
        turn = self._turn % len(names) if names else 0
        order = names[turn:] + names[:turn]
        return min(order, key=lambda name: (name in tried, self._just_failed(name)), default="")

    def _just_failed(self, name: str) -> bool:
        """Whether the server failed within a lease's time: so long the entry of one that crashed is still there."""
        at_s = self._failed_s.get(name)
        return at_s is not None and time.monotonic() - at_s < self._sc.config.lease.ttl_s

    async def rpc_to(
        self, name: str, method: str, request: Message, reply_class: type[R], timeout_s: float | None = None
    ) -> R:
        """Calls the server of that name, at most once, and blocks for the reply. Unreachable if it never got the call;
        IOErr: fate unknown."""
        clnt = await self._clnt_of(name)
        try:
            return await clnt.rpc(method, request, reply_class, timeout_s)
        except (NeverRan, FateUnknown):
            # A server that took the name over meanwhile is not to blame.
            if self._clnts.get(name) is clnt:
                self._failed_s[name] = time.monotonic()
            raise

    async def _clnt_of(self, name: str) -> InstanceRPCClnt:
        """The client of the server of that name, as it is now. Unreachable if there is none."""
        try:
            return await self._servers.get_entry(name)
        except (serr.NotFound, serr.Unreachable, serr.Inval) as error:
            raise NeverRan(path.join(self._pathname, name), str(error)) from error

    async def rpc_all(
        self, method: str, request: Message, reply_class: type[R], timeout_s: float | None = None
    ) -> dict[str, R]:
        """Calls all servers at a time and blocks until each has answered or failed; replies by name. Raises the first
        error; a server that cannot be reached is none: it is left out."""
        names = await self.names()
        requests = dict.fromkeys(names, request)
        outcomes = await self.rpc_each(method, requests, reply_class, timeout_s)
        for outcome in outcomes.values():
            if isinstance(outcome, serr.SigmaError) and not isinstance(outcome, serr.Unreachable):
                raise outcome
        return {name: outcome for name, outcome in outcomes.items() if not isinstance(outcome, serr.SigmaError)}

    async def rpc_each(
        self, method: str, requests: Mapping[str, Message], reply_class: type[R], timeout_s: float | None = None
    ) -> dict[str, R | serr.SigmaError]:
        """Calls each of the servers named with a request of its own, all at a time, and blocks until each has answered
        or failed; replies, or errors, by name."""

        async def call(name: str, request: Message) -> R | serr.SigmaError:
            try:
                return await self.rpc_to(name, method, request, reply_class, timeout_s)
            except serr.SigmaError as error:
                return error

        if len(requests) == 1:
            [(name, request)] = requests.items()
            return {name: await call(name, request)}
        replies = await asyncio.gather(*(call(name, request) for name, request in requests.items()))
        return dict(zip(requests, replies, strict=True))

    async def close(self) -> None:
        """Stops following the directory, and closes the channels. May be repeated."""
        await self._servers.stop_watching()
        clnts, self._clnts = list(self._clnts.values()), {}
        await asyncio.gather(*(clnt.close() for clnt in clnts))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()
