"""What forking alone allows: processes that import what a proc's process has, are forked, and end at once."""

from __future__ import annotations

import gc
import os
import sys
import time

from sigmaos_ray.runner import procmain


def main(seconds: float) -> float:
    """Forks per second of this process."""
    procmain.prepare()
    gc.collect()
    gc.freeze()
    count, began = 0, time.perf_counter()
    while (took := time.perf_counter() - began) < seconds:
        if (pid := os.fork()) == 0:
            os._exit(0)
        os.waitpid(pid, 0)
        count += 1
    return count / took


if __name__ == "__main__":
    print(main(float(sys.argv[1])))
