"""What a schedd counts of its procs: for ``.statsd``, ``sigmaos top``, and Ray's metrics. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec

from kernel.schedd.procstate import ProcPhase

if TYPE_CHECKING:
    from kernel.schedd.procstate import ProcState
    from sigmaos_ray.proc import Status


class NodeSize(msgspec.Struct, frozen=True):
    """What a node has to give, as Ray counts it."""

    cores: float = 0.0
    mem_mb: float = 0.0


class ProcCounters:
    """Gauges of the procs that are there, and totals since the schedd began."""

    def __init__(self, size: NodeSize = NodeSize()) -> None:  # noqa: B008  # immutable
        self.size = size
        self.phases: Counter[ProcPhase] = Counter()
        self.spawned = 0
        self.ended: Counter[str] = Counter()
        """By how: ok, evicted, error, fatal, crash."""
        self.reserved_mcpu = 0.0
        self.reserved_mem_mb = 0.0
        self.wait_s = 0.0
        """All the time that procs were queued, of those that began."""
        self.began = 0

    def arrived(self, phase: ProcPhase) -> None:
        """A proc was spawned."""
        self.spawned += 1
        self.phases[phase] += 1

    def moved(self, proc: ProcState, old: ProcPhase, new: ProcPhase) -> None:
        """A proc is in another phase, in which it may hold what it reserved."""
        self.phases[old] -= 1
        self.phases[new] += 1
        sign = _holds(new) - _holds(old)
        self.reserved_mcpu += sign * proc.spec.mcpu
        self.reserved_mem_mb += sign * proc.spec.mem_mb

    def has_begun(self, proc: ProcState) -> None:
        """A process runs a proc: its time in the queue is over."""
        self.began += 1
        self.wait_s += max(proc.began_s - proc.spec.spawned_s, 0.0)

    def exited(self, status: Status) -> None:
        """A proc ended; ``moved`` tells of its phase."""
        self.ended["crash" if status.is_crash() else status.code.name.lower()] += 1

    def collected(self) -> None:
        """An ended proc is not kept any more."""
        self.phases[ProcPhase.EXITED] -= 1

    def report(self) -> dict[str, Any]:
        """The section ``procs`` of ``.statsd``."""
        phases = {phase.value: self.phases[phase] for phase in ProcPhase}
        return {
            **phases,
            "spawned": self.spawned,
            "ended": dict(sorted(self.ended.items())),
            "reserved_mcpu": round(self.reserved_mcpu, 3),
            "reserved_mem_mb": round(self.reserved_mem_mb, 3),
            "node_cores": self.size.cores,
            "node_mem_mb": round(self.size.mem_mb),
            "queued_mean_s": self.wait_s / self.began if self.began else 0.0,
        }


def _holds(phase: ProcPhase) -> int:
    """1 if a proc in this phase has what it reserved."""
    return phase in (ProcPhase.STARTING, ProcPhase.RUNNING)
