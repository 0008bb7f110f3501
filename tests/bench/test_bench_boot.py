"""A full boot beside ``ray.init``, each from nothing.

Claim: at most 2.5 x ``ray.init``. What is measured of the peer is the call alone, without Python's start and imports;
of ours, all that ``sigmaos start`` does but Python's start.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from measure import Comparison, Series

from kernel.boot import start_instance, stop_instance

ROUNDS = 3
RAY_INIT = """
import time, ray
began = time.perf_counter()
ray.init(address="local", log_to_driver=False, logging_level="error")
print(time.perf_counter() - began)
ray.shutdown()
"""


def ray_init() -> float:
    done = subprocess.run([sys.executable, "-c", RAY_INIT], capture_output=True, text=True, timeout=120, check=True)
    return float(done.stdout.split()[-1])


def full_boot() -> float:
    with tempfile.TemporaryDirectory(prefix="sigmaos-bench-boot-") as state_dir:
        began = time.perf_counter()
        start_instance(Path(state_dir), own_ray=True, on_line=lambda _line: None)
        took = time.perf_counter() - began
        stop_instance(Path(state_dir))
    return took


def test_boot_beside_ray_init() -> None:
    peer, ours = zip(*((ray_init(), full_boot()) for _ in range(ROUNDS)), strict=True)
    print(f"\n  {Comparison('boot', Series('start', ours), Series('ray.init', peer), goal=2.5)}")
    assert median(ours) > 0
