"""etcd with a member on each of three hosts, and nameds on two: any host may go, the head among them.

| what happens | what holds | test |
|---|---|---|
| three hosts | a member on each; the standby elsewhere than the leader | test_each_host_has_a_member |
| the leader's host falls silent | a client that knows addresses alone goes on | test_the_leaders_host_is_cut_off |
| the head is powered off | names and writes go on; all is there when it is back | test_the_head_is_powered_off |
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from cluster import Cluster, give_environment, shared_folders, until

from sigmaos_ray.config import NAMED_PORT
from sigmaos_ray.testing.hosts import Hosts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster import Running

    from sigmaos_ray.testing.hosts import Host

pytestmark = pytest.mark.soak

STALL_S_MAX = 30.0
"""A bound, not a measure: what it is on a machine that is not busy stands in docs/etcd.md."""


def _host_at_its_port(address: str) -> str:
    host, _, port = address.rpartition(":")
    return host if port == str(NAMED_PORT) else ""


class ClusterOfMembers(Cluster):
    """Started as docs/etcd.md says for an instance that bears the loss of its head."""

    def cluster_yaml(self) -> str:
        text = super().cluster_yaml()
        for before, after in (
            ("sigmaos start\n", "sigmaos start --etcd-members 3 --named-count 2\n"),
            ("RAY_USAGE_STATS_ENABLED=0\n", "RAY_USAGE_STATS_ENABLED=0 RAY_gcs_rpc_server_reconnect_timeout_s=600\n"),
        ):
            assert before in text
            text = text.replace(before, after)
        return text

    def member_hosts(self) -> set[str]:
        return {endpoint.rpartition(":")[0] for endpoint in self.status()["etcd_endpoints"]}

    def wait_members(self) -> None:
        until(lambda: len(self.member_hosts()) == 3, self.member_hosts)

    def leader(self) -> Host:
        """The host of the named that leads."""
        address = self.status()["named"]["addrs"][0].rpartition(":")[0]
        [host] = (host for host in self.machines if host.address == address)
        return host

    def nameds(self) -> set[str]:
        return set(self.status()["named"]["addrs"])

    def wait_nameds(self) -> None:
        """Blocks until they are on two hosts, at the port that clients know."""
        until(lambda: len(hosts := [*map(_host_at_its_port, self.nameds())]) == len({*hosts} - {""}) == 2, self.nameds)


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterOfMembers]:
    names, directory = ["head", "worker-1", "worker-2", "desk"], tmp_path_factory.mktemp("members")
    with Hosts(names, directory=directory, network="10.78.5", shared=shared_folders()) as made:
        for host in made:
            give_environment(host, with_project=True)
        cluster = ClusterOfMembers(made)
        cluster.start_by_hand()
        cluster.wait_members()
        cluster.wait_nameds()
        yield cluster


def longest_stall_s(writing: Running, since_s: float) -> float:
    """Between two writes that were acknowledged, the second of them after that moment."""
    times = [line[0] for line in writing.told("wrote")]
    return max(after - before for before, after in itertools.pairwise(times) if after > since_s)


def test_each_host_has_a_member(members: ClusterOfMembers) -> None:
    assert members.member_hosts() == {host.address for host in members.machines}
    for host in members.workers:
        assert any("etcd" in words for words in host.processes().values())
        assert "etcd" in members.node_of(host)["services"]


def test_the_leaders_host_is_cut_off(members: ClusterOfMembers) -> None:
    """Ray's part of the head lives, so boot tells who leads; the client asks the nameds that it knows."""
    members.sigmaos(members.head, "put ~/.profile name/before-the-cut")
    leader = members.leader()
    other = next(host for host in members.workers if host is not leader)
    writing = members.start_program(other, "writing")
    writing.wait("wrote", count=20)
    cut_s = writing.told("wrote")[-1][0]
    leader.cut()
    count = len(writing.told("wrote"))
    writing.wait("wrote", count=count + 30)
    stall_s = longest_stall_s(writing, cut_s)
    print(f"named's host {leader.name} cut off: no write for {stall_s:.1f} s")
    healed_s = writing.told("wrote")[-1][0]
    leader.heal()
    members.wait_serving()
    members.wait_members()
    members.wait_nameds()
    members.sigmaos(members.head, "put ~/.profile name/stop-writing")
    writing.close()
    # Ray had given up the workers, and their members with it: they join anew now.
    print(f"{leader.name} healed: no write for {longest_stall_s(writing, healed_s):.1f} s")
    assert stall_s < STALL_S_MAX
    assert "before-the-cut" in members.sigmaos(members.head, "ls name/")


def test_the_head_is_powered_off(members: ClusterOfMembers) -> None:
    worker = members.workers[0]
    named = ",".join(members.nameds())
    members.sigmaos(worker, "put ~/.profile name/before-the-crash")
    writing = members.start_program(worker, "writing")
    writing.wait("wrote", count=20)
    crash_s = writing.told("wrote")[-1][0]
    members.head.crash()
    count = len(writing.told("wrote"))
    writing.wait("wrote", count=count + 30)
    stall_s = longest_stall_s(writing, crash_s)
    print(f"the head powered off: no write for {stall_s:.1f} s")
    members.run(worker, f"SIGMAOS_NAMED={named} sigmaos put ~/.profile name/while-it-was-off")
    members.run(worker, f"SIGMAOS_NAMED={named} sigmaos put ~/.profile name/stop-writing")
    writing.close()
    written = writing.told("wrote")[-1][2]
    members.head.boot()
    members.start_head()
    members.wait_serving()
    members.wait_members()
    members.wait_nameds()
    names = members.sigmaos(members.head, "ls name/")
    assert "before-the-crash" in names
    assert "while-it-was-off" in names
    assert members.sigmaos(members.head, "cat name/written") == written
    assert stall_s < STALL_S_MAX
