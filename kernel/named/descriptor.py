"""named: the root of a realm's namespace."""

from __future__ import annotations

from kernel.service import Service
from sigmaos_ray.selectors import Selectors

SERVICE = Service(
    name="named",
    actor="kernel.named.actor:NamedKernel",
    is_per_node=False,
    selectors=Selectors(
        debug={
            "NAMED": "named: requests, leadership",
            "NAMED_LDR": "named: election",
            "NAMED_STORE": "named: transactions with etcd",
        },
        faults={
            "NAMED_CRASH": "event: a candidate of named ends",
            "NAMED_PARTITION": "event: a candidate of named loses etcd",
            "NAMED_COMMIT_CRASH": "point: named ends after a write is durable, before anybody is told",
            "NAMED_COMMIT_DELAY": "point: a write of named is held up before it goes to etcd",
        },
        perf={"NAMED": "named, each candidate"},
    ),
)
