"""What a job's files say of it: its progress while it runs, its result at the end."""

from __future__ import annotations

from typing import Final

import msgspec

from sigmaos_ray import decoding
from user.mr.state import Counters


class Phase(msgspec.Struct, frozen=True):
    """Tasks of one kind."""

    total: int = 0
    done: int = 0
    running: int = 0


class Progress(msgspec.Struct, frozen=True):
    """How far a job is."""

    map: Phase = Phase()
    reduce: Phase = Phase()
    map_failures: int = 0
    reduce_failures: int = 0
    """Runs of tasks, of either kind, that came to nothing."""
    nrestart: int = 0
    """Reducers that wait for map tasks to run again, or did."""
    in_bytes: int = 0
    """Input of the map tasks that are done."""
    shuffle_bytes: int = 0


decode_progress: Final = decoding.json_decoder(Progress)


class JobResult(msgspec.Struct, frozen=True, kw_only=True):
    """How a job ended. ``outputs``: the files of its output, one for each reducer; none if it failed."""

    job: str
    ok: bool
    error: str = ""
    outputs: list[str] = []
    counters: Counters = msgspec.field(default_factory=Counters)
    input_bytes: int = 0
    duration_s: float = 0.0
    """From the start to the end of the client's call; in the job's file, of the last coordinator's lead."""
    map_s: float = 0.0
    reduce_s: float = 0.0

    @property
    def mb_per_s(self) -> float:
        """Input, in MB of a million bytes, for each second of the whole job."""
        return self.input_bytes / 1e6 / self.duration_s if self.duration_s else 0.0


decode_result: Final = decoding.json_decoder(JobResult)
