"""What a schedd knows of one proc, and of one lease that runs procs. Pure."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from kernel.schedd.places import Runner
    from sigmaos_ray.pb import proc_pb2 as pb
    from sigmaos_ray.proc import Status, Tpid


class ProcPhase(enum.StrEnum):
    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    EXITED = "exited"


class ProcState:
    """One proc. Changed by ``ProcTable`` alone."""

    __slots__ = (
        "began_s",
        "collected",
        "ended_s",
        "evicting",
        "gone",
        "handed_count",
        "killing",
        "lease",
        "number",
        "orphaned",
        "phase",
        "runner",
        "spec",
        "start_awaited",
        "started",
        "started_s",
        "status",
        "submitted_s",
        "times",
        "token",
        "token_slot",
    )

    def __init__(self, spec: pb.ProcSpec, number: int) -> None:
        self.spec = spec
        self.number = number
        """Counts the procs of a schedd: unique, also where a pid is used again."""
        self.phase = ProcPhase.QUEUED
        self.started = False
        self.start_awaited = False
        """Somebody has waited for its start, and may wait still."""
        self.evicting = False
        self.killing = ""
        """Why it is being killed; ``""``: it is not."""
        self.gone = False
        """It is known how it ended: no process of it is left."""
        self.collected = False
        self.orphaned = False
        """Its parent has ended: nobody will collect it."""
        self.status: Status | None = None
        self.lease: WorkerLease | None = None
        """What it was handed to; None while it waits."""
        self.handed_count = 0
        """Leases that it was handed to."""
        self.runner: Runner | None = None
        """The process that runs it, or ran it."""
        self.submitted_s = self.began_s = self.started_s = self.ended_s = 0.0
        self.token = ""
        """Its credentials; empty: none were made yet, or it needs none of its own."""
        self.token_slot = 0
        self.times: pb.ProcTimes | None = None
        """When its worker came how far; None before it ended, or if it did not say."""

    @property
    def pid(self) -> Tpid:
        return self.spec.pid

    @property
    def os_pid(self) -> int:
        """Of the process that runs it, on that one's machine; 0: none yet, or it was too short to tell."""
        return 0 if self.runner is None else self.runner.process.pid

    @property
    def latency_critical(self) -> bool:
        return self.spec.mcpu > 0


class Needs(msgspec.Struct, frozen=True):
    """What Ray is asked for with a lease. A lease runs procs of its needs alone."""

    mcpu: float = 0.0
    """0: a slot, of which a core has several."""
    mem_mb: float = 0.0
    is_here: bool = False
    """On this very node."""
    package: str = ""

    @classmethod
    def of(cls, spec: pb.ProcSpec) -> Needs:
        return cls(spec.mcpu, spec.mem_mb, bool(spec.kernels), spec.package)

    @property
    def is_plain(self) -> bool:
        """Nothing but a slot, of which there are so many. What asks for more may wait in Ray for what others do not
        need."""
        return not (self.mcpu or self.mem_mb or self.is_here)


class LeasePhase(enum.StrEnum):
    ASKED = "asked"
    IDLE = "idle"
    BUSY = "busy"
    OVER = "over"


class WorkerLease:
    """One lease. Changed by ``LeaseBook`` alone."""

    __slots__ = ("came_s", "id", "idle_since_s", "needs", "parked", "phase", "proc", "runner")

    def __init__(self, lease_id: str, needs: Needs) -> None:
        self.id = lease_id
        self.needs = needs
        self.phase = LeasePhase.ASKED
        self.runner: Runner | None = None
        """Where it is, since it came."""
        self.came_s = 0.0
        self.idle_since_s = 0.0
        self.proc: ProcState | None = None
        """What it was handed, while it is busy."""
        self.parked = False
        """Its proc waits for others, and Ray has its core back."""
