"""How soon a watcher hears of a change.

Claim: at most two round trips after the change was asked for, on a server that need not wait for its store (memfs). On
named, which commits to etcd first, the figure is from the moment at which the change was acknowledged.
"""

from __future__ import annotations

import itertools
import queue
import threading
import time
from statistics import median
from typing import TYPE_CHECKING, Final

import pytest
from measure import Comparison, Series

from sigmaos_ray import SigmaClnt
from sigmaos_ray.proc import Proc
from sigmaos_ray.testing.tstate import clnt_env

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sigmaos_ray.testing import Tstate

ROUNDS: Final = 7
TIMES: Final = 100
SERVER: Final = "name/bench-watched"


class Watcher:
    """A thread with a client of its own that notes when each event came."""

    def __init__(self, tstate: Tstate, directory: str) -> None:
        self._sc = SigmaClnt(clnt_env(tstate.instance, "bench-watcher"))
        self._directory = directory
        self.heard: queue.Queue[tuple[str, float]] = queue.Queue()
        self._set = threading.Event()
        self._thread = threading.Thread(target=self._main)
        self._thread.start()
        self._set.wait()

    def _main(self) -> None:
        with self._sc.watch_dir(self._directory) as watch:
            self._set.set()
            for event in watch:
                self.heard.put((event.name, time.perf_counter()))
                if event.name == "end":
                    return

    def close(self) -> None:
        self._thread.join()
        self._sc.close()


@pytest.fixture(scope="module")
def memfs_server(instance: Tstate) -> Iterator[str]:
    """A proc that serves an empty tree in memory."""
    proc = Proc("memfs", [SERVER])
    instance.sc.spawn(proc)
    instance.sc.wait_start(proc.pid)
    yield SERVER
    instance.sc.evict(proc.pid)
    instance.sc.wait_exit(proc.pid)


def notified(tstate: Tstate, directory: str, *, after_ack: bool) -> None:
    sc = tstate.sc
    sc.mkdir(directory)
    watcher = Watcher(tstate, directory)
    numbers = itertools.count()
    delays: list[float] = []
    trips: list[float] = []
    try:
        for _ in range(ROUNDS):
            delay_s, trip_s = _round(sc, directory, watcher, numbers, after_ack=after_ack)
            delays.append(delay_s)
            trips.append(trip_s)
    finally:
        sc.put_file(f"{directory}/end", b"")
        watcher.close()
        sc.rmdir(directory)
    what = "from the acknowledgement to the event" if after_ack else "from the call to the event"
    found = Comparison(what, Series(directory, delays), Series("round trip", trips), goal=2.0)
    print(f"\n  {found}")


def _round(
    sc: SigmaClnt, directory: str, watcher: Watcher, numbers: Iterator[int], *, after_ack: bool
) -> tuple[float, float]:
    delays: list[float] = []
    trips: list[float] = []
    for number in itertools.islice(numbers, TIMES):
        asked_s = time.perf_counter()
        sc.put_file(f"{directory}/{number}", b"")
        acked_s = time.perf_counter()
        name, heard_s = watcher.heard.get(timeout=10)
        assert name == str(number)
        # An event may overtake the acknowledgement: then it took no time at all.
        delays.append(max(1e-6, heard_s - acked_s) if after_ack else heard_s - asked_s)
        asked_s = time.perf_counter()
        sc.get_file(f"{directory}/{number}")
        trips.append(time.perf_counter() - asked_s)
    return median(delays), median(trips)


def test_memfs(instance: Tstate, memfs_server: str) -> None:
    notified(instance, f"{memfs_server}/d", after_ack=False)


def test_named(instance: Tstate) -> None:
    notified(instance, "name/bench-watches", after_ack=True)
