"""What a schedd answers from its table: several spawns at once, a parent's children, its node's load."""

from __future__ import annotations

from typing import Any

from kernel.schedd.counters import NodeSize
from kernel.schedd.places import Runner
from kernel.schedd.procstate import Needs, WorkerLease
from kernel.schedd.rpc import Schedd
from kernel.schedd.state import ProcTable
from sigmaos_ray import Status, serr
from sigmaos_ray.machine import OsProcess
from sigmaos_ray.pb import proc_pb2 as pb
from sigmaos_ray.rpcsrv import Caller, RpcContext
from sigmaos_ray.sessp import wire

KERNEL_ID = "sigma-here"
CTX = RpcContext(Caller())


class Procs:
    """As much of a schedd's procs as these answers need."""

    be_cores = 0.5

    def __init__(self) -> None:
        self.table = ProcTable(status_kept_max=100)
        self.table.counters.size = NodeSize(4.0, 1000.0)

    def spawn(self, spec: pb.ProcSpec) -> str:
        spec.kernel_id = KERNEL_ID
        self.table.spawn(spec)
        return KERNEL_ID


def made(*specs: pb.ProcSpec) -> tuple[Procs, Schedd]:
    procs = Procs()
    for spec in specs:
        procs.spawn(spec)
    as_node_procs: Any = procs
    return procs, Schedd(as_node_procs)


def spec(pid: str, **needs: Any) -> pb.ProcSpec:
    return pb.ProcSpec(pid=pid, program="nop", **needs)


def runner(kernel_id: str) -> Runner:
    return Runner(process=OsProcess("m", 1, 1), ray_node_id="r", kernel_id=kernel_id)


def test_a_burst_says_which_were_refused() -> None:
    procs, schedd = made(spec("b"))
    reply = schedd.SpawnBurst(CTX, pb.SpawnBurstRequest(procs=[spec("a"), spec("b"), spec("c")]))
    assert reply.kernel_id == KERNEL_ID
    (refused,) = reply.refused
    assert refused.index == 1
    assert isinstance(wire.error_from_pb(refused.error), serr.Exists)
    assert {proc.pid for proc in procs.table.all()} == {"a", "b", "c"}


def test_children_are_those_that_nobody_collected_in_order() -> None:
    procs, schedd = made(*(spec(pid, parent_pid="p") for pid in "cab"), spec("d", parent_pid="other"))
    for pid in "ca":
        procs.table.reported(pid, Status.ok(), 1.0)
    procs.table.collect_all(["c"], "p")
    assert list(schedd.Children(CTX, pb.ChildrenRequest(parent_pid="p")).pids) == ["a", "b"]
    assert list(schedd.Children(CTX, pb.ChildrenRequest(parent_pid="nobody")).pids) == []


def test_load_is_what_waits_or_runs_here() -> None:
    procs, schedd = made(
        spec("waits"), spec("critical", mcpu=1500, mem_mb=100), spec("over"), spec("elsewhere", mcpu=1000), spec("here")
    )
    procs.table.reported("over", Status.ok(), 1.0)
    for pid, kernel_id in (("elsewhere", "sigma-there"), ("here", KERNEL_ID)):
        lease = WorkerLease(f"lease-{pid}", Needs())
        lease.runner = runner(kernel_id)
        procs.table.handed(procs.table.get(pid), lease)
    load = schedd.Load(CTX, pb.LoadRequest())
    assert (load.cores, load.wanted_cores, load.be_cores) == (4.0, 2.5, 0.5)
    assert (load.mem_mb, load.wanted_mem_mb) == (1000.0, 100.0)


def test_what_a_node_could_never_run_is_no_load() -> None:
    _, schedd = made(spec("large", mcpu=64_000), spec("hungry", mem_mb=1 << 20))
    assert schedd.Load(CTX, pb.LoadRequest()).wanted_cores == 0
