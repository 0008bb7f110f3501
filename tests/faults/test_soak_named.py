"""named and etcd killed again and again while a client writes: no acknowledged write is lost (D-2, D-3, D-8).

Long, so it runs with `make soak`. Seeded: SIGMAOS_SOAK_SEED repeats a run's choices.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time

import pytest

from sigmaos_ray import serr
from sigmaos_ray.sigmap import OAPPEND, OEXCL, OWRITE
from sigmaos_ray.testing import Tstate

KILLS = 20
WITHIN_S = 30.0


class Writer(threading.Thread):
    """Makes numbered files and appends their numbers to a log, and remembers what was acknowledged."""

    def __init__(self, ts: Tstate) -> None:
        super().__init__(name="soak-writer")
        self._sc = ts.new_clnt("soak")
        self.made: list[int] = []
        self.appended: list[int] = []
        self.unknown: set[int] = set()
        self.stopping = threading.Event()

    def run(self) -> None:
        number = 0
        with self._sc as sc:
            while not self.stopping.is_set():
                number += 1
                try:
                    sc.put_file(f"name/ux/{number}", str(number).encode(), mode=OWRITE | OEXCL)
                    self.made.append(number)
                    sc.put_file("name/ux/log", f"{number}\n".encode(), mode=OWRITE | OAPPEND)
                    self.appended.append(number)
                except serr.SigmaError:
                    self.unknown.add(number)


@pytest.mark.soak
def test_no_acknowledged_write_is_lost() -> None:
    seed = int(os.environ.get("SIGMAOS_SOAK_SEED", time.time_ns() % 1_000_000))
    print(f"SIGMAOS_SOAK_SEED={seed}")
    chance = random.Random(seed)
    with Tstate(("named",)) as ts:
        writer = Writer(ts)
        writer.start()
        try:
            for _ in range(KILLS):
                _kill(ts, chance.choice(["named", "named", "etcd"]))
                _wait_for_progress(writer, chance.randint(5, 100))
        finally:
            writer.stopping.set()
            writer.join()
        there = {stat.name for stat in ts.sc.get_dir("name/ux")}
        assert {str(number) for number in writer.made} <= there
        for number in writer.made:
            assert ts.sc.get_file(f"name/ux/{number}") == str(number).encode()
        log = [int(line) for line in ts.sc.get_file("name/ux/log").split()]
        assert len(log) == len(set(log)), "an append took effect twice"
        assert set(writer.appended) <= set(log) <= set(writer.appended) | writer.unknown
        print(f"{len(writer.made)} files, {len(log)} appends, {len(writer.unknown)} unknown outcomes, {KILLS} kills")


def _kill(ts: Tstate, part: str) -> None:
    if part == "named":
        services = ts.instance.kernel_nodes[0].services
        pid = services["named"].pid if "named" in services else 0
    else:
        pid = next(child.pid for child in ts.instance.children if child.name == "etcd")
    if pid:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return


def _wait_for_progress(writer: Writer, writes: int) -> None:
    """Until so many more writes were acknowledged: the kill is survived."""
    wanted = len(writer.made) + writes
    deadline = time.monotonic() + WITHIN_S
    while len(writer.made) < wanted:
        assert time.monotonic() < deadline, "writes do not go on"
        assert writer.is_alive()
        time.sleep(0.05)
