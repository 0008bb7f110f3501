"""When a spawn reached which stage, by the clocks of the hosts it went through (SPAWN_LAT)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sigmaos_ray.pb import proc_pb2 as pb


class SpawnTimes:
    """What the process that runs a proc notes, for its schedd. Stamps, seconds since the epoch."""

    __slots__ = ("ended_s", "main_s", "worker_s")

    def __init__(self) -> None:
        """A worker has the proc now."""
        self.worker_s = time.time()
        self.main_s = self.ended_s = 0.0

    def main_begins(self) -> None:
        self.main_s = time.time()

    def main_ended(self) -> None:
        self.ended_s = time.time()

    def add_to(self, status: pb.ProcStatus) -> None:
        status.times.worker_s = self.worker_s
        status.times.main_s = self.main_s
        status.times.ended_s = self.ended_s
