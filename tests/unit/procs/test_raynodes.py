"""What went down with a node of Ray's: no Ray."""

from __future__ import annotations

from kernel.schedd.counters import NodeSize
from kernel.schedd.places import Runner
from kernel.schedd.raynodes import NodeWatch, Sighting, lost_with
from sigmaos_ray.machine import OsProcess


def runner_at(node: str) -> Runner:
    return Runner(process=OsProcess(f"machine-{node}", 7, 1), ray_node_id=node, kernel_id=f"k-{node}")


def sighting(*nodes: str, asked_s: float = 10.0) -> Sighting:
    return Sighting(asked_s, {node: NodeSize(2, 100) for node in nodes})


def test_a_node_is_missed_once() -> None:
    watch = NodeWatch()
    assert not watch.saw(sighting("a", "b"))
    assert not watch.saw(sighting("a", "b", "c"))
    assert watch.saw(sighting("a", "c"))
    assert not watch.saw(sighting("a", "c"))


def test_what_runs_on_a_node_goes_with_it() -> None:
    seen = sighting("a")
    assert [NodeWatch.has_lost(runner, 1.0, seen) for runner in (runner_at("a"), runner_at("b"), None)] == [
        False,
        True,
        False,
    ]
    status = lost_with(runner_at("b"))
    assert status.msg == "node lost: kernel node k-b is gone"
    assert status.is_crash()


def test_a_node_that_came_after_the_question_is_not_missed() -> None:
    assert not NodeWatch.has_lost(runner_at("new"), 10.5, sighting("a", asked_s=10.0))


def test_the_size_of_the_cluster() -> None:
    size = sighting("a", "b").cluster_size()
    assert (size.cores, size.cores_of_largest_node) == (4, 2)
    assert sighting().cluster_size().cores == 0
