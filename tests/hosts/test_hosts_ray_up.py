"""``ray up cluster.yaml`` as it stands, from a machine of its own, by a plain user: three hosts come up, come up again
after the head was switched off, and go."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cluster import Cluster, give_environment, shared_folders, until

from sigmaos_ray.testing.hosts import Hosts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sigmaos_ray.testing.hosts import Host

pytestmark = pytest.mark.soak  # some minutes: three Rays start on one machine's cores

ELECTED = """
from sigmaos_ray import SigmaClnt
from sigmaos_ray.electclnt import ElectClnt
with SigmaClnt() as sc, ElectClnt(sc, "name/elected"):
    print("elected")
"""


@pytest.fixture(scope="module")
def raised(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three hosts that ``ray up`` brought up, and the desk from where it was called."""
    names, directory = ["head", "worker-1", "worker-2", "desk"], tmp_path_factory.mktemp("raised")
    with Hosts(names, directory=directory, network="10.78.3", shared=shared_folders()) as hosts:
        for host in hosts:
            give_environment(host, with_project=False)
        cluster = Cluster(hosts)
        cluster.ray_up()
        yield cluster


def installed(host: Host) -> str:
    """Which installation of the project a host has."""
    return host.run("ls -id --full-time ~/sigmaos-venv/lib/python3.11/site-packages/sigmaos_ray-*").stdout


def test_a_user_who_logs_in_finds_the_commands(raised: Cluster) -> None:
    desk = raised["desk"]
    assert "realm" in desk.run("ssh head sigmaos status").stdout
    assert "realm" in raised.on_desk("ray exec cluster.yaml 'sigmaos status'")


def test_what_was_acknowledged_outlives_a_head_that_is_switched_off(raised: Cluster) -> None:
    head = raised.head
    raised.sigmaos(head, "put - name/kept", stdin="kept\n")
    raised.sigmaos(head, "put - name/ux/~local/kept", stdin="kept, too\n")
    raised.sigmaos(head, "kv start --members 2")
    raised.sigmaos(head, "kv put answer 42")
    raised.switch_off_and_on(head)
    before = {host.name: installed(host) for host in raised.machines}
    raised.on_desk("ray up -y --no-config-cache cluster.yaml")
    raised.wait_serving()
    assert {host.name: installed(host) for host in raised.machines} == before
    assert raised.sigmaos(head, "cat name/kept") == "kept\n"
    assert raised.sigmaos(head, "cat name/ux/~local/kept") == "kept, too\n"
    assert raised.python(head, ELECTED) == "elected\n"
    raised.sigmaos(head, "kv start --members 2")
    assert raised.sigmaos(head, "kv get answer") == "42"
    raised.sigmaos(head, "kv stop")


def test_nothing_is_left(raised: Cluster) -> None:
    """The last one: it takes the cluster down."""
    raised.on_desk("ray exec cluster.yaml 'sigmaos stop'")
    raised.on_desk("ray down -y cluster.yaml")
    # The workers' Rays end by themselves when the head has not answered for a while.
    until(lambda: not raised.left(), raised.left)
