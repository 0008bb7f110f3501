"""Nodes of two hosts that come and go: what listens where, ids that last, and what a host forgets that was away."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from cluster import give_environment, shared_folders, until

from sigmaos_ray.testing.hosts import Host, Hosts

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.soak  # four starts of Ray: two minutes

ENV = {"RAY_AUTH_MODE": "disabled", "RAY_worker_niceness": "0", "RAY_USAGE_STATS_ENABLED": "0"}
STATE = ".local/state/sigmaos-ray"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    """A head with an instance that was started while it was alone, on a Ray that somebody had started there."""
    names, directory = ["head", "worker"], tmp_path_factory.mktemp("nodes")
    with Hosts(names, directory=directory, network="10.78.6", shared=shared_folders()) as hosts:
        for host in hosts:
            give_environment(host, with_project=True)
        head = hosts["head"]
        run(head, f"ray start --head --port=6379 --node-ip-address={head.address} --include-dashboard=false")
        run(head, "sigmaos start --services named,ux")
        yield hosts


def run(host: Host, words: str) -> str:
    return host.run(words, timeout_s=180, env=ENV).stdout


def join(hosts: Hosts) -> None:
    worker = hosts["worker"]
    run(worker, f"ray start --address={hosts['head'].address}:6379 --node-ip-address={worker.address}")


def nodes(hosts: Hosts) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run(hosts["head"], "sigmaos status --json"))["kernel_nodes"]
    return found


def both_serve(hosts: Hosts) -> list[dict[str, Any]]:
    def all_serve() -> list[dict[str, Any]]:
        present = nodes(hosts)
        return present if len(present) == 2 and all("ux" in node["services"] for node in present) else []

    serving: list[dict[str, Any]] = until(all_serve, lambda: nodes(hosts))
    return serving


def test_hosts_that_come_and_go(pair: Hosts) -> None:
    head, worker = pair["head"], pair["worker"]
    join(pair)
    until(lambda: len(nodes(pair)) == 2, lambda: nodes(pair))
    _, joined = nodes(pair)
    assert joined["parts"]["ux"]["state"] == "failed"
    assert "listens on 127.0.0.1 only" in joined["parts"]["ux"]["cause"]
    assert "listens on 127.0.0.1 only" in run(head, "sigmaos status")
    # The rest goes on.
    names = [nodes(pair)[0]["id"]]
    until(lambda: run(head, "sigmaos ls name/ux").split() == names)

    # What the cause says to do: now Ray has two hosts.
    run(head, "sigmaos stop")
    run(head, "sigmaos start --services named,ux")
    first, second = both_serve(pair)
    assert (first["host"], second["host"]) == (head.address, worker.address)
    assert (first["machine"] != second["machine"], second["id"]) == (True, joined["id"])

    # A realm's files on a host that is away while the realm is removed.
    run(head, "sigmaos realm create tenant")
    run(head, f"echo x | sigmaos --realm tenant put - name/ux/{second['id']}/f")
    kept = worker.home / STATE / "ux-tenant" / "f"
    assert kept.exists()
    run(worker, "ray stop --force")
    until(lambda: len(nodes(pair)) == 1, lambda: nodes(pair))
    run(head, "sigmaos realm rm --state tenant")
    assert kept.exists()
    join(pair)
    assert both_serve(pair)[1]["id"] == second["id"]
    assert not kept.exists()

    # Its process ids are its own: a stop ends nothing here that has the same numbers there.
    run(head, "sigmaos stop")
    assert not [words for host in pair for words in host.processes().values() if "kernel.boot" in words]
    assert run(worker, "pgrep -c raylet").strip() == "1"
