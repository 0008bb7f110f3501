"""Leases (L-1): files that go when their owner does.

A lease is asked of the server that stores a pathname, and kept alive until it is ended. Keeping is done on the
process's loop thread, so that a program that is busy on a loop of its own for longer than a lease does not lose
its files. A client has one lease per server.
"""

from __future__ import annotations

import asyncio
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

    from sigmaos_ray.loopthread import Call

_log = debug.selector("LEASECLNT")

R = TypeVar("R", bound=Message)
T = TypeVar("T")


async def made_or_undone(make: Coroutine[Any, Any, T], undo: Callable[[T | None], Awaitable[object]]) -> T:
    """What ``make`` returns. A caller that is cancelled is held until ``make`` has ended and, unless it surely did
    nothing, ``undo`` too, which gets what was made, or None if that is unknown: what is kept alive by a lease must not
    stay behind with nobody who knows of it."""
    making = asyncio.ensure_future(make)
    try:
        return await asyncio.shield(making)
    except asyncio.CancelledError:
        await asyncio.wait({making})
        if not making.cancelled():
            await _undo(making, undo)
        raise


async def _undo(made: asyncio.Future[T], undo: Callable[[T | None], Awaitable[object]]) -> None:
    error = made.exception()
    if error is None:
        await undo(made.result())
    elif isinstance(error, serr.IOErr):
        await undo(None)


class _Line:
    """The keeper's way to a lease's server, on the loop thread: the client's, if that lives there too, else one of its
    own. Whoever made it closes it."""

    def __init__(self, sc: AsyncFsLib, rpc: AsyncRPCClnt, server: str, endpoint: Endpoint) -> None:
        self._sc = sc
        self._clients = (asyncio.get_running_loop(), rpc)
        self._server = server
        self._endpoint = endpoint
        self._own: AsyncFsLib | None = None
        self._rpc: AsyncRPCClnt | None = None

    async def rpc(self, method: str, request: Message, reply_class: type[R], timeout_s: float | None = None) -> R:
        """Raises like ``AsyncRPCClnt.rpc``."""
        rpc = self._rpc or await self._open()
        return await rpc.rpc(method, request, reply_class, timeout_s)

    async def _open(self) -> AsyncRPCClnt:
        loop, self._rpc = self._clients
        # gRPC's streams belong to the loop on which they were opened: a client of another loop cannot be used from
        # here.
        if loop is not asyncio.get_running_loop():
            self._own = AsyncFsLib(self._sc.proc_env, self._sc.config)
            self._rpc = AsyncRPCClnt(self._own, self._server)
            if self._server != NAMED:
                # Not just any server of that name: the one that knows the lease.
                await self._own.mount_endpoint(self._server, self._endpoint)
        return self._rpc

    async def close(self) -> None:
        """May be repeated."""
        own, self._own = self._own, None
        if own is not None:
            await own.close_fs()


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

    def __init__(self, rpc: AsyncRPCClnt, line: _Line, reply: AskLeaseReply, request_s: float, outage_s: float) -> None:
        """``request_s``: by the steady clock, before it was asked for. ``outage_s``: for how long others may keep it
        while its server takes no extensions."""
        self.id = reply.lease_id
        self.ttl_s = reply.ttl_s
        self.lost = asyncio.Event()
        self.lost_threaded = threading.Event()
        self._rpc = rpc
        self._line = line
        self._loop = asyncio.get_running_loop()
        # From before the request left: the server counts from when it had it, and so never ends the lease earlier.
        self._ends_s = request_s + self.ttl_s
        """By this process's steady clock, not later than at the server. Written by the keeper's thread."""
        self._outage_s = outage_s
        self._is_over = False
        self._keeper: Call[None] | None = None
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
        return self._ends_s + (self._outage_s if self._keeper is not None else 0.0)

    @property
    def is_kept(self) -> bool:
        """True while something runs for it."""
        return self._keeper is not None and not self._keeper.done()

    def keep_extending(self) -> None:
        """Extends the lease every third of its time from now on, until ``end``, or until it is lost; when extending
        fails, more often."""
        if self._keeper is None and not self.is_over:
            self._keeper = loopthread.shared().start(self._keep())

    async def _keep(self) -> None:
        """On the loop thread."""
        try:
            # A third: an extension may be lost, and the next one still comes in time.
            pause_s = self.ttl_s / 3
            while True:
                await asyncio.sleep(pause_s)
                if self._loop.is_closed():  # whoever held it forgot to end it: it expires
                    return
                pause_s = await self._extend_in_time()
                if self._is_over:
                    return
        finally:
            await self._line.close()

    async def _extend_in_time(self) -> float:
        """One try; returns how long to wait for the next one."""
        left_s = self._sure_end_s() - time.monotonic()
        try:
            async with asyncio.timeout(left_s):
                await self._extend_through(self._line)
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
                await self._line.rpc("LeaseSrv.End", LeaseRequest(lease_id=self.id), LeaseReply)
        except (serr.SigmaError, TimeoutError) as error:
            _log(f"lease {self.id:x}, late: {error}")

    async def extend(self) -> None:
        """Extends once. NotFound if the lease is gone."""
        await self._extend_through(self._rpc)

    async def _extend_through(self, way: AsyncRPCClnt | _Line) -> None:
        request_s = time.monotonic()
        await way.rpc("LeaseSrv.Extend", LeaseRequest(lease_id=self.id), LeaseReply, self.ttl_s)
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
        try:
            await self._rpc.rpc("LeaseSrv.End", LeaseRequest(lease_id=self.id), LeaseReply, self.ttl_s)
        except serr.NotFound:
            return


class AsyncLeaseClnt:
    """The leases of one client, one per server."""

    def __init__(self, sc: AsyncFsLib) -> None:
        self._sc = sc
        self._leases: dict[str, AsyncLease] = {}
        self._lost: list[AsyncLease] = []
        """What was replaced; their keepers may still be telling the server."""
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
                    self._lost = [each for each in (*self._lost, lease) if each.is_kept]
                lease = self._leases[server] = await self._ask(server, endpoint, ttl_s or self._sc.config.lease.ttl_s)
        return lease

    async def _ask(self, server: str, endpoint: Endpoint, ttl_s: float) -> AsyncLease:
        rpc = AsyncRPCClnt(self._sc, server)
        request_s = time.monotonic()
        reply = await rpc.rpc("LeaseSrv.AskLease", AskLeaseRequest(ttl_s=ttl_s), AskLeaseReply)
        # For as long as clients wait for a next leader of named (E-6).
        outage_s = self._sc.config.walk.patience_s if server == NAMED else 0.0
        return AsyncLease(rpc, _Line(self._sc, rpc, server, endpoint), reply, request_s, outage_s)

    async def stop_extending(self) -> None:
        """Leaves all leases to expire."""
        for lease in (*self._leases.values(), *self._lost):
            await lease.stop_extending()

    async def end_leases(self) -> None:
        """Ends all leases; what a server does not answer for expires by itself."""
        leases = list(self._leases.values())
        self._leases.clear()
        for lease in self._lost:
            await lease.stop_extending()
        for lease in leases:
            try:
                await lease.end()
            except serr.SigmaError as error:
                _log(f"lease {lease.id:x}: {error}")


def leases_of(sc: AsyncFsLib) -> AsyncLeaseClnt:
    """The leases of a client: its own, if it has some, as an ``AsyncSigmaClnt`` has, since they end with it; or others,
    which end with this process."""
    leases: AsyncLeaseClnt = getattr(sc, "leases", None) or AsyncLeaseClnt(sc)
    return leases
