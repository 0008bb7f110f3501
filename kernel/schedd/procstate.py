"""What a schedd knows of one proc. Pure."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

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
        "killing",
        "number",
        "orphaned",
        "phase",
        "runner",
        "spec",
        "started",
        "started_s",
        "status",
        "submitted_s",
        "times",
    )

    def __init__(self, spec: pb.ProcSpec, number: int) -> None:
        self.spec = spec
        self.number = number
        """Counts the procs of a schedd: unique, also where a pid is used again."""
        self.phase = ProcPhase.QUEUED
        self.started = False
        self.evicting = False
        self.killing = ""
        """Why it is being killed; ``""``: it is not."""
        self.gone = False
        """Ray has said how it ended: no process of it is left."""
        self.collected = False
        self.orphaned = False
        """Its parent has ended: nobody will collect it."""
        self.status: Status | None = None
        self.runner: Runner | None = None
        """The process that runs it, or ran it."""
        self.submitted_s = self.began_s = self.started_s = self.ended_s = 0.0
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
