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
UX = ".local/state/sigmaos-ray/ux"
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


def _sigmaos(host: Host, words: str, named: str = "") -> str:
    """A command of a user who logged in to that host; ``named``: for one that has no state file."""
    return host.run(["bash", "-ic", f"SIGMAOS_NAMED={named} sigmaos {words}"], timeout_s=WITHIN_S).stdout


def _nodes(hosts: Hosts) -> dict[str, dict[str, Any]]:
    """Address -> services, of the kernel nodes that run."""
    status: dict[str, Any] = json.loads(_sigmaos(hosts["head"], "status --json"))
    return {node["host"]: node["services"] for node in status["kernel_nodes"]}


@pytest.fixture(scope="module")
def named(cluster: Hosts) -> str:
    """The address of named, once all three hosts have their kernel node."""
    deadline_s = time.monotonic() + WITHIN_S
    while not all({"ux", "schedd"} <= _nodes(cluster).get(host.address, {}).keys() for host in _machines(cluster)):
        assert time.monotonic() < deadline_s, _nodes(cluster)
    service = _nodes(cluster)[cluster["head"].address]["named"]
    return f"{service['host']}:{service['port']}"


def _machines(hosts: Hosts) -> list[Host]:
    return [host for host in hosts if host.name != "desk"]


@pytest.mark.usefixtures("named")
def test_each_hosts_files_are_its_own_and_found_by_name(cluster: Hosts) -> None:
    entries = _sigmaos(cluster["head"], "ls name/ux").replace("/", "").split()
    assert len(entries) == 3
    for entry in entries:
        _sigmaos(cluster["head"], f"put ~/.bashrc name/ux/{entry}/copy")
    assert all((host.home / UX / "copy").exists() for host in _machines(cluster))


def test_local_is_the_host_where_the_client_runs(cluster: Hosts, named: str) -> None:
    worker = cluster["worker-1"]
    _sigmaos(worker, "put ~/.profile name/ux/~local/mine", named)
    assert [host.name for host in _machines(cluster) if (host.home / UX / "mine").exists()] == ["worker-1"]


def test_a_server_on_one_host_is_called_from_another(cluster: Hosts, named: str) -> None:
    pid = _sigmaos(cluster["worker-1"], "spawn example_echo_server", named).strip()
    try:
        said = _sigmaos(cluster["head"], "spawn --wait user.example_echo_server.client 'Hello world'")
        assert "Hello world" in said
    finally:
        _sigmaos(cluster["head"], f"evict {pid}")


@pytest.mark.usefixtures("named")
def test_nothing_is_left(cluster: Hosts) -> None:
    """The last one: it takes the cluster down."""
    desk = cluster["desk"]
    desk.run("cd sigmaos-ray && ray exec cluster.yaml 'sigmaos stop'", timeout_s=WITHIN_S)
    desk.run("cd sigmaos-ray && ray down -y cluster.yaml", timeout_s=WITHIN_S)
    deadline_s = time.monotonic() + WITHIN_S
    # The workers' Rays end by themselves once the head's has not answered for a minute.
    while left := [words for host in _machines(cluster) for words in host.processes().values()]:
        assert time.monotonic() < deadline_s, left
