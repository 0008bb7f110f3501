"""A group of procs and a task service on a whole instance whose members, workers, schedd and nameds are killed again
and again: the group has exactly its members again each time, and each task is done once (L-40, FT-3).

Long, so it runs with `make soak`. Seeded: SIGMAOS_SOAK_SEED repeats a run's choices; SIGMAOS_SOAK_KILLS sets how many.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

import psutil
import pytest

from sigmaos_ray import SigmaClnt, Status, serr
from sigmaos_ray.ft.fttask import FtTaskClnt, FtTaskSrvMgr
from sigmaos_ray.ft.procgroupmgr import ProcGroupMgr
from sigmaos_ray.testing import Tstate

if TYPE_CHECKING:
    from collections.abc import Callable

KILLS = int(os.environ.get("SIGMAOS_SOAK_KILLS", "200")) // 10
WITHIN_S = 60.0
MEMBERS_COUNT = 3
PARTS = {"named", "named-standby", "schedd"}
JOB = "soak-group"
DIR = f"name/{JOB}"
SERVICE = "soak-tasks"


def member(argv: list[str]) -> Status:
    """Leaves a file ``<number>.<process>``, and waits to be evicted."""
    with SigmaClnt() as sc:
        number = os.environ["SIGMAREPL"].partition(",")[0]
        sc.put_file(f"name/{argv[0]}/{number}.{os.getpid()}", b"")
        sc.started()
        sc.wait_evict()
    return Status.evicted()


def until(condition: Callable[[], bool], state: Callable[[], object] = lambda: "") -> None:
    """Waits for a state that nobody announces outside of the instance; ``state`` says what was there instead."""
    deadline_s = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline_s, f"the state was not reached: {state()}"
        time.sleep(0.1)


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def members(sc: SigmaClnt) -> dict[int, str]:
    """Which processes of members live, and the number of each."""
    entries = [stat.name.split(".") for stat in sc.get_dir(DIR)]
    return {int(pid): number for number, pid in entries if lives(int(pid))}


def is_whole(sc: SigmaClnt) -> bool:
    return sorted(members(sc).values()) == [str(number) for number in range(MEMBERS_COUNT)]


def services(ts: Tstate) -> dict[str, int]:
    return {role: info.pid for role, info in ts.instance.kernel_nodes[0].services.items()}


class Worker(threading.Thread):
    """Does tasks until there are no more."""

    def __init__(self, ts: Tstate) -> None:
        super().__init__(name="soak-worker")
        self._sc = ts.new_clnt()
        self.done: list[int] = []

    def run(self) -> None:
        with self._sc as sc:
            clnt = FtTaskClnt(sc, SERVICE)
            while True:
                try:
                    acquired = clnt.acquire_tasks(limit=1)
                    if acquired.stopped:
                        return
                    self.done += acquired.ids
                    clnt.add_task_outputs(dict.fromkeys(acquired.ids, b""))
                except serr.Unreachable:  # it says so after half a minute
                    continue


@pytest.mark.soak
def test_a_group_is_whole_again_after_each_kill() -> None:
    seed = int(os.environ.get("SIGMAOS_SOAK_SEED", time.time_ns() % 1_000_000))
    print(f"SIGMAOS_SOAK_SEED={seed}")
    chance = random.Random(seed)
    with Tstate(("named", "schedd"), named_count=2) as ts:
        sc = ts.sc
        sc.mkdir(DIR)
        with FtTaskSrvMgr(sc, SERVICE, 2), ProcGroupMgr(sc, MEMBERS_COUNT, member, job=JOB):
            clnt = FtTaskClnt(sc, SERVICE)
            workers = [Worker(ts) for _ in range(3)]
            for worker in workers:
                worker.start()
            longest_s = 0.0
            for number in range(KILLS):
                clnt.submit_tasks(dict.fromkeys(range(number * 50, number * 50 + 50), b""))
                until(lambda: set(services(ts)) >= PARTS, lambda: services(ts))
                victim = chance.choice(["member", "member", "named", "schedd", "tasks"])
                print(f"kill {victim}", flush=True)
                kill(ts, victim, chance)
                began_s = time.monotonic()
                until(lambda: is_whole(sc), lambda: members(sc))
                longest_s = max(longest_s, time.monotonic() - began_s)
            clnt.submitted_last_task()
            for worker in workers:
                worker.join(WITHIN_S)
            done = Counter(task for worker in workers for task in worker.done)
            assert done == Counter(range(KILLS * 50))
            print(f"{KILLS} kills, {len(done)} tasks; the group was whole again within {longest_s:.1f} s")


def kill(ts: Tstate, victim: str, chance: random.Random) -> None:
    """Returns once it is dead."""
    match victim:
        case "member":
            pid = chance.choice(sorted(members(ts.sc)))
        case "tasks":
            pid = chance.choice(
                sorted(info.os_pid for info in ts.sc.procs() if "fttask" in str(info.program) and info.os_pid) or [0]
            )
        case service:
            pid = services(ts)[service]
    if pid:
        os.kill(pid, signal.SIGKILL)
        until(lambda: not lives(pid))
