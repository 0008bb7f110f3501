"""What a schedd decides: the life of its procs, from queued to collected. Pure: events in, instructions out.

    queued ──handed──▶ starting ──started──▶ running
      │ ◀──returned───────┤                     │
      └───────────────────┴─ reported / ended ──┴──▶ exited ──collected──▶ (forgotten)

``reported`` is the proc's own word, ``ended`` its lease's: the first of the two gives the status (X-27), the second
only says that the process is gone. An ended proc is kept until its parent collected it, or has ended itself (X-25,
X-26).
"""

from __future__ import annotations

import enum
from collections import OrderedDict
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from kernel.schedd.counters import ProcCounters
from kernel.schedd.procstate import ProcPhase, ProcState, WorkerLease
from sigmaos_ray import serr
from sigmaos_ray.proc import Status

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kernel.schedd.places import Runner
    from sigmaos_ray.pb import proc_pb2 as pb
    from sigmaos_ray.proc import Tpid


class Signal(enum.Enum):
    """What somebody may wait for."""

    START = enum.auto()
    EXIT = enum.auto()
    EVICT = enum.auto()


class Queue(msgspec.Struct, frozen=True):
    """Have a lease run it, once there is one."""

    proc: ProcState


class Withdraw(msgspec.Struct, frozen=True):
    """Take it out of the queue."""

    proc: ProcState


class AskToEnd(msgspec.Struct, frozen=True):
    """Have its lease tell it that it is evicted."""

    proc: ProcState


class Kill(msgspec.Struct, frozen=True):
    """End its processes now."""

    proc: ProcState


class KillLater(msgspec.Struct, frozen=True):
    """Send ``grace_over`` after so long."""

    proc: ProcState
    grace_s: float


class Wake(msgspec.Struct, frozen=True):
    """Tell those who wait for this."""

    proc: ProcState
    signal: Signal


class Relist(msgspec.Struct, frozen=True):
    """Show it in another directory. None: in no one."""

    pid: str
    old: ProcPhase | None
    new: ProcPhase | None


Instruction: TypeAlias = Queue | AskToEnd | Withdraw | Kill | KillLater | Wake | Relist


