"""What the example program can be told by name."""

from __future__ import annotations

from sigmaos_ray.selectors import Selectors

SELECTORS = Selectors(
    debug={
        "EXAMPLE": "the example program",
    },
    perf={
        "EXAMPLE": "the example program; each program has a selector, its name in upper case",
    },
)
