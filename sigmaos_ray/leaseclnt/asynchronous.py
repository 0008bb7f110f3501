"""Leases (L-1): files that go when their owner does.

A lease is asked of the server that stores a pathname, and kept alive until it is ended. Keeping is done on the
process's loop thread, so that a program that is busy on a loop of its own for longer than a lease does not lose
its files. A client has one lease per server, on which many files stand; what must be able to end its lease, as a lock
that does not know whether it was made, has one of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from typing import TYPE_CHECKING, TypeVar

from google.protobuf.message import Message

from sigmaos_ray import debug, loopthread, serr
from sigmaos_ray.fslib import AsyncFsLib
from sigmaos_ray.pb.rpc_pb2 import AskLeaseReply, AskLeaseRequest, LeaseReply, LeaseRequest
from sigmaos_ray.rpcclnt import AsyncRPCClnt
from sigmaos_ray.sigmap import NAMED, Endpoint

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from typing import Any

    from sigmaos_ray.fslib.behind import Behind
    from sigmaos_ray.loopthread import Call

_log = debug.selector("LEASECLNT")

R = TypeVar("R", bound=Message)
T = TypeVar("T")


async def made_or_undone(
    make: Coroutine[Any, Any, T], undo: Callable[[T | None], Awaitable[object]], behind: Behind
) -> T:
    """What ``make`` returns. If the caller is cancelled, ``make`` is waited for behind it and, unless that surely did
    nothing, ``undo`` too, which gets what was made, or None if that is unknown: what is kept alive by a lease must not
    stay behind with nobody who knows of it."""
    making = asyncio.ensure_future(make)

    async def undone() -> None:
        await asyncio.wait({making})
        if not making.cancelled():
            await _undo(making, undo)

    try:
        return await asyncio.shield(making)
    except asyncio.CancelledError:
        await behind.settle(undone(), "undo")
        raise


async def _undo(made: asyncio.Future[T], undo: Callable[[T | None], Awaitable[object]]) -> None:
    error = made.exception()
    if error is None:
        await undo(made.result())
    elif isinstance(error, serr.IOErr):
        await undo(None)


class _Way:
    """To one server of leases: the client's own, and the keepers', who live on the loop thread. Theirs is the client's
    if that lives there too, else one of their own, for as long as one of them needs it."""

    def __init__(self, sc: AsyncFsLib, server: str, endpoint: Endpoint) -> None:
        self.rpc = AsyncRPCClnt(sc, server)
        """On the client's loop."""
        self.endpoint = endpoint
        self._sc = sc
        self._loop = asyncio.get_running_loop()
        self._server = server
        self._keepers_count = 0
        self._own: AsyncFsLib | None = None
        self._keepers_rpc: AsyncRPCClnt | None = None
        self._opening = asyncio.Lock()

    # -- on the loop thread

    def hold(self) -> None:
        """One more keeper."""
        self._keepers_count += 1

    async def let_go(self) -> None:
        """One less; the last one closes what they have of their own."""
        self._keepers_count -= 1
        if not self._keepers_count:
            own, self._own, self._keepers_rpc = self._own, None, None
            if own is not None:
                await own.close_fs()

    async def call(self, method: str, request: Message, reply_class: type[R], timeout_s: float | None = None) -> R:
        """A keeper's call. Raises like ``AsyncRPCClnt.rpc``."""
        rpc = self._keepers_rpc or await self._open()
        return await rpc.rpc(method, request, reply_class, timeout_s)

    async def _open(self) -> AsyncRPCClnt:
        # gRPC's streams belong to the loop on which they were opened: a client of another loop cannot be used from
        # here.
        if self._loop is asyncio.get_running_loop():
            self._keepers_rpc = self.rpc
            return self.rpc
        async with self._opening:
            if self._own is None:
                self._own = AsyncFsLib(self._sc.proc_env, self._sc.config)
            if self._server != NAMED:
                # Not just any server of that name: the one that knows the lease.
                await self._own.mount_endpoint(self._server, self.endpoint)
            self._keepers_rpc = AsyncRPCClnt(self._own, self._server)
            return self._keepers_rpc


