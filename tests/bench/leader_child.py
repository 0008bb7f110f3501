"""A process that leads until it is killed: ``python leader_child.py STATE_FILE PATHNAME``."""

from __future__ import annotations

import sys
import time

from sigmaos_ray import SigmaClnt
from sigmaos_ray.config import ProcEnv
from sigmaos_ray.leaderclnt import LeaderClnt

if __name__ == "__main__":
    with SigmaClnt(ProcEnv(pid="leader-child", state_file=sys.argv[1])) as sc:
        LeaderClnt(sc, sys.argv[2]).lead_and_fence(b"child", [])
        print("leads", flush=True)
        time.sleep(1e6)
