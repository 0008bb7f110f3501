"""``docs/remote.md`` by hand, word for word: each block of commands on the machines that it names."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import pytest
from cluster import ROOT, Cluster, give_environment, shared_folders, until

from sigmaos_ray.testing.hosts import Hosts

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.soak

BLOCK = re.compile(r"^```sh (\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


class Block(NamedTuple):
    """Commands, and on which machines they are given: ``desk``, ``head``, ``worker`` or ``every``."""

    where: str
    commands: str


def blocks(heading: str) -> list[Block]:
    """Those of one section."""
    text = (ROOT / "docs" / "remote.md").read_text()
    [section] = [part for part in text.split("\n## ") if part.startswith(heading)]
    return [Block(*found) for found in BLOCK.findall(section)]


@pytest.fixture
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Machines with Debian's packages, and those that pip would fetch."""
    names, directory = ["head", "worker-1", "worker-2", "desk"], tmp_path_factory.mktemp("document")
    with Hosts(names, directory=directory, network="10.78.8", shared=shared_folders()) as hosts:
        for host in hosts:
            give_environment(host, with_project=False)
        yield Cluster(hosts)


def give(cluster: Cluster, block: Block) -> None:
    """As a user would who logs in and types them."""
    groups = {"desk": [cluster["desk"]], "head": [cluster.head], "worker": cluster.workers, "every": cluster.machines}
    words = block.commands.replace("HEAD_ADDRESS", cluster.head.address)
    where = "cd ~/sigmaos-ray\n" if block.where == "desk" else ""
    for host in groups[block.where]:
        cluster.run(host, f"set -e\n{where}{words}")


def test_by_ray_up(bare: Cluster) -> None:
    bare.prepare_desk()
    for block in blocks("By `ray up`"):
        give(bare, block)
        if "ray up" in block.commands:
            bare.wait_serving()
    until(lambda: not bare.left(), bare.left)


def test_by_hand(bare: Cluster) -> None:
    for host in bare.machines:
        bare.put_project(host)
        host.write(".ray/auth_token", "a" * 64)
        host.run("chmod 600 ~/.ray/auth_token")
    for block in blocks("By hand"):
        give(bare, block)
    bare.wait_serving()
    bare.sigmaos(bare.head, "spawn --wait example")
