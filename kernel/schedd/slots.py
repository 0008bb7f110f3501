"""How many best-effort leases a schedd may have at a time: so that latency-critical procs come first (C-2), and realms
share (C-4). Pure.

Ray lets small requests overtake a large one for ever, and does not share between realms. So no schedd holds more of the
slots than its share; and while a latency-critical proc waits, only as many as leave its cores free.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from kernel.schedd.shares import Turn

if TYPE_CHECKING:
    from kernel.schedd.procstate import ProcState
    from sigmaos_ray.config import Scheduling


class ClusterSize(msgspec.Struct, frozen=True):
    """What Ray's live nodes have, taken together and at most."""

    cores: float
    cores_of_largest_node: float
    hosts_count: int = 1
    """Machines that the nodes are on."""


class Slots:
    """Those of one schedd."""

    def __init__(self, limits: Scheduling, size: ClusterSize) -> None:
        self.size = size
        self.turn = Turn()
        self.cores_max = 0.0
        """A limit of the realm's own; 0: none."""
        self._limits = limits
        self._reserving: dict[ProcState, float] = {}
        """Latency-critical procs, and until when they come first; 0: they have their cores."""

    def reserve(self, proc: ProcState, now_s: float) -> None:
        """A latency-critical proc waits for its cores. One that no node has room for holds nobody up."""
        if proc.spec.mcpu / 1000 <= self.size.cores_of_largest_node:
            self._reserving[proc] = now_s + self._limits.critical_first_s

    def reserved(self, proc: ProcState) -> None:
        """It has them."""
        if proc in self._reserving:
            self._reserving[proc] = 0.0

    def released(self, proc: ProcState) -> None:
        """It is over: what it took is free."""
        self._reserving.pop(proc, None)

    def holds_until(self, now_s: float) -> float | None:
        """When best-effort procs need not leave cores free any more; None: they need not now."""
        return min((until_s for until_s in self._reserving.values() if until_s > now_s), default=None)

    def window(self, now_s: float) -> int:
        """How many leases may hold a slot."""
        cores = self.size.cores
        if self.holds_until(now_s) is not None:
            # One that waited past its time is not counted: it waits for others of its kind, and cores kept free would
            # idle.
            taken = (proc for proc, until_s in self._reserving.items() if until_s == 0 or until_s > now_s)
            cores -= sum(proc.spec.mcpu for proc in taken) / 1000
        slots = self.turn.share(max(0, int(cores * self._limits.be_per_core)))
        return min(slots, max(1, int(self.cores_max * self._limits.be_per_core))) if self.cores_max else slots
