"""Semaphores, locks, leaders and durable tasks, beside kazoo's recipes and a Redis list.

Claims: a semaphore's down and up cost at most what kazoo's cost; a new leader acts at most its lease's time-out and 1 s
after the old one was killed; 1,000 tasks of no work go through the task server with four workers at half the rate, at
least, of a bare Redis list, which keeps nothing when its machine fails.
"""

from __future__ import annotations

import itertools
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

import redis
from kazoo.client import KazooClient
from measure import compare
from peers import PeerMissing

from sigmaos_ray.ft.fttask import FtTaskClnt, FtTaskSrvMgr
from sigmaos_ray.instance import STATE_FILE_NAME
from sigmaos_ray.leaderclnt import LeaderClnt
from sigmaos_ray.lockclnt import Lock
from sigmaos_ray.semclnt import Semaphore

if TYPE_CHECKING:
    from collections.abc import Callable

    from measure import Work

    from sigmaos_ray.testing import Tstate

DIR: Final = "name/bench-coordination"
TIMES: Final = 100
TASKS: Final = 1_000
WORKERS: Final = 4
BATCH: Final = 50
LEADERS: Final = 3

numbers = itertools.count()


def beside_kazoo(
    what: str, ours: Work, zookeeper_port: int | PeerMissing, theirs: Callable[[KazooClient], Work], goal: float | None
) -> None:
    if isinstance(zookeeper_port, PeerMissing):
        compare(what, ("ours", ours), None, times=TIMES, missing=str(zookeeper_port))
        return
    client = KazooClient(f"127.0.0.1:{zookeeper_port}")
    client.start()
    try:
        compare(what, ("ours", ours), ("kazoo", theirs(client)), times=TIMES, goal=goal)
    finally:
        client.stop()
        client.close()


def test_a_semaphore(instance: Tstate, zookeeper_port: int | PeerMissing) -> None:
    sc = instance.sc
    sc.mkdir(DIR)

    def ours(times: int) -> None:
        for _ in range(times):
            semaphore = Semaphore(sc, f"{DIR}/sem")
            semaphore.init()
            semaphore.up()
            semaphore.down()

    def theirs(client: KazooClient) -> Work:
        semaphore = client.Semaphore("/semaphore")

        def work(times: int) -> None:
            for _ in range(times):
                semaphore.acquire()
                semaphore.release()

        return work

    try:
        beside_kazoo("semaphore, down and up", ours, zookeeper_port, theirs, 1.0)
    finally:
        sc.rmdir(DIR)


def test_a_lock(instance: Tstate, zookeeper_port: int | PeerMissing) -> None:
    sc = instance.sc
    sc.mkdir(DIR)
    lock = Lock(sc, f"{DIR}/lock")

    def ours(times: int) -> None:
        for _ in range(times):
            with lock:
                pass

    def theirs(client: KazooClient) -> Work:
        lock = client.Lock("/lock")

        def work(times: int) -> None:
            for _ in range(times):
                with lock:
                    pass

        return work

    try:
        beside_kazoo("lock, acquire and release", ours, zookeeper_port, theirs, None)
    finally:
        sc.rmdir(DIR)


def test_a_new_leader_acts(instance: Tstate) -> None:
    """The old one is killed; the new one waits to be elected and then writes under its fence."""
    sc = instance.sc
    sc.mkdir(DIR)
    lease_s = sc.asynchronous.config.lease.ttl_s
    state_file = str(Path(instance.instance.state_dir) / STATE_FILE_NAME)
    delays_s = []
    try:
        for number in range(LEADERS):
            pn = f"{DIR}/leader{number}"
            command = [sys.executable, str(Path(__file__).with_name("leader_child.py")), state_file, pn]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as old:
                assert old.stdout is not None
                assert old.stdout.readline() == "leads\n"
                killed_s = [0.0]
                timer = threading.Timer(0.5, _kill, (old, killed_s))
                timer.start()
                leader = LeaderClnt(sc, pn)
                leader.lead_and_fence(b"new", [DIR])
                sc.put_file(f"{DIR}/work{number}", b"acts")
                delays_s.append(time.monotonic() - killed_s[0])
                timer.join()
                leader.release_leadership()
                leader.unfence()
    finally:
        sc.rmdir(DIR)
    goal_s = lease_s + 1.0
    told = f"{', '.join(f'{delay_s:.2f}' for delay_s in delays_s)} s, median {median(delays_s):.2f} s"
    met = "met" if max(delays_s) <= goal_s else "NOT met"
    print(f"\n  new leader acts after the old one was killed: {told}, goal <= {goal_s:g} s {met}")


def _kill(process: subprocess.Popen[str], killed_s: list[float]) -> None:
    killed_s[0] = time.monotonic()
    os.kill(process.pid, signal.SIGKILL)


def test_tasks(instance: Tstate, redis_port: int | PeerMissing) -> None:
    """Each worker is a client of its own, takes tasks and marks them done, until none is left."""
    service_id = f"bench-{secrets.token_hex(3)}"
    manager = FtTaskSrvMgr(instance.sc, service_id)
    clients = [instance.new_clnt(f"worker{number}") for number in range(WORKERS)]
    with manager:
        submitter = FtTaskClnt(instance.sc, service_id)

        def ours(times: int) -> None:
            ids = [next(numbers) for _ in range(times)]
            submitter.submit_tasks(dict.fromkeys(ids, b""))
            done = [0] * WORKERS

            def work(number: int) -> None:
                clnt = FtTaskClnt(clients[number], service_id)
                while acquired := clnt.acquire_tasks(wait=False, limit=BATCH).ids:
                    clnt.add_task_outputs(dict.fromkeys(acquired, b""))
                    done[number] += len(acquired)

            in_threads(work)
            assert sum(done) == times

        what = f"tasks, {WORKERS} workers, {BATCH} at a time"
        if isinstance(redis_port, PeerMissing):
            compare(what, ("fttask", ours), None, times=TASKS, rounds=5, missing=str(redis_port), rates=True)
        else:
            peer = ("Redis list", redis_work(redis_port))
            compare(what, ("fttask", ours), peer, times=TASKS, rounds=5, goal=0.5, rates=True)
    manager.clear()
    for client in clients:
        client.close()


def redis_work(port: int) -> Work:
    """BRPOPLPUSH from a list of what is to do to one of what is done, one by one, as such a queue is used."""

    def work(times: int) -> None:
        connections = [redis.Redis(port=port) for _ in range(WORKERS)]
        connections[0].lpush("todo", *range(times))
        moved = [0] * WORKERS

        def take(number: int) -> None:
            while connections[number].brpoplpush("todo", "done", timeout=0.01) is not None:
                moved[number] += 1

        in_threads(take)
        assert sum(moved) == times
        connections[0].delete("done")
        for connection in connections:
            connection.close()

    return work


def in_threads(work: Callable[[int], None]) -> None:
    threads = [threading.Thread(target=work, args=(number,)) for number in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
