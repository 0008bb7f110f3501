"""Which lease runs which proc, and which leases there are to be. Pure: events in, instructions out.

A *lease* is a task of Ray's that stays with its worker and takes one proc after another. Ray places, queues and
accounts leases; procs wait here.

    asked ──came──▶ idle ──handed──▶ busy ──came──▶ idle ... ──over──▶
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from kernel.schedd.procstate import LeasePhase, Needs, ProcState, WorkerLease

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kernel.schedd.places import Runner
    from kernel.schedd.slots import Slots
    from sigmaos_ray.config import Scheduling


class Ask(msgspec.Struct, frozen=True):
    """Ask Ray for it."""

    lease: WorkerLease
    is_ahead: bool = False
    """For no proc yet: it only gets a worker of this node ready."""


class Cancel(msgspec.Struct, frozen=True):
    """It is not needed any more; Ray may have it queued, or be about to begin it."""

    lease: WorkerLease


class Hand(msgspec.Struct, frozen=True):
    """Give it this proc."""

    lease: WorkerLease
    proc: ProcState


class Over(msgspec.Struct, frozen=True):
    """Tell it that it is over."""

    lease: WorkerLease


LeaseInstruction: TypeAlias = Ask | Cancel | Hand | Over

_PLAIN: Final = Needs()


class _Group:
    """The procs and leases of the same needs."""

    def __init__(self, needs: Needs) -> None:
        self.needs = needs
        self.waiting: OrderedDict[ProcState, None] = OrderedDict()
        self.asked: OrderedDict[WorkerLease, None] = OrderedDict()
        self.idle: OrderedDict[WorkerLease, None] = OrderedDict()
        """Idle for longest first: leases take turns, so that one makes its next process while another one works."""
        self.busy: OrderedDict[WorkerLease, None] = OrderedDict()
        self.handed_s = float("-inf")
        self.is_lively = False
        """Procs come one soon after another, and one was handed out just now."""

    def of(self, phase: LeasePhase) -> OrderedDict[WorkerLease, None]:
        return {LeasePhase.ASKED: self.asked, LeasePhase.IDLE: self.idle, LeasePhase.BUSY: self.busy}[phase]

    def holding_count(self) -> int:
        """Leases that hold a slot, or will once Ray has one."""
        return len(self.asked) + len(self.idle) + sum(not lease.parked for lease in self.busy)

    def first_number(self) -> int:
        return next(iter(self.waiting)).number

    def __bool__(self) -> bool:
        return bool(self.waiting or self.asked or self.idle or self.busy)


class LeaseBook:
    """All leases of one schedd, and the procs that wait for one. After each change ``due`` tells what to do. Times are
    of one clock that never goes back, in seconds."""

    def __init__(self, limits: Scheduling, slots: Slots) -> None:
        self.slots = slots
        self._limits = limits
        self._prefix = secrets.token_hex(8)
        """Of its leases: others of the realm, and earlier ones, may use the same workers."""
        self._groups: dict[Needs, _Group] = {}
        self._leases: dict[str, WorkerLease] = {}
        self._asked_count = 0
        self._came_count = 0
        self._over: list[LeaseInstruction] = []
        self._break_ends_s: float | None = None
        """While leases go home and none is asked for: of cores that become free one by one Ray could never make up the
        larger part that somebody else waits for."""
        self._is_empty = False
        """All of them have, in this break."""

    # -- procs

    def put(self, proc: ProcState, now_s: float) -> None:
        """A proc waits, behind all others of its needs."""
        if proc.latency_critical:
            self.slots.reserve(proc, now_s)
        self._group(Needs.of(proc.spec)).waiting[proc] = None

    def put_back(self, proc: ProcState, now_s: float) -> None:
        """One that was handed out did not begin: it waits again, before all others."""
        self.put(proc, now_s)
        self._group(Needs.of(proc.spec)).waiting.move_to_end(proc, last=False)

    def withdraw(self, proc: ProcState) -> bool:
        """True if it still waited: nobody has heard of it."""
        group = self._groups.get(Needs.of(proc.spec))
        if group is None or proc not in group.waiting:
            return False
        del group.waiting[proc]
        self.slots.released(proc)
        return True

    def first_waiting(self, needs: Needs) -> ProcState | None:
        """The proc that waits for a lease of those needs, and comes next."""
        group = self._groups.get(needs)
        return next(iter(group.waiting), None) if group is not None else None

    @property
    def has_waiting(self) -> bool:
        return any(group.waiting for group in self._groups.values())

    # -- leases

    def get(self, lease_id: str) -> WorkerLease | None:
        """None for one that is over, or never was."""
        return self._leases.get(lease_id)

    def all(self) -> Iterator[WorkerLease]:
        return iter(list(self._leases.values()))

    def ask_ahead(self, count: int) -> None:
        """So many leases for nobody yet: their workers get ready."""
        for _ in range(count):
            self._over.append(Ask(self._new(_PLAIN), is_ahead=True))

    def came(self, lease: WorkerLease, runner: Runner | None, now_s: float) -> None:
        """It has nothing to run: it was just begun by Ray, or its proc ended. ``runner``: where it is, if it says."""
        if lease.phase is LeasePhase.ASKED:
            lease.came_s = now_s
            self._came_count += 1
        if runner is not None:
            lease.runner = runner
        self._free(lease)
        if self._goes_home(lease, now_s):
            self._end(lease)
            return
        lease.idle_since_s = now_s
        self._move(lease, LeasePhase.IDLE)

    def _goes_home(self, lease: WorkerLease, now_s: float) -> bool:
        """Whether it ends now, though procs may wait: Ray's other users get their turn."""
        if lease.needs.mcpu and lease.phase is LeasePhase.BUSY:
            return True  # what was reserved for one proc is free with its end
        has_worked = now_s - lease.came_s >= self._limits.lease_work_s
        if not lease.needs.is_plain:
            return has_worked
        if has_worked and self._break_ends_s is None:
            self._break_ends_s = now_s + self._limits.lease_break_s
        return self._break_ends_s is not None

    def freed(self, lease: WorkerLease) -> None:
        """Its proc has ended, and is its no more."""
        self._free(lease)

    def parked(self, lease: WorkerLease, parked: bool) -> None:
        """Whether Ray has its core back, while its proc waits."""
        lease.parked = parked

    def lost(self, lease: WorkerLease) -> ProcState | None:
        """It ended by itself, or with its worker. Returns what it was handed, and did not tell the end of."""
        proc = lease.proc
        self._free(lease)
        self._drop(lease)
        return proc

    def forget_asked(self) -> list[WorkerLease]:
        """Those that Ray has not begun are given up: it may be about to begin them on a node that is lost."""
        given_up = [lease for lease in self._leases.values() if lease.phase is LeasePhase.ASKED]
        for lease in given_up:
            self._drop(lease)
        return given_up

    # -- what to do

    def due(self, now_s: float) -> list[LeaseInstruction]:
        """What follows from the changes since the last time."""
        due, self._over = self._over, []
        if self._break_ends_s is not None:
            self._have_break(self._break_ends_s, now_s, due)
        self._shrink(now_s, due)
        for group in list(self._groups.values()):
            self._hand_out(group, now_s, due)
        self._end_idle(now_s)
        for group in list(self._groups.values()):
            if not group.needs.is_plain:
                self._ask_each(group, due)
        if self._break_ends_s is None:
            self._ask_in_turn(now_s, due)
        due += self._over
        self._over = []
        for needs in [needs for needs, group in self._groups.items() if not group]:
            del self._groups[needs]
        return due

    def next_look_s(self) -> float | None:
        """When ``due`` would find something though nothing changed; None: never."""
        idle = [lease.idle_since_s for group in self._groups.values() for lease in group.idle]
        looks = [] if self._break_ends_s is None else [self._break_ends_s]
        if idle:
            looks.append(min(idle) + self._limits.lease_idle_s)
        return min(looks, default=None)

    def _have_break(self, ends_s: float, now_s: float, due: list[LeaseInstruction]) -> None:
        """Leases go home as their procs end; the break ends a moment after the last one has, or when it has taken too
        long."""
        for group in self._plain_groups():
            for lease in list(group.asked):
                due.append(Cancel(lease))
                self._drop(lease)
            for lease in list(group.idle):
                self._end(lease)
        is_empty = not any(group.holding_count() for group in self._plain_groups())
        if is_empty and not self._is_empty:
            ends_s = self._break_ends_s = min(ends_s, now_s + self._limits.lease_pause_s)
        self._is_empty = is_empty
        if now_s >= ends_s:
            self._break_ends_s, self._is_empty = None, False

    def _hand_out(self, group: _Group, now_s: float, due: list[LeaseInstruction]) -> None:
        group.is_lively = False
        while group.waiting and group.idle:
            group.is_lively = now_s - group.handed_s < self._limits.lease_idle_s
            group.handed_s = now_s
            lease = next(iter(group.idle))
            proc, _ = group.waiting.popitem(last=False)
            lease.proc = proc
            self.slots.reserved(proc)
            self._move(lease, LeasePhase.BUSY)
            due.append(Hand(lease, proc))

    def _shrink(self, now_s: float, due: list[LeaseInstruction]) -> None:
        """Gives up what is more than the schedd's share: first what Ray has not begun, then what idles. The others end
        when their procs do."""
        too_many = -self._room(now_s)
        for group in self._plain_groups():
            for lease in [*reversed(group.asked), *group.idle]:
                if too_many <= 0:
                    return
                too_many -= 1
                if lease.phase is LeasePhase.ASKED:
                    due.append(Cancel(lease))
                    self._drop(lease)
                else:
                    self._end(lease)

    def _end_idle(self, now_s: float) -> None:
        """Ends leases that nobody needed for a while, or whose place procs of other needs wait for."""
        wanted = sum(len(group.waiting) > len(group.asked) for group in self._plain_groups()) - self._room(now_s)
        for group in list(self._groups.values()):
            for lease in list(group.idle):
                # What more than a slot was reserved for idles for nobody.
                is_stale = not group.needs.is_plain or now_s - lease.idle_since_s >= self._limits.lease_idle_s
                if is_stale or wanted > 0:
                    self._end(lease)
                    wanted -= group.needs.is_plain

    def _ask_each(self, group: _Group, due: list[LeaseInstruction]) -> None:
        """A lease for each proc that waits."""
        while len(group.asked) < len(group.waiting):
            due.append(Ask(self._new(group.needs)))
        while len(group.asked) > len(group.waiting):
            lease = next(reversed(group.asked))
            self._drop(lease)
            due.append(Cancel(lease))

    def _ask_in_turn(self, now_s: float, due: list[LeaseInstruction]) -> None:
        room = self._room(now_s)
        while room > 0:
            lacking = [group for group in self._plain_groups() if len(group.waiting) > len(group.asked)]
            if not lacking:
                break
            # The one whose first proc has waited for longest.
            group = min(lacking, key=_Group.first_number)
            due.append(Ask(self._new(group.needs)))
            room -= 1
        # While procs come one at a time two leases take turns.
        for group in self._plain_groups():
            if room > 0 and group.is_lively and len(group.busy) == 1 and not (group.idle or group.asked):
                due.append(Ask(self._new(group.needs)))
                room -= 1

    def _room(self, now_s: float) -> int:
        """How many more leases may hold a slot; below 0: so many are too many."""
        return self.slots.window(now_s) - sum(group.holding_count() for group in self._plain_groups())

    def _plain_groups(self) -> list[_Group]:
        return [group for group in self._groups.values() if group.needs.is_plain]

    # -- moves

    def _group(self, needs: Needs) -> _Group:
        group = self._groups.get(needs)
        if group is None:
            group = self._groups[needs] = _Group(needs)
        return group

    def _new(self, needs: Needs) -> WorkerLease:
        self._asked_count += 1
        lease = WorkerLease(f"{self._prefix}-{self._asked_count}", needs)
        self._leases[lease.id] = lease
        self._group(needs).asked[lease] = None
        return lease

    def _free(self, lease: WorkerLease) -> None:
        """Its proc is its no more."""
        if lease.proc is not None:
            self.slots.released(lease.proc)
        lease.proc, lease.parked = None, False

    def _move(self, lease: WorkerLease, phase: LeasePhase) -> None:
        group = self._group(lease.needs)
        del group.of(lease.phase)[lease]
        lease.phase = phase
        group.of(phase)[lease] = None

    def _end(self, lease: WorkerLease) -> None:
        self._drop(lease)
        self._over.append(Over(lease))

    def _drop(self, lease: WorkerLease) -> None:
        if lease.phase is not LeasePhase.OVER:
            del self._group(lease.needs).of(lease.phase)[lease]
            lease.phase = LeasePhase.OVER
            del self._leases[lease.id]

    def report(self) -> dict[str, Any]:
        """The section ``leases`` of ``.statsd``."""
        phases = {phase.value: 0 for phase in (LeasePhase.ASKED, LeasePhase.IDLE, LeasePhase.BUSY)}
        for lease in self._leases.values():
            phases[lease.phase.value] += 1
        return {
            **phases,
            "parked": sum(lease.parked for lease in self._leases.values()),
            "waiting": sum(len(group.waiting) for group in self._groups.values()),
            "asked_in_all": self._asked_count,
            "came_in_all": self._came_count,
        }
