"""What holds for an instance of several hosts: servers that are reached from elsewhere, procs that run elsewhere, and a
host that is lost."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from cluster import until

if TYPE_CHECKING:
    from cluster import Cluster

UX = ".local/state/sigmaos-ray/ux"
EVERY_END = {"0": "OK", "7": "exit status 7", "killed": "signal: killed"}


def test_local_is_the_host_where_a_client_runs(cluster: Cluster) -> None:
    for host in (cluster.head, cluster.workers[0]):
        cluster.sigmaos(host, f"put ~/.profile name/ux/~local/of-{host.name}")
        assert [each.name for each in cluster.machines if (each.home / UX / f"of-{host.name}").exists()] == [host.name]


def test_servers_are_called_from_other_hosts(cluster: Cluster) -> None:
    ids = {node["id"]: address for address, node in cluster.nodes().items()}
    for line in cluster.program(cluster.head, "echoes", *ids):
        kernel_id, _, address = line.partition(" ")
        assert address.rpartition(":")[0] == ids.pop(kernel_id)
    assert not ids


def test_a_proc_ends_on_another_host_as_it_would_here(cluster: Cluster) -> None:
    lines = [json.loads(line) for line in cluster.program(cluster.head, "endings", *EVERY_END)]
    assert len({kernel_id for _, kernel_id, *_ in lines}) == 3  # each has a host for itself: all but one are elsewhere
    for how, _, _, status, _ in lines:
        assert EVERY_END[how] in status


@pytest.mark.soak  # a minute and a half
def test_a_host_that_falls_silent_is_noticed_and_comes_back(cluster: Cluster) -> None:
    lost = cluster.workers[1]
    lost_id = cluster.node_of(lost)["id"]
    waiting = cluster.start_program(cluster.head, "waiting", "3", *(node["id"] for node in cluster.nodes().values()))
    waiting.wait("all run")
    places = {pid: kernel_id for _, _, pid, kernel_id, _ in waiting.told("running")}
    there = [pid for pid, kernel_id in places.items() if kernel_id == lost_id]
    elsewhere = places.keys() - set(there)
    lost.cut()
    # One that the head's schedd had put there, and one of its own schedd.
    assert len(there) == 2
    for pid in there:
        [[_, _, _, status]] = waiting.wait("ended", pid)
        assert "node lost" in status
    until(lambda: lost.address not in cluster.nodes())
    assert lost_id not in cluster.sigmaos(cluster.head, "ls name/ux")
    assert not any(waiting.told("ended", pid) for pid in elsewhere)
    lost.heal()
    cluster.wait_serving(lost)
    for pid in elsewhere:
        cluster.sigmaos(cluster.head, f"evict {pid}")
    waiting.close()
    cluster.sigmaos(cluster.head, f"put ~/.profile name/ux/{cluster.node_of(lost)['id']}/back")
    assert (lost.home / UX / "back").exists()
