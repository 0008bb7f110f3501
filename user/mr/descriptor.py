"""What MapReduce can be told by name."""

from __future__ import annotations

from sigmaos_ray.selectors import Selectors

SELECTORS = Selectors(
    debug={
        "MR_COORD": "MapReduce: the coordinator",
    },
    faults={
        "MRCOORD_CRASH": "event: a coordinator of MapReduce ends",
        "MRCOORD_PARTITION": "event: a coordinator of MapReduce loses named",
        "MRMAP_CRASH": "event: a mapper ends",
        "MRMAP_PARTITION": "event: a mapper loses named",
        "MRREDUCE_CRASH": "event: a reducer ends",
        "MRREDUCE_PARTITION": "event: a reducer loses named",
    },
)
