"""Procs that Ray put on another host than their schedd's: logs, profiles, and their ends when the host is lost."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest
from cluster import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster import Cluster, Running

pytestmark = pytest.mark.soak  # three hosts start on one machine's cores

CHILD = "sleep 4711"
SLOTS = 4
"""Of best-effort procs, on a host of two cores: so many of the head's fill it."""
SHORT_COUNT = 20
ONCE_COUNT = 200
SHORT_CUT_S = 3.0
"""Ray gives a host up after twice as long."""


@pytest.fixture
def spread(cluster: Cluster) -> Iterator[Running]:
    """As many procs as leave one slot free."""
    running = cluster.start_program(cluster.head, "spread", str(SLOTS * len(cluster.machines) - 1), str(SHORT_COUNT))
    running.wait("all run")
    yield running
    for pid in pids(running):
        cluster.run(cluster.head, f"sigmaos evict {pid}", check=False)
    burst(cluster)
    running.close()


def burst(cluster: Cluster) -> None:
    """Has the short procs run, unless they did."""
    cluster.run(cluster.head, "sigmaos mkdir -p name/spread/burst")


def pids(running: Running, kernel_id: str | None = None) -> list[str]:
    """The procs that run until they are evicted, on a kernel node if one is given."""
    return [pid for _, _, pid, node, _ in running.told("running") if kernel_id in (None, node)]


def test_logs_and_profiles_are_had_from_any_host(cluster: Cluster, spread: Running) -> None:
    worker = cluster.workers[0]
    pid = pids(spread, cluster.node_of(worker)["id"])[0]
    for host in (cluster.head, cluster.workers[1]):
        assert "here it is" in cluster.sigmaos(host, f"logs {pid}")
    profile = json.loads(cluster.sigmaos(cluster.head, f"perf {pid} --seconds 1 -o /tmp/perf --json"))
    assert profile["who"] == pid
    listed = {info["pid"]: info for info in json.loads(cluster.sigmaos(cluster.head, "ps --json"))}
    assert listed[pid]["node"] == cluster.node_of(worker)["id"] != listed[pid]["kernel_id"]
    assert listed[pid]["os_pid"] in worker.processes()


def test_killing_reaches_the_children_there(cluster: Cluster, spread: Running) -> None:
    worker = cluster.workers[0]
    for pid in pids(spread, cluster.node_of(worker)["id"]):
        listed = {info["pid"]: info for info in json.loads(cluster.sigmaos(cluster.head, "ps --json"))}
        worker.run(f"kill -9 {listed[pid]['os_pid']}")
        [[_, _, _, status]] = spread.wait("ended", pid)
        assert "signal: killed" in status
    until(lambda: CHILD not in worker.processes().values())
    assert CHILD in cluster.head.processes().values()


@pytest.mark.parametrize("place", ["home", "worker"])
def test_a_short_silence_costs_no_proc(cluster: Cluster, place: str) -> None:
    """Leases on other hosts than the schedd's take up their sessions again: each proc runs once, its end is told."""
    parent_host = cluster.head if place == "home" else cluster.workers[0]
    folder = "/tmp/once"
    for host in cluster.machines:
        host.run(f"rm -rf {folder}; mkdir {folder}")
    running = cluster.start_program(parent_host, "once", str(ONCE_COUNT), folder)
    running.wait("under way")
    cut = cluster.workers[1]
    cut.cut()
    time.sleep(SHORT_CUT_S)
    cut.heal()
    running.wait("all ended")
    running.close()
    assert {status for _, _, _, status in running.told("ended")} == {"OK"}
    ran = [pid for host in cluster.machines for pid in host.run(f"cat {folder}/* || true").stdout.split()]
    assert sorted(ran) == sorted(pid for _, _, pid, _ in running.told("ended"))
    assert len(ran) == ONCE_COUNT
    assert cut.run(f"ls {folder}").stdout


def test_procs_of_a_host_that_falls_silent(cluster: Cluster, spread: Running) -> None:
    """They are told as lost; what Ray was about to run there runs elsewhere; nothing goes on there once it is back."""
    lost = cluster.workers[1]
    gone = pids(spread, cluster.node_of(lost)["id"])
    assert gone
    lost.cut()
    burst(cluster)
    for pid in gone:
        [[_, _, _, status]] = spread.wait("ended", pid)
        assert "node lost" in status
    for pid in set(pids(spread)) - set(gone):
        cluster.sigmaos(cluster.head, f"evict {pid}")
    ends = spread.wait("short", count=SHORT_COUNT)
    assert {status for _, _, _, status in ends} == {"OK"}
    lost.heal()
    until(lambda: CHILD not in lost.processes().values(), lambda: lost.processes())
    cluster.wait_serving(lost)
