"""What a schedd counts of its procs."""

from __future__ import annotations

from kernel.schedd.counters import NodeSize, ProcCounters
from kernel.schedd.places import Runner
from kernel.schedd.procstate import Needs, ProcPhase, WorkerLease
from kernel.schedd.state import ProcTable
from sigmaos_ray.machine import OsProcess
from sigmaos_ray.pb import proc_pb2 as pb
from sigmaos_ray.proc import Status


def spec(pid: str, mcpu: float = 0, mem_mb: float = 0) -> pb.ProcSpec:
    return pb.ProcSpec(pid=pid, program="p", mcpu=mcpu, mem_mb=mem_mb, parent_pid="parent", spawned_s=10.0)


def test_from_spawn_to_collection() -> None:
    counters = ProcCounters(NodeSize(2, 4000))
    table = ProcTable(10, counters)
    table.spawn(spec("lc", mcpu=1500, mem_mb=300))
    table.spawn(spec("be"))
    table.spawn(spec("bad"))
    assert counters.report()["queued"] == 3
    assert counters.report()["reserved_mcpu"] == 0
    for pid in ("lc", "be", "bad"):
        table.handed(table.get(pid), WorkerLease("lease-1", Needs()))
        table.began(table.get(pid), Runner(process=OsProcess("m", 1, 1), ray_node_id="n"), 12.0)
    table.started("lc", 12.5)
    report = counters.report()
    assert (report["queued"], report["starting"], report["running"]) == (0, 2, 1)
    assert (report["reserved_mcpu"], report["reserved_mem_mb"]) == (1500, 300)
    assert report["queued_mean_s"] == 2.0
    table.reported("lc", Status.ok(), 13.0)
    table.ended(table.get("be"), Status.crash("signal: killed"), 13.0)
    table.reported("bad", Status.err("no"), 13.0)
    report = counters.report()
    assert report["ended"] == {"crash": 1, "error": 1, "ok": 1}
    assert (report["exited"], report["running"], report["reserved_mcpu"], report["reserved_mem_mb"]) == (3, 0, 0, 0)
    table.collect_all(["lc", "be", "bad"], "parent")
    report = counters.report()
    assert (report["exited"], report["spawned"]) == (0, 3)
    assert (report["node_cores"], report["node_mem_mb"]) == (2, 4000)


def test_a_proc_that_never_began_reserves_nothing() -> None:
    counters = ProcCounters()
    table = ProcTable(10, counters)
    table.spawn(spec("lc", mcpu=1000))
    table.ended(table.get("lc"), Status.evicted(), 11.0)
    report = counters.report()
    assert (report["queued"], report["exited"], report["reserved_mcpu"], report["ended"]) == (0, 1, 0, {"evicted": 1})
    assert ProcPhase.EXITED in {proc.phase for proc in table.all()}
