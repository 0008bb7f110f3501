"""What caches can be told by name."""

from __future__ import annotations

from sigmaos_ray.selectors import Selectors

SELECTORS = Selectors(
    debug={
        "CACHESRV": "cache servers",
        "CACHECLNT": "cache: clients, and who starts and changes one",
    },
)
