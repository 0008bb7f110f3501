"""How long each stage of a spawn took: for ``.statsd``, and a line per proc under SPAWN_LAT. Pure but for the line."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Final

from sigmaos_ray import debug
from sigmaos_ray.protsrv.latency import Latency

if TYPE_CHECKING:
    from kernel.schedd.procstate import ProcState

_log = debug.selector("SPAWN_LAT")

STAGES: Final = (
    "schedd",  # from the spawn's arrival to the hand-over to Ray: what waits, waits here or in Ray
    "ray",  # until a worker process has it
    "setup",  # until the program's main is called: environment, log, imports
    "run",
    "end",  # from main's return until the schedd hears of it
)


class SpawnStages:
    """Of one schedd. Procs that never came to their main are left out."""

    def __init__(self) -> None:
        self._latencies = {stage: Latency() for stage in STAGES}

    def ended(self, proc: ProcState, now_s: float) -> None:
        """``now_s``: when the schedd heard of it, in seconds since 1970."""
        times = proc.times
        if times is None or not times.main_s or not proc.submitted_s:
            return
        stamps = (proc.spec.spawned_s, proc.submitted_s, times.worker_s, times.main_s, times.ended_s, now_s)
        # The stamps are of several processes, maybe of two hosts: clocks that differ must not count backwards.
        took_s = [max(after - before, 0.0) for before, after in itertools.pairwise(stamps)]
        for latency, stage_s in zip(self._latencies.values(), took_s, strict=True):
            latency.add(int(stage_s * 1e9))
        if _log.on:
            stages = ", ".join(f"{stage} {stage_s * 1e3:.3f} ms" for stage, stage_s in zip(STAGES, took_s, strict=True))
            _log(f"{proc.pid} {proc.spec.program}: {stages}; total {sum(took_s) * 1e3:.3f} ms")

    def report(self) -> dict[str, Any]:
        """The section ``spawn_latency`` of ``.statsd``."""
        return {stage: latency.report() for stage, latency in self._latencies.items()}
