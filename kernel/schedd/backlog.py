"""Which best-effort procs Ray has, and which wait here: so that latency-critical ones come first (C-2). Pure.

Ray lets small requests overtake a large one for ever. So it gets only as many plain best-effort procs as keep its slots
busy; and while a latency-critical proc waits, only as many as leave its cores free. Nor does Ray share between realms:
of several that have procs waiting, each hands over no more than its share of the slots.
"""

from __future__ import annotations

from collections import OrderedDict
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


class Backlog:
    """The best-effort queue of one schedd. After each change ``due`` tells what to hand to Ray."""

    def __init__(self, limits: Scheduling, size: ClusterSize) -> None:
        self.size = size
        self.turn = Turn()
        self._limits = limits
        self._waiting: OrderedDict[ProcState, None] = OrderedDict()
        self._handed: set[ProcState] = set()
        self._reserving: dict[ProcState, float] = {}
        """Latency-critical procs, and until when they come first; 0: they have their cores."""
        self._parked_count = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, proc: ProcState) -> None:
        """A best-effort proc waits, behind all others."""
        self._waiting[proc] = None

    def withdraw(self, proc: ProcState) -> bool:
        """True if it was still here: Ray has never heard of it."""
        if proc not in self._waiting:
            return False
        del self._waiting[proc]
        return True

    def reserve(self, proc: ProcState, now_s: float) -> None:
        """A latency-critical proc waits for its cores. One that no node has room for holds nobody up."""
        if proc.spec.mcpu / 1000 <= self.size.cores_of_largest_node:
            self._reserving[proc] = now_s + self._limits.critical_first_s

    def reserved(self, proc: ProcState) -> None:
        """It has them."""
        if proc in self._reserving:
            self._reserving[proc] = 0.0

    def ended(self, proc: ProcState) -> None:
        """A proc of either kind is over: what it took is free."""
        self._handed.discard(proc)
        self._reserving.pop(proc, None)

    def parked(self, change: int) -> None:
        """So many more procs have given their slots back, while they wait."""
        self._parked_count += change

    def holds_until(self, now_s: float) -> float | None:
        """When best-effort procs need not leave cores free any more; None: they need not now."""
        return min((until_s for until_s in self._reserving.values() if until_s > now_s), default=None)

    def due(self, now_s: float) -> list[ProcState]:
        """What to hand to Ray now, in order."""
        if not self._waiting:
            return []
        # A parked proc was handed over and holds no slot: without counting it, parents that wait for their children
        # would fill the window, and no child would ever come through.
        room = self._window(now_s) + self._parked_count - len(self._handed)
        due = [self._waiting.popitem(last=False)[0] for _ in range(min(room, len(self._waiting)))]
        self._handed.update(due)
        return due

    def _window(self, now_s: float) -> int:
        limits = self._limits
        if self.holds_until(now_s) is None:
            slots = int(self.size.cores * limits.be_per_core)
            # A realm alone gives Ray a few to go on with. With others only what runs, as Ray does not share.
            if self.turn.is_alone:
                return max(limits.handed_min, slots * limits.handed_per_slot)
            return self.turn.share(slots)
        # One that waited past its time is not counted: it waits for others of its kind, and cores kept free would idle.
        taken = (proc for proc, until_s in self._reserving.items() if until_s == 0 or until_s > now_s)
        free_cores = self.size.cores - sum(proc.spec.mcpu for proc in taken) / 1000
        return self.turn.share(max(0, int(free_cores * limits.be_per_core)))
