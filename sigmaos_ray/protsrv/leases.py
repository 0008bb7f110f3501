"""Leases that a server keeps itself (L-6), with what clients call to have them: ``LeaseSrv`` (L-1).

``LeaseTable`` decides, without a clock of its own; ``LeaseKeeper`` looks at the clock. The files of a lease are the
server's matter: it hears of the end and takes them out at that moment. Leases die with the server; so must their files.

Leases rest on the steady clock: a wall clock that is set would end all of them at once, or none for hours.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import TYPE_CHECKING

from sigmaos_ray import debug, serr
from sigmaos_ray.pb.rpc_pb2 import AskLeaseReply, AskLeaseRequest, LeaseReply, LeaseRequest
from sigmaos_ray.sigmap import NO_LEASE

if TYPE_CHECKING:
    from collections.abc import Callable

    from sigmaos_ray.rpcsrv import RpcContext

_log = debug.selector("LEASESRV")


class _Lease:
    __slots__ = ("ends_s", "ttl_s")

    def __init__(self, ttl_s: float, ends_s: float) -> None:
        self.ttl_s = ttl_s
        self.ends_s = ends_s


class LeaseTable:
    """Which leases live, and until when. Times are seconds of one steady clock, which the caller reads."""

    def __init__(self, leases_max: int, ttl_s_min: float, ttl_s_max: float) -> None:
        self._leases: dict[int, _Lease] = {}
        self._leases_max = leases_max
        self._ttl_s_min = ttl_s_min
        self._ttl_s_max = ttl_s_max

    def __len__(self) -> int:
        return len(self._leases)

    def grant(self, ttl_s: float, now_s: float) -> tuple[int, float]:
        """A new lease: its number, and how long it lives, within the server's bounds. Retry if there are too many."""
        if not ttl_s > 0:  # NaN too
            raise serr.Inval("lease", f"a lease of {ttl_s} s")
        if len(self._leases) >= self._leases_max:
            raise serr.Retry("lease", f"the server keeps {self._leases_max} leases already")
        # Random, not counted: a client must not hit another one's lease by chance, nor one of the server's last life.
        while (lease_id := secrets.randbits(63)) in self._leases or lease_id == NO_LEASE:
            continue
        ttl_s = min(max(ttl_s, self._ttl_s_min), self._ttl_s_max)
        self._leases[lease_id] = _Lease(ttl_s, now_s + ttl_s)
        return lease_id, ttl_s

    def extend(self, lease_id: int, now_s: float) -> None:
        """The lease lives for its whole time again. NotFound for one that is over."""
        lease = self._get(lease_id)
        lease.ends_s = now_s + lease.ttl_s

    def end(self, lease_id: int) -> None:
        """Takes a lease out before its time. NotFound for one that is over."""
        self._get(lease_id)
        del self._leases[lease_id]

    def check(self, lease_id: int) -> None:
        """NotFound unless the lease lives, or there is none."""
        if lease_id != NO_LEASE:
            self._get(lease_id)

    def _get(self, lease_id: int) -> _Lease:
        lease = self._leases.get(lease_id)
        if lease is None:
            raise serr.NotFound(f"lease {lease_id:x}", "it ended, or is another server's")
        return lease

    def take_expired(self, now_s: float) -> list[int]:
        """Takes out the leases whose time is over, in the order of their ends."""
        expired = sorted((lease.ends_s, number) for number, lease in self._leases.items() if lease.ends_s <= now_s)
        for _, number in expired:
            del self._leases[number]
        return [number for _, number in expired]

    def next_end_s(self) -> float | None:
        """When the next lease ends, unless it is extended; None if there is no lease."""
        return min((lease.ends_s for lease in self._leases.values()), default=None)


class LeaseKeeper:
    """The leases of one server: ``start`` and ``stop`` go with the server. ``on_end(lease)`` takes out its files; it
    must not wait, and not raise.

    A lease that is over is ended before anything else is served (L-4): servers call ``expire`` before each request,
    since a busy loop runs timers late. The timer is for watchers, who hear of the end while nobody asks for anything.
    """

    def __init__(
        self,
        on_end: Callable[[int], None],
        *,
        leases_max: int = 100_000,
        ttl_s_min: float = 1.0,
        ttl_s_max: float = 3600.0,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._table = LeaseTable(leases_max, ttl_s_min, ttl_s_max)
        self._on_end = on_end
        self._clock_s = clock_s
        self._next_end_s: float | None = None
        """No lease ends before this; None if there is none. May be early: an extension leaves it as it is."""
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """From now on leases end in time also while nobody asks. Needs a running loop."""
        self._set_timer()

    def stop(self) -> None:
        """May be repeated. Leases are left as they are."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def __len__(self) -> int:
        return len(self._table)

    def grant(self, ttl_s: float) -> tuple[int, float]:
        """See ``LeaseTable.grant``."""
        self.expire()
        lease_id, ttl_s = self._table.grant(ttl_s, self._clock_s())
        _log(f"{lease_id:x} for {ttl_s:g} s")
        self._set_timer()
        return lease_id, ttl_s

    def extend(self, lease_id: int) -> None:
        """See ``LeaseTable.extend``. A lease whose time is over cannot be saved, though no timer has ended it yet."""
        self.expire()
        self._table.extend(lease_id, self._clock_s())

    def end(self, lease_id: int) -> None:
        """The lease's files go now. NotFound if it is over already."""
        self.expire()
        self._table.end(lease_id)  # before its files go, as in ``expire``
        _log(f"{lease_id:x} ended")
        self._on_end(lease_id)

    def check(self, lease_id: int) -> None:
        """NotFound unless the lease lives, or there is none."""
        self._table.check(lease_id)

    def expire(self) -> None:
        """Ends the leases whose time is over. Cheap while there is none."""
        if self._next_end_s is None or self._clock_s() < self._next_end_s:
            return
        # Out of the table first, all of them: no file can be put under a lease whose files are being taken out.
        for lease_id in self._table.take_expired(self._clock_s()):
            _log(f"{lease_id:x} expired")
            self._on_end(lease_id)
        self._next_end_s = self._table.next_end_s()

    def _set_timer(self) -> None:
        self.stop()
        self._next_end_s = self._table.next_end_s()
        if self._next_end_s is not None:
            pause_s = max(0.0, self._next_end_s - self._clock_s())
            self._timer = asyncio.get_running_loop().call_later(pause_s, self._on_timer)

    def _on_timer(self) -> None:
        self.expire()
        # Also when none has ended: extensions leave the timer as it is, so it mostly goes off for a lease that lives
        # on.
        self._set_timer()


class LeaseSrv:
    """The RPC service that clients call (``leaseclnt``)."""

    def __init__(self, keeper: LeaseKeeper) -> None:
        self._keeper = keeper

    async def AskLease(self, ctx: RpcContext, request: AskLeaseRequest) -> AskLeaseReply:
        """A new lease of about the time that is asked for; the reply says how long it is. Retry, Inval."""
        lease_id, ttl_s = self._keeper.grant(request.ttl_s)
        return AskLeaseReply(lease_id=lease_id, ttl_s=ttl_s)

    async def Extend(self, ctx: RpcContext, request: LeaseRequest) -> LeaseReply:
        """The lease lives for its whole time again. NotFound if it is gone."""
        self._keeper.extend(request.lease_id)
        return LeaseReply()

    async def End(self, ctx: RpcContext, request: LeaseRequest) -> LeaseReply:
        """Its files go now. NotFound if it is gone already."""
        self._keeper.end(request.lease_id)
        return LeaseReply()
