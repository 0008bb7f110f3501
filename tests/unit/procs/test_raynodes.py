"""Which procs went down with a node of Ray's: no Ray."""

from __future__ import annotations

from kernel.schedd.counters import NodeSize
from kernel.schedd.places import Runner
from kernel.schedd.procstate import ProcState
from kernel.schedd.raynodes import NodeWatch, Sighting, lost_with
from sigmaos_ray.machine import OsProcess
from sigmaos_ray.pb import proc_pb2 as pb


def proc_at(node: str | None, began_s: float = 1.0) -> ProcState:
    proc = ProcState(pb.ProcSpec(pid="p"), 1)
    if node is not None:
        process = OsProcess(f"machine-{node}", 7, 1)
        proc.runner, proc.began_s = Runner(process=process, ray_node_id=node, kernel_id=f"k-{node}"), began_s
    return proc


def sighting(*nodes: str, asked_s: float = 10.0) -> Sighting:
    return Sighting(asked_s, {node: NodeSize(2, 100) for node in nodes})


def test_a_node_is_missed_once() -> None:
    watch = NodeWatch()
    assert not watch.saw(sighting("a", "b"))
    assert not watch.saw(sighting("a", "b", "c"))
    assert watch.saw(sighting("a", "c"))
    assert not watch.saw(sighting("a", "c"))


def test_procs_go_with_their_node() -> None:
    here, there, nowhere = proc_at("a"), proc_at("b"), proc_at(None)
    assert NodeWatch().lost([here, there, nowhere], sighting("a")) == [there]
    assert lost_with(there.runner).msg == "node lost: kernel node k-b is gone"
    assert lost_with(there.runner).is_crash()


def test_a_node_that_came_after_the_question_is_not_missed() -> None:
    assert NodeWatch().lost([proc_at("new", began_s=10.5)], sighting("a", asked_s=10.0)) == []


def test_the_size_of_the_cluster() -> None:
    size = sighting("a", "b").cluster_size()
    assert (size.cores, size.cores_of_largest_node) == (4, 2)
    assert sighting().cluster_size().cores == 0
