"""What key-value stores can be told by name."""

from __future__ import annotations

from sigmaos_ray.selectors import Selectors

SELECTORS = Selectors(
    debug={
        "KVBAL": "kv: the balancer",
        "KVCLERK": "kv: clients",
        "KVGRP": "kv: servers and their groups",
        "KVMON": "kv: the monitor",
        "KVMV": "kv: moving shards",
    },
    faults={
        "KVD_CRASH": "event: a server of a key-value store ends",
        "KVD_PARTITION": "event: a server of a key-value store loses named",
        "KVBALANCER_CRASH": "event: a balancer of a key-value store ends",
        "KVBALANCER_PARTITION": "event: a balancer of a key-value store loses named",
        "KVMOVER_CREATE_CRASH": "point: a mover ends after its shard is at the destination, before it is dropped",
    },
)