class AsyncLease:
    """One lease. ``end`` it, or let it expire ``ttl_s`` after the last extension. Used from the loop it was made on."""

    id: int
    """By which its server knows it."""
    ttl_s: float
    """How long it lasts after each extension."""
    lost: asyncio.Event
    """Set once its files are gone: the server said so, or by this process's clock it ended, and was not kept by
    others either (named's standbys do, while nobody leads). Not set by ``end``."""
    lost_threaded: threading.Event
    """The same for threads."""

    def __init__(self, way: _Way, reply: AskLeaseReply, request_s: float, outage_s: float) -> None:
        """``request_s``: by the steady clock, before it was asked for. ``outage_s``: for how long others may keep it
        while its server takes no extensions."""
        self.id = reply.lease_id
        self.ttl_s = reply.ttl_s
        self.lost = asyncio.Event()
        self.lost_threaded = threading.Event()
        self._way = way
        self._loop = asyncio.get_running_loop()
        # From before the request left: the server counts from when it had it, and so never ends the lease earlier.
        self._ends_s = request_s + self.ttl_s
        """By this process's steady clock, not later than at the server. Written by the keeper's thread."""
        self._outage_s = outage_s
        self._is_over = False
        self._keeper: Call[None] | None = None
        self._keeping = threading.Lock()
        """Held while it is decided whether it is extended from now on."""
        self._is_extended = False
        self._is_wanted = False
        self._timer: asyncio.TimerHandle | None = None
        self._look_at_clock()

    @property
    def is_lost(self) -> bool:
        """Like ``lost``, and also right while this loop is held up."""
        return self.lost.is_set() or time.monotonic() >= self._sure_end_s()

    @property
    def is_in_doubt(self) -> bool:
        """True while the lease could not be extended for ``ttl_s``: take the files for gone (L-5). It may end; then
        they were there all the time."""
        return self.is_lost or time.monotonic() >= self._ends_s

    @property
    def is_over(self) -> bool:
        """True once it was lost or ended: another one is needed."""
        return self._is_over or self.is_lost

    def _sure_end_s(self) -> float:
        # While nobody leads, named's standbys keep all leases: files may outlast the last extension for so long. Where
        # nobody extends any more, the lease simply runs out.
        return self._ends_s + (self._outage_s if self._is_extended else 0.0)

    @property
    def is_kept(self) -> bool:
        """True while something runs for it."""
        return self._keeper is not None and not self._keeper.done()

    @property
    def left_s(self) -> float:
        """How long it surely lives if it is not extended any more."""
        return self._ends_s - time.monotonic()

    def keep_extending(self) -> None:
        """Extends the lease every third of its time from now on, until ``end``, or until it is lost; when extending
        fails, more often."""
        with self._keeping:
            self._is_wanted = True
            if not (self._is_extended or self.is_over):
                self._is_extended = True
                self._keeper = loopthread.shared().start(self._keep())

    def rest(self) -> None:
        """Not needed for now: it will not be extended, and runs out unless ``keep_extending`` comes before that."""
        self._is_wanted = False

    def _is_extended_on(self) -> bool:
        """The keeper asks whether to go on; if not, the next ``keep_extending`` starts another one."""
        with self._keeping:
            # Of a loop that is closed, whoever held the lease forgot to end it: it expires.
            self._is_extended = self._is_wanted and not (self._is_over or self._loop.is_closed())
            return self._is_extended

    async def _keep(self) -> None:
        """On the loop thread."""
        self._way.hold()
        try:
            # A third: an extension may be lost, and the next one still comes in time. One that rested has less left.
            pause_s = min(self.ttl_s, max(self.left_s, 0.0)) / 3
            while True:
                await asyncio.sleep(pause_s)
                if not self._is_extended_on():
                    return
                pause_s = await self._extend_in_time()
                if self._is_over:
                    return
        finally:
            await self._way.let_go()

    async def _extend_in_time(self) -> float:
        """One try; returns how long to wait for the next one."""
        left_s = self._sure_end_s() - time.monotonic()
        try:
            async with asyncio.timeout(left_s):
                await self._extend_by(self._way.call)
        except serr.NotFound:
            _log(f"lease {self.id:x} is gone")
            self._set_lost()
        except (serr.SigmaError, TimeoutError) as error:  # the server is being replaced
            _log(f"lease {self.id:x}: {error}")
            if time.monotonic() < self._sure_end_s():
                return self.ttl_s / 10
            self._set_lost()
            await self._end_late()
        return self.ttl_s / 3

    async def _end_late(self) -> None:
        """Nobody counts on its files any more: they go as soon as the server can be told, if it has them still."""
        try:
            # Lost by this clock is not lost at the server, which counts from later, and a new leader of named from its
            # own start.
            async with asyncio.timeout(2 * self.ttl_s):
                await self._way.call("LeaseSrv.End", LeaseRequest(lease_id=self.id), LeaseReply)
        except (serr.SigmaError, TimeoutError) as error:
            _log(f"lease {self.id:x}, late: {error}")

    async def extend(self) -> None:
        """Extends once. NotFound if the lease is gone."""
        await self._extend_by(self._way.rpc.rpc)

    async def _extend_by(self, call: Callable[[str, Message, type[LeaseReply], float], Awaitable[LeaseReply]]) -> None:
        request_s = time.monotonic()
        await call("LeaseSrv.Extend", LeaseRequest(lease_id=self.id), LeaseReply, self.ttl_s)
        self._ends_s = request_s + self.ttl_s

    def _set_lost(self) -> None:
        """From any thread."""
        self._is_over = True
        self.lost_threaded.set()
        try:
            self._loop.call_soon_threadsafe(self.lost.set)
        except RuntimeError:  # its loop was closed: nobody is there to be told
            return

    def _look_at_clock(self) -> None:
        """Also without a keeper a lease ends in time, or is extended until then."""
        left_s = self._sure_end_s() - time.monotonic()
        if left_s > 0:
            self._timer = self._loop.call_later(left_s, self._look_at_clock)
        else:
            self._is_over = True
            self._tell_lost()

    def _tell_lost(self) -> None:
        """On the lease's own loop."""
        self.lost.set()
        self.lost_threaded.set()

    async def stop_extending(self) -> None:
        """Leaves the lease to expire."""
        with self._keeping:
            self._is_wanted = self._is_extended = False
            keeper, self._keeper = self._keeper, None
        if keeper is not None:
            stopped = asyncio.Event()

            def tell() -> None:
                self._loop.call_soon_threadsafe(stopped.set)

            keeper.add_done_callback(tell)
            keeper.cancel()
            # An extension under way must not come after what the caller does next, such as the lease's end.
            await stopped.wait()

    async def give_up(self) -> None:
        """Ends the lease and calls it lost: who made a file with it does not know whether the file is there, and must
        not take it for another client's."""
        await self.end()
        self._tell_lost()

    async def end(self) -> None:
        """Ends the lease: its files go now. A lease that is gone already is fine."""
        self._is_over = True
        if self._timer is not None:
            self._timer.cancel()
        await self.stop_extending()
        with contextlib.suppress(serr.NotFound):
            # May be asked twice; and later than its own time nobody need be told.
            request = LeaseRequest(lease_id=self.id)
            await self._way.rpc.rpc("LeaseSrv.End", request, LeaseReply, self.ttl_s, idempotent=True)


