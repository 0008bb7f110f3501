"""Exercise 7: what a program costs, and what it records of that. Run it in this folder."""

from __future__ import annotations

from pathlib import Path

from sigmaos_ray import Proc
from sigmaos_ray.testing import Tstate

DIRECTORY = "name/tutorial-collector"
COUNT = 30


def test_listed_once_and_recorded(tstate_all: Tstate, tmp_path: Path) -> None:
    sc = tstate_all.sc
    sc.makedirs(DIRECTORY)
    try:
        for number in range(COUNT):
            sc.put_file(f"{DIRECTORY}/{number}", b"%d" % number)
        env = {"SIGMAPERF": "COLLECTOR_TPT;", "SIGMAOS_PERF_DIR": str(tmp_path)}
        proc = Proc("collector", [DIRECTORY], env=env)
        sc.spawn(proc)
        assert sc.wait_exit(proc.pid).data == {"total": sum(range(COUNT)), "listed": 1}
        assert len(list(tmp_path.glob("*tpt*"))) == 1
    finally:
        sc.rmdir(DIRECTORY)
