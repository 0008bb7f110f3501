"""What an instance of several hosts says to a host that is none of its."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING

import pytest

from sigmaos_ray.config import NAMED_PORT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cluster import Cluster

STATE = ".local/state/sigmaos-ray"
SERVER = "name/tls-echo"
HALF_OPEN = 10_000
CALL_WITHIN_S = 20.0
"""A bound, not a measure."""


def ports(cluster: Cluster) -> Iterator[tuple[str, str]]:
    """Each that a part of the instance listens on, under a name."""
    for address, node in cluster.nodes().items():
        for name, info in node["services"].items():
            yield f"{name}-{address}", f"{info['host']}:{info['port']}"
    for address, plain in cluster.status()["named"]["plain"]:
        yield f"named-plain-{address}", plain
    [endpoint] = cluster.status()["etcd_endpoints"]
    yield "etcd", endpoint
    peer = json.loads((cluster.head.home / STATE / "etcd/ports.json").read_text())["peer"]
    yield "etcd-peer", f"{cluster.head.address}:{peer}"


def server_of_a_proc(cluster: Cluster) -> dict[str, str]:
    """The addresses of one that runs on some host, under a name for each kind of connections."""
    pid = cluster.sigmaos(cluster.head, f"spawn example_echo_server {SERVER}").strip()
    program = f"from sigmaos_ray import SigmaClnt\nwith SigmaClnt() as sc:\n    sc.wait_start({pid!r})\n"
    program += f"    endpoint = sc.read_endpoint({SERVER!r})\n    print(*endpoint.plain[0])"
    address, plain = cluster.python(cluster.head, program).split()
    return {"proc": address, "proc-plain": plain}


@pytest.mark.soak  # each port in many ways: a minute
def test_who_has_no_certificate_gets_nothing(cluster: Cluster) -> None:
    desk = cluster["desk"]
    assert not (desk.home / STATE / "auth").exists()
    places = dict(ports(cluster)) | server_of_a_proc(cluster)
    assert {name.partition("-")[0] for name in places} >= {"named", "ux", "schedd", "s3", "etcd", "proc"}
    told = cluster.program(desk, "uninvited", *(f"{name}={address}" for name, address in places.items()))
    assert len(told) == 1, told
    assert re.fullmatch(r"\d+ tries", told[0])
    for settings in ("", "SIGMAOS_TLS=off"):
        named = f"SIGMAOS_NAMED={cluster.head.address}:{NAMED_PORT}"
        done = cluster.run(desk, f"{settings} {named} sigmaos ls name", check=False)
        assert done.returncode != 0
        assert "SIGMAOS_CREDENTIALS" in done.stderr, done.stderr


def test_who_brings_a_credentials_file_is_let_in(cluster: Cluster) -> None:
    desk = cluster["desk"]
    desk.write("rootrealm.json", (cluster.head.home / STATE / "auth/realms/rootrealm.json").read_text())
    variables = f"SIGMAOS_CREDENTIALS=~/rootrealm.json SIGMAOS_NAMED={cluster.head.address}:{NAMED_PORT}"
    for transport in ("", "SIGMAOS_TRANSPORT=grpc"):
        cluster.run(desk, f"{transport} {variables} sigmaos put ~/.profile name/from-the-desk")
        assert "from-the-desk" in cluster.sigmaos(cluster.workers[0], "ls name")
        cluster.sigmaos(cluster.workers[0], "rm name/from-the-desk")
        for node in cluster.nodes().values():
            words = f"{transport} {variables} sigmaos put ~/.profile name/ux/{node['id']}/from-the-desk"
            cluster.run(desk, words)
    assert "OK" in cluster.run(desk, f"{variables} sigmaos spawn --wait example").stdout
    cluster.run(desk, "rm rootrealm.json")


def test_keys_stay_where_they_are_made(cluster: Cluster) -> None:
    keys = {(host.home / STATE / "auth/tls/host.key").read_bytes() for host in cluster.machines}
    assert len(keys) == len(cluster.machines)
    assert [host.name for host in cluster.machines if (host.home / STATE / "auth/tls/ca.key").exists()] == ["head"]
    for host in cluster.machines:
        modes = host.run(f"stat -c %a {STATE}/auth {STATE}/auth/tls {STATE}/auth/tls/host.key").stdout.split()
        assert modes == ["700", "700", "600"]
        assert "host.key" not in " ".join(words for words in host.processes().values() if "etcd" not in words)


def test_connections_that_come_to_nothing_keep_nobody_out(cluster: Cluster) -> None:
    """Ten thousand of them, at named's two ports and etcd's."""
    places = [address for name, address in ports(cluster) if name.startswith(("named", "etcd"))]
    flood = cluster.start_program(cluster["desk"], "halfopen", str(HALF_OPEN), *places)
    try:
        flood.wait("open")
        for number in range(5):
            for host in (cluster.head, cluster.workers[0]):
                began_s = time.monotonic()
                cluster.sigmaos(host, f"put ~/.profile name/in-the-flood-{number}")
                assert time.monotonic() - began_s < CALL_WITHIN_S
        assert "OK" in cluster.sigmaos(cluster.workers[0], "spawn --wait example")
    finally:
        for pid in [pid for pid, words in cluster["desk"].processes().items() if "halfopen" in words]:
            cluster["desk"].run(f"kill {pid}", check=False)
        flood.close()