class AsyncLeaseClnt:
    """The leases of one client: one per server, and those that were asked for apart."""

    def __init__(self, sc: AsyncFsLib) -> None:
        self._sc = sc
        self._ways: dict[str, _Way] = {}
        self._leases: dict[str, AsyncLease] = {}
        self._others: list[AsyncLease] = []
        """Those of their owners alone; and what was replaced, whose keepers may still be telling the server."""
        self._asking = asyncio.Lock()

    async def ask_lease(self, pn: str, ttl_s: float | None = None) -> AsyncLease:
        """A lease of the server that stores ``pn``; the same one when asked again, unless it was lost or ended.
        ``ttl_s`` in seconds, at least 2 in named (what etcd grants)."""
        server, endpoint = await self._sc.server_at(pn)
        # One at a time: two that ask at once get the same lease, of which there is one for each server.
        async with self._asking:
            lease = self._leases.get(server)
            if lease is None or lease.is_over:
                if lease is not None:
                    self._keep_track(lease)
                lease = self._leases[server] = await self._ask(server, endpoint, ttl_s)
        return lease

    async def ask_own_lease(self, pn: str, ttl_s: float | None = None) -> AsyncLease:
        """Like ``ask_lease``, but a lease that nobody else gets: what stands on it is the caller's, who ends it."""
        lease = await self._ask(*await self._sc.server_at(pn), ttl_s)
        self._keep_track(lease)
        return lease

    def _keep_track(self, lease: AsyncLease) -> None:
        self._others = [each for each in (*self._others, lease) if each.is_kept or not each.is_over]

    async def _ask(self, server: str, endpoint: Endpoint, ttl_s: float | None) -> AsyncLease:
        way = self._ways.get(server)
        if way is None or (server != NAMED and way.endpoint != endpoint):
            way = self._ways[server] = _Way(self._sc, server, endpoint)
        request_s = time.monotonic()
        request = AskLeaseRequest(ttl_s=ttl_s or self._sc.config.lease.ttl_s)
        # One too many, of an answer that was lost, runs out by itself.
        reply = await way.rpc.rpc("LeaseSrv.AskLease", request, AskLeaseReply, idempotent=True)
        # For as long as clients wait for a next leader of named (E-6).
        outage_s = self._sc.config.walk.patience_s if server == NAMED else 0.0
        return AsyncLease(way, reply, request_s, outage_s)

    async def stop_extending(self) -> None:
        """Leaves all leases to expire."""
        for lease in (*self._leases.values(), *self._others):
            await lease.stop_extending()

    async def end_leases(self) -> None:
        """Ends all leases; what a server does not answer for expires by itself."""
        leases = [*self._leases.values(), *self._others]
        self._leases.clear()
        self._others.clear()
        for lease in leases:
            if lease.is_over:
                await lease.stop_extending()
                continue
            try:
                await lease.end()
            except serr.SigmaError as error:
                _log(f"lease {lease.id:x}: {error}")


def leases_of(sc: AsyncFsLib) -> AsyncLeaseClnt:
    """The leases of a client: its own, if it has some, as an ``AsyncSigmaClnt`` has, since they end with it; or others,
    which end with this process."""
    leases: AsyncLeaseClnt = getattr(sc, "leases", None) or AsyncLeaseClnt(sc)
    return leases
