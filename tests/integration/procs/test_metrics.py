"""What a schedd counts, as a file and where Prometheus asks Ray."""

from __future__ import annotations

import re
import time
import urllib.request

import ray

from sigmaos_ray import Proc, SigmaClnt

WAIT_S = 30.0


def counted(sc: SigmaClnt) -> dict[str, int]:
    """The schedd's own report."""
    report: dict[str, int] = sc.read_srv_stats(f"name/schedd/{sc.kernel_id}")["procs"]
    return report


def told_by_ray(name: str) -> float | None:
    """One of Ray's metrics, on the node's own page; None while it is not there."""
    (node,) = ray.nodes()
    url = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    with urllib.request.urlopen(url, timeout=10) as reply:
        samples = re.findall(rf"^ray_{name}{{.*}} ([\d.e+]+)$", reply.read().decode(), re.MULTILINE)
    return float(samples[-1]) if samples else None


def test_spawned_running_ended(sc: SigmaClnt) -> None:
    before = counted(sc)
    waits = Proc("programs.spinner", mcpu=500, mem_mb=50)
    sc.spawn(waits)
    sc.wait_start(waits.pid, WAIT_S)
    during = counted(sc)
    assert during["spawned"] == before["spawned"] + 1
    assert during["running"] == before["running"] + 1
    assert during["reserved_mcpu"] == before["reserved_mcpu"] + 500
    assert during["reserved_mem_mb"] == before["reserved_mem_mb"] + 50
    assert during["node_cores"] == 2
    sc.evict(waits.pid)
    sc.wait_exit(waits.pid, WAIT_S)
    after = counted(sc)
    assert after["running"] == before["running"]
    assert after["reserved_mcpu"] == before["reserved_mcpu"]


def test_ray_is_told(sc: SigmaClnt) -> None:
    proc = Proc("programs.nop")
    sc.spawn(proc)
    assert sc.wait_exit(proc.pid, WAIT_S).is_ok()
    spawned = counted(sc)["spawned"]
    deadline = time.monotonic() + WAIT_S
    while told_by_ray("sigmaos_procs_spawned_total") != spawned:
        assert time.monotonic() < deadline, "Ray was not told"
        time.sleep(0.2)
