"""Which best-effort procs Ray gets: latency-critical ones first (C-2), and never more than keep its slots busy."""

from __future__ import annotations

from kernel.schedd.backlog import Backlog, ClusterSize
from kernel.schedd.procstate import ProcState
from kernel.schedd.shares import Turn
from sigmaos_ray.config import Scheduling
from sigmaos_ray.pb import proc_pb2 as pb

LIMITS = Scheduling(be_per_core=2)


def best_effort(number: int) -> ProcState:
    return ProcState(pb.ProcSpec(pid=f"be-{number}"), number)


def critical(mcpu: float) -> ProcState:
    return ProcState(pb.ProcSpec(pid=f"lc-{mcpu}", mcpu=mcpu), 0)


def backlog(cores: float, count: int) -> Backlog:
    queue = Backlog(LIMITS, ClusterSize(cores, cores))
    for number in range(count):
        queue.put(best_effort(number))
    return queue


def pids(procs: list[ProcState]) -> list[str]:
    return [proc.pid for proc in procs]


def test_a_window_in_order() -> None:
    queue = backlog(4, 40)
    first = queue.due(0)
    assert pids(first) == [f"be-{number}" for number in range(16)]
    assert queue.due(0) == []
    queue.ended(first[3])
    assert pids(queue.due(0)) == ["be-16"]


def test_parked_procs_make_room() -> None:
    queue = backlog(4, 40)
    queue.due(0)
    queue.parked(+2)
    assert pids(queue.due(0)) == ["be-16", "be-17"]
    queue.parked(-2)
    assert queue.due(0) == []


def test_cores_are_left_for_one_that_waits() -> None:
    queue = backlog(4, 40)
    waiting = critical(3000)
    queue.reserve(waiting, 0)
    assert len(queue.due(0)) == 2
    assert queue.holds_until(0) == LIMITS.critical_first_s
    queue.reserved(waiting)
    assert queue.holds_until(0) is None
    assert len(queue.due(0)) == 14
    queue.ended(waiting)
    assert queue.due(0) == []


def test_others_go_on_after_a_while() -> None:
    queue = backlog(4, 40)
    queue.reserve(critical(4000), 0)
    assert queue.due(0) == []
    assert queue.due(LIMITS.critical_first_s) != []


def test_what_no_node_has_holds_nobody_up() -> None:
    queue = backlog(4, 40)
    queue.reserve(critical(64_000), 0)
    assert len(queue.due(0)) == 16


def test_withdrawn() -> None:
    queue = backlog(4, 0)
    handed, waiting = best_effort(0), best_effort(1)
    queue.put(handed)
    assert queue.due(0) == [handed]
    queue.put(waiting)
    assert queue.withdraw(waiting)
    assert not queue.withdraw(waiting)
    assert not queue.withdraw(handed)
    assert queue.due(0) == []


def test_of_several_realms_each_hands_over_its_share() -> None:
    queue = backlog(2, 40)
    queue.turn = Turn(realms_count=2)
    first = queue.due(0)
    assert pids(first) == ["be-0", "be-1"]
    queue.turn = Turn(realms_count=3, place=1)
    assert queue.due(0) == []
    for each in first:
        queue.ended(each)
    assert pids(queue.due(0)) == ["be-2"]
    queue.turn = Turn()
    assert len(queue.due(0)) == 7
