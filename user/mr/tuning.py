"""What MapReduce can be tuned by: each value with its unit and its reason. Durations are in seconds, sizes in bytes.

What a job may choose for itself is in ``job`` and ``app``.
"""

from __future__ import annotations

from typing import Final

import msgspec


class MrClntTuning(msgspec.Struct, frozen=True):
    """Of who runs a job."""

    maps_max: int = 10_000
    """Map tasks of one job: reducers read a list of as many directories, which must fit into a file of named."""
    submit_bytes: int = 400_000
    """Of one request to a task server, about; it takes 900 KB."""
    again_s: float = 0.2
    """Between two tries to read the result while named is away."""
    result_late_s: float = 15.0
    """How long a result may be on its way when all coordinators have ended: those of a leader that crashed."""


class MrCoordTuning(msgspec.Struct, frozen=True):
    """Of coordinators."""

    progress_s: float = 0.2
    """How often progress is written."""
    kill_s: float = 0.5
    """How long a task that is not wanted any more may take to end."""
    client_s: float = 3.0
    """A client that lives has ended the servers by then, and evicted the coordinators."""
    end_s: float = 10.0
    """How long a coordinator or a task server may take to end once it was evicted; then it is killed."""
    outputs_count: int = 1000
    """Outputs of tasks that are asked for at once: a reply is a message of the protocol."""
    rounds_max: int = 1_000_000
    """Of one leader: so many numbers are its own, for the lists of inputs that it writes."""
    errors_max: int = 4
    """A task whose program says so often that it cannot goes wrong for a reason that another try does not cure."""
    losses_max: int = 40
    """A task may be lost, with its process or its node, so often: by faults, or since it kills its process itself."""
    stats_bytes_max: int = 900_000
    """Of the file of statistics: named takes files of 1 MiB."""


class MrTaskTuning(msgspec.Struct, frozen=True):
    """Of mappers and reducers."""

    split_bytes: int = 10 << 20
    """Of the parts that files are cut into before they are put into bins."""
    tail_bytes: int = 4 << 10
    """What is read behind a split at first, for its last record: most are shorter. It doubles, up to ..."""
    tail_bytes_max: int = 1 << 20
    """... so much."""
    combine_values: int = 256
    """So many values of one key are combined into one."""
    reads_ahead: int = 8
    """Files that a reducer reads at a time."""


CLNT: Final = MrClntTuning()
COORD: Final = MrCoordTuning()
TASK: Final = MrTaskTuning()
