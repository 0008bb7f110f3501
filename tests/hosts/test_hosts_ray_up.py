"""``ray up cluster.yaml`` as it stands, from a machine of its own, by a plain user: three hosts come up, and go."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sigmaos_ray.testing.hosts import Host, Hosts

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.soak  # some minutes: three Rays start on one machine's cores

ROOT = Path(__file__).parents[2]
NETWORK = "10.78.3"
PLACEHOLDERS = {
    "WORKER_ADDRESS_1": f"{NETWORK}.2",
    "WORKER_ADDRESS_2": f"{NETWORK}.3",
    "HEAD_ADDRESS": f"{NETWORK}.1",
    "USER": "ray",
    "KEY_FILE": "~/.ssh/id_ed25519",
}
WITHIN_S = 180.0
"""A bound for what must come at all, however busy the machine is."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """Three hosts that ``ray up`` brought up, and the desk from where it was called."""
    packages, scripts = Path(sysconfig.get_path("purelib")), Path(sys.executable).parent
    names = ["head", "worker-1", "worker-2", "desk"]
    directory = tmp_path_factory.mktemp("cluster")
    with Hosts(names, directory=directory, network=NETWORK, shared=[scripts.parent]) as hosts:
        for host in hosts:
            host.give_packages(packages, scripts, without=("sigmaos",))
        desk = hosts["desk"]
        desk.give_key()
        _put_project(desk)
        desk.run("ray get-auth-token --generate")
        desk.run("cd sigmaos-ray && ray up -y --no-config-cache cluster.yaml", timeout_s=WITHIN_S)
        yield hosts


def _put_project(desk: Host) -> None:
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in files.splitlines():
        desk.put(ROOT / name, f"sigmaos-ray/{name}")
    text = (ROOT / "cluster.yaml").read_text()
    for placeholder, value in PLACEHOLDERS.items():
        text = text.replace(placeholder, value)
    desk.write("sigmaos-ray/cluster.yaml", text)


def _sigmaos(host: Host, words: str) -> str:
    """A command of a user who logged in to that host."""
    return host.run(["bash", "-ic", f"sigmaos {words}"], timeout_s=WITHIN_S).stdout


def _nodes(hosts: Hosts) -> dict[str, set[str]]:
    """Address -> services, of the kernel nodes that run."""
    status: dict[str, Any] = json.loads(_sigmaos(hosts["head"], "status --json"))
    return {node["host"]: set(node["services"]) for node in status["kernel_nodes"]}


def test_three_hosts_come_up_and_go(cluster: Hosts) -> None:
    addresses = {f"{NETWORK}.{number}" for number in (1, 2, 3)}
    deadline_s = time.monotonic() + WITHIN_S
    while (nodes := _nodes(cluster)).keys() != addresses or not all("ux" in each for each in nodes.values()):
        assert time.monotonic() < deadline_s, nodes
    # Each host's files are its own, and reached from any other by name.
    entries = _sigmaos(cluster["head"], "ls name/ux").replace("/", "").split()
    assert len(entries) == len(addresses)
    for entry in entries:
        _sigmaos(cluster["head"], f"put ~/.bashrc name/ux/{entry}/copy")
    copies = [(host.home / ".local/state/sigmaos-ray/ux/copy").exists() for host in cluster if host.name != "desk"]
    assert copies == [True] * 3

    desk = cluster["desk"]
    desk.run("cd sigmaos-ray && ray exec cluster.yaml 'sigmaos stop'", timeout_s=WITHIN_S)
    desk.run("cd sigmaos-ray && ray down -y cluster.yaml", timeout_s=WITHIN_S)
    # The workers' Rays end by themselves once the head's has not answered for a minute.
    while left := [words for host in cluster if host.name != "desk" for words in host.processes().values()]:
        assert time.monotonic() < deadline_s + WITHIN_S, left
