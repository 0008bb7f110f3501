"""What servers of durable tasks can be told by name."""

from __future__ import annotations

from sigmaos_ray.selectors import Selectors

SELECTORS = Selectors(
    debug={
        "FTTASKSRV": "durable tasks: servers",
    },
    faults={
        "FTTASKSRV_CRASH": "event: a server of durable tasks ends",
        "FTTASKSRV_PARTITION": "event: a server of durable tasks loses named",
        "FTTASKSRV_SUBMIT_CRASH": "point: a server of durable tasks ends once a submission is durable, unanswered",
    },
)