class ProcTable:
    """All procs of a schedd. At most ``status_kept_max`` ended ones are kept; the oldest go first."""

    def __init__(self, status_kept_max: int, counters: ProcCounters | None = None) -> None:
        self._status_kept_max = status_kept_max
        self.counters = counters or ProcCounters()
        self._spawned_count = 0
        self._procs: dict[Tpid, ProcState] = {}
        self._ended: OrderedDict[Tpid, None] = OrderedDict()
        """Exited and not collected, oldest first."""
        self._children: dict[Tpid, set[Tpid]] = {}
        """By the parent's pid, the procs that it may still collect."""

    def get(self, pid: Tpid) -> ProcState:
        """NotFound for a pid that was never here, or was collected."""
        proc = self._procs.get(pid)
        if proc is None:
            raise serr.NotFound(pid, "no such proc, or its status was collected")
        return proc

    def all(self) -> Iterable[ProcState]:
        return self._procs.values()

    def pids(self, *phases: ProcPhase) -> list[Tpid]:
        return sorted(pid for pid, proc in self._procs.items() if proc.phase in phases)

    # -- what clients ask for

    def spawn(self, spec: pb.ProcSpec) -> list[Instruction]:
        """Exists if the pid is in use."""
        if spec.pid in self._procs:
            raise serr.Exists(spec.pid, "a proc has this pid")
        self._spawned_count += 1
        proc = self._procs[spec.pid] = ProcState(spec, self._spawned_count)
        self._children.setdefault(spec.parent_pid, set()).add(spec.pid)
        self.counters.arrived(proc.phase)
        return [Queue(proc), Relist(spec.pid, None, ProcPhase.QUEUED)]

    def evict(self, pid: Tpid, grace_s: float | None) -> list[Instruction]:
        """Idempotent; of a proc that has exited only what still runs is killed. NotFound for an unknown pid."""
        proc = self.get(pid)
        instructions: list[Instruction] = []
        if not proc.evicting and proc.phase is not ProcPhase.EXITED:
            proc.evicting = True
            instructions += [Wake(proc, Signal.EVICT), AskToEnd(proc)]
        if proc.phase is ProcPhase.QUEUED:
            instructions.append(Withdraw(proc))
        if grace_s is not None and not proc.gone:
            instructions.append(KillLater(proc, grace_s))
        return instructions

    def collect(self, proc: ProcState) -> None:
        """The parent has the status: forget it. Idempotent."""
        if proc.collected:
            return
        proc.collected = True
        if proc.phase is ProcPhase.EXITED:
            self.counters.collected()
        self._ended.pop(proc.pid, None)
        self._forget_child(proc)
        if self._procs.get(proc.pid) is proc:
            del self._procs[proc.pid]

    def collect_all(self, pids: Iterable[Tpid], parent_pid: Tpid) -> None:
        """The parent has the statuses of these. What has not ended, or is another's child, stays."""
        for pid in pids:
            proc = self._procs.get(pid)
            if proc is not None and proc.phase is ProcPhase.EXITED and proc.spec.parent_pid == parent_pid:
                self.collect(proc)

    # -- parents

    def parents_elsewhere(self, kernel_id: str) -> dict[str, list[Tpid]]:
        """The procs of others than that schedd whose children are here and were not collected; by their schedds."""
        parents: dict[str, list[Tpid]] = {}
        for parent_pid, children in self._children.items():
            schedd_id = self._procs[next(iter(children))].spec.parent_schedd_id
            if schedd_id not in ("", kernel_id):
                parents.setdefault(schedd_id, []).append(parent_pid)
        return parents

    def ended_of(self, pids: Iterable[Tpid]) -> list[Tpid]:
        """Those of them that have ended, as have those that nobody knows any more."""
        procs = ((pid, self._procs.get(pid)) for pid in pids)
        return [pid for pid, proc in procs if proc is None or proc.phase is ProcPhase.EXITED]

    def parent_ended(self, parent_pid: Tpid) -> None:
        """Nobody will collect its children, now or when they end. Nothing happens if it has none here."""
        # Taken out first: a child that is collected would else change the set that this goes through.
        for pid in self._children.pop(parent_pid, ()):
            child = self._procs[pid]
            child.orphaned = True
            if child.phase is ProcPhase.EXITED:
                self.collect(child)

    # -- what the proc and its lease tell

    def handed(self, proc: ProcState, lease: WorkerLease) -> list[Instruction]:
        """A lease has it, and is about to run it."""
        proc.lease = lease
        proc.handed_count += 1
        return self._move(proc, ProcPhase.STARTING) if proc.phase is ProcPhase.QUEUED else []

    def returned(self, proc: ProcState) -> list[Instruction]:
        """It did not begin there, and waits for another lease."""
        proc.lease = None
        return self._move(proc, ProcPhase.QUEUED) if proc.phase is ProcPhase.STARTING else []

    def began(self, proc: ProcState, runner: Runner, now_s: float) -> None:
        """A process is about to run it."""
        proc.runner, proc.began_s = runner, now_s
        self.counters.has_begun(proc)

    def started(self, pid: Tpid, now_s: float) -> list[Instruction]:
        """The proc says that it runs; a second time changes nothing. NotFound for an unknown pid."""
        proc = self.get(pid)
        if proc.started or proc.phase is ProcPhase.EXITED:
            return []
        proc.started, proc.started_s = True, now_s
        return [*self._move(proc, ProcPhase.RUNNING), Wake(proc, Signal.START)]

    def reported(self, pid: Tpid, status: Status, now_s: float) -> list[Instruction]:
        """The proc says how it ends. NotFound for an unknown pid."""
        return self._exit(self.get(pid), status, now_s)

    def ended(self, proc: ProcState, status: Status, now_s: float) -> list[Instruction]:
        """How it ended, process and all. What was killed on our own account counts as evicted. If the proc has reported
        a status itself, that one stands: how its process came down afterwards says nothing of its work."""
        proc.gone, proc.lease = True, None
        if proc.killing and status.is_crash():
            status = Status.evicted(f"{proc.killing}: {status.msg}")
        return self._exit(proc, status, now_s)

    def grace_over(self, proc: ProcState, grace_s: float) -> list[Instruction]:
        """The time is over that an eviction granted."""
        if proc.gone:
            return []
        proc.killing = f"did not end within {grace_s:g} s"
        return [Kill(proc)]

    def stopping(self) -> list[Instruction]:
        """The schedd ends, and with it all that it owns."""
        alive = [proc for proc in self._procs.values() if not proc.gone]
        for proc in alive:
            proc.killing = proc.killing or "the kernel node stopped"
        return [Kill(proc) for proc in alive]

    # -- moves

    def _move(self, proc: ProcState, phase: ProcPhase) -> list[Instruction]:
        old, proc.phase = proc.phase, phase
        self.counters.moved(proc, old, phase)
        return [Relist(proc.pid, old, phase)]

    def _exit(self, proc: ProcState, status: Status, now_s: float) -> list[Instruction]:
        if proc.phase is ProcPhase.EXITED:
            return []
        proc.status, proc.ended_s = status, now_s
        instructions = self._move(proc, ProcPhase.EXITED)
        self.counters.exited(status)
        instructions += [Wake(proc, signal) for signal in Signal]
        self.parent_ended(proc.pid)
        if proc.orphaned:
            self.collect(proc)
        else:
            self._ended[proc.pid] = None
            self._drop_oldest()
        return instructions

    def _drop_oldest(self) -> None:
        # A parent that is no proc of this schedd never ends here: this bound alone forgets what it does not collect.
        while len(self._ended) > self._status_kept_max:
            self.collect(self._procs[next(iter(self._ended))])

    def _forget_child(self, proc: ProcState) -> None:
        siblings = self._children.get(proc.spec.parent_pid)
        if siblings is not None:
            siblings.discard(proc.pid)
            if not siblings:
                del self._children[proc.spec.parent_pid]
