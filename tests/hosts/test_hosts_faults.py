"""Hosts that are cut off, crash, come back and are added, and boot that is killed: what had been acknowledged is there,
and all hosts serve again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cluster import until

if TYPE_CHECKING:
    from cluster import Cluster

pytestmark = pytest.mark.soak

UX = ".local/state/sigmaos-ray/ux"


@pytest.fixture(autouse=True)
def _kept(cluster: Cluster) -> None:
    """Files that each fault must leave: in named, and on each host."""
    cluster.sigmaos(cluster.head, "put - name/kept", stdin="kept\n")
    for host in cluster.machines:
        cluster.sigmaos(cluster.head, f"put - name/ux/{cluster.node_of(host)['id']}/kept", stdin=f"on {host.name}\n")


def check_kept(cluster: Cluster) -> None:
    cluster.wait_serving()
    assert cluster.sigmaos(cluster.head, "cat name/kept") == "kept\n"
    for host in cluster.machines:
        pn = f"name/ux/{cluster.node_of(host)['id']}/kept"
        assert cluster.sigmaos(cluster.workers[0], f"cat {pn}") == f"on {host.name}\n"


@pytest.mark.parametrize("number", [0, 1])
def test_a_worker_that_is_cut_off_and_healed(cluster: Cluster, number: int) -> None:
    lost = cluster.workers[number]
    lost.cut()
    until(lambda: lost.address not in cluster.nodes())
    assert cluster.sigmaos(cluster.head, "cat name/kept") == "kept\n"
    lost.heal()
    check_kept(cluster)


@pytest.mark.parametrize("number", [0, 1])
def test_a_worker_that_crashes(cluster: Cluster, number: int) -> None:
    """It is not back before somebody calls ``ray start`` there: ``ray up`` does, or the user."""
    lost = cluster.workers[number]
    lost.crash()
    until(lambda: lost.address not in cluster.nodes())
    assert cluster.sigmaos(cluster.head, "cat name/kept") == "kept\n"
    lost.boot()
    cluster.start_worker(lost)
    check_kept(cluster)


def test_a_head_that_is_cut_off_and_healed(cluster: Cluster) -> None:
    cluster.head.cut()
    until(lambda: not cluster.serving() & {host.address for host in cluster.workers})
    cluster.head.heal()
    check_kept(cluster)


def test_a_head_that_crashes(cluster: Cluster) -> None:
    """The workers join the new Ray by themselves."""
    cluster.switch_off_and_on(cluster.head)
    cluster.start_head()
    check_kept(cluster)


def test_boot_that_is_killed(cluster: Cluster) -> None:
    cluster.head.run(f"kill -9 {cluster.status()['boot_pid']}")
    cluster.sigmaos(cluster.head, "start")
    check_kept(cluster)


def test_a_host_that_is_added_and_taken_away(cluster: Cluster) -> None:
    spare = cluster["spare"]
    cluster.start_worker(spare)
    cluster.wait_serving(spare)
    cluster.sigmaos(cluster.head, f"put - name/ux/{cluster.node_of(spare)['id']}/new", stdin="new\n")
    assert (spare.home / UX / "new").read_text() == "new\n"
    cluster.run(spare, "ray stop")
    until(lambda: spare.address not in cluster.nodes())
    until(lambda: not cluster.left(spare), lambda: cluster.left(spare))
    check_kept(cluster)
