"""What the echo server can be told by name."""

from __future__ import annotations

from sigmaos_ray.selectors import Selectors

SELECTORS = Selectors(
    debug={
        "ECHO_SERVER": "the echo server of exercise 5",
    },
    perf={
        "ECHO_SERVER": "the echo server that records its calls, profiled.py",
    },
)
