"""The life of procs as the schedd's table decides it: no Ray, no clock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.schedd.places import Runner
from kernel.schedd.procstate import Needs, ProcPhase, ProcState, WorkerLease
from kernel.schedd.state import (
    AskToEnd,
    Instruction,
    Kill,
    KillLater,
    ProcTable,
    Queue,
    Relist,
    Signal,
    Wake,
    Withdraw,
)
from sigmaos_ray import serr
from sigmaos_ray.machine import OsProcess
from sigmaos_ray.pb import proc_pb2 as pb
from sigmaos_ray.proc import Status

NOW_S = 100.0
RUNNER = Runner(process=OsProcess("m", 7, 1), ray_node_id="n")
LEASE = WorkerLease("lease-1", Needs())


def spawn(table: ProcTable, pid: str = "p", parent: str = "parent", mcpu: float = 0) -> ProcState:
    table.spawn(pb.ProcSpec(pid=pid, program="x", parent_pid=parent, mcpu=mcpu))
    return table.get(pid)


@pytest.fixture
def table() -> ProcTable:
    return ProcTable(status_kept_max=10)


def test_which_process_runs_it_may_be_told_late(table: ProcTable) -> None:
    """After the proc said that it started."""
    proc = spawn(table)
    table.handed(proc, LEASE)
    table.started("p", NOW_S)
    table.began(proc, RUNNER, NOW_S)
    assert (proc.phase, proc.os_pid, proc.began_s) == (ProcPhase.RUNNING, 7, NOW_S)


def test_what_a_lease_did_not_begin_is_queued_again(table: ProcTable) -> None:
    proc = spawn(table)
    table.handed(proc, LEASE)
    assert proc.lease is LEASE
    assert table.returned(proc) == [Relist("p", ProcPhase.STARTING, ProcPhase.QUEUED)]
    assert proc.lease is None
    table.handed(proc, LEASE)
    table.ended(proc, Status.ok(), NOW_S)
    assert proc.lease is None


def test_spawn_queues_and_submits(table: ProcTable) -> None:
    instructions = table.spawn(pb.ProcSpec(pid="p", program="x"))
    proc = table.get("p")
    assert instructions == [Queue(proc), Relist("p", None, ProcPhase.QUEUED)]
    assert table.pids(ProcPhase.QUEUED) == ["p"]


def test_pid_in_use(table: ProcTable) -> None:
    proc = spawn(table)
    with pytest.raises(serr.Exists):
        spawn(table)
    table.reported("p", Status.ok(), NOW_S)
    with pytest.raises(serr.Exists):
        spawn(table)
    table.collect(proc)
    assert spawn(table) is not proc


def test_whole_life(table: ProcTable) -> None:
    proc = spawn(table)
    assert table.handed(proc, LEASE) == [Relist("p", ProcPhase.QUEUED, ProcPhase.STARTING)]
    assert table.started("p", NOW_S) == [Relist("p", ProcPhase.STARTING, ProcPhase.RUNNING), Wake(proc, Signal.START)]
    instructions = table.reported("p", Status.info("hi"), NOW_S)
    assert instructions == [
        Relist("p", ProcPhase.RUNNING, ProcPhase.EXITED),
        *(Wake(proc, signal) for signal in Signal),
    ]
    assert table.ended(proc, Status.crash("exit status 1"), NOW_S) == []
    assert proc.status == Status.info("hi")
    table.collect(proc)
    with pytest.raises(serr.NotFound):
        table.get("p")


def test_started_counts_once_and_not_after_the_end(table: ProcTable) -> None:
    proc = spawn(table)
    assert table.started("p", NOW_S)
    assert table.started("p", NOW_S) == []
    table.ended(proc, Status.ok(), NOW_S)
    assert table.started("p", NOW_S) == []


def test_evict_of_a_queued_proc_withdraws_it(table: ProcTable) -> None:
    proc = spawn(table)
    assert table.evict("p", None) == [Wake(proc, Signal.EVICT), AskToEnd(proc), Withdraw(proc)]
    table.ended(proc, Status.evicted(), NOW_S)
    assert proc.status == Status.evicted()


def test_evict_of_a_running_proc_is_a_request(table: ProcTable) -> None:
    proc = spawn(table)
    table.handed(proc, LEASE)
    assert table.evict("p", None) == [Wake(proc, Signal.EVICT), AskToEnd(proc)]
    assert table.evict("p", None) == []
    table.ended(proc, Status.info("went on"), NOW_S)
    assert proc.status == Status.info("went on")


def test_grace(table: ProcTable) -> None:
    proc = spawn(table)
    table.handed(proc, LEASE)
    assert KillLater(proc, 2.0) in table.evict("p", 2.0)
    assert table.grace_over(proc, 2.0) == [Kill(proc)]
    table.ended(proc, Status.crash("signal: killed"), NOW_S)
    assert proc.status == Status.evicted("did not end within 2 s: signal: killed")


def test_grace_of_what_ended_in_time(table: ProcTable) -> None:
    proc = spawn(table)
    table.evict("p", 2.0)
    table.ended(proc, Status.evicted(), NOW_S)
    assert table.grace_over(proc, 2.0) == []
    assert table.evict("p", 2.0) == []


def test_grace_holds_for_a_process_that_lingers_after_its_report(table: ProcTable) -> None:
    proc = spawn(table)
    table.handed(proc, LEASE)
    table.reported("p", Status.evicted(), NOW_S)
    assert table.evict("p", 1.0) == [KillLater(proc, 1.0)]
    table.collect(proc)
    assert table.grace_over(proc, 1.0) == [Kill(proc)]


def test_unknown_pids(table: ProcTable) -> None:
    for call in (
        lambda: table.get("no"),
        lambda: table.evict("no", None),
        lambda: table.started("no", NOW_S),
        lambda: table.reported("no", Status.ok(), NOW_S),
    ):
        with pytest.raises(serr.NotFound):
            call()


def test_end_of_the_parent_drops_its_interest(table: ProcTable) -> None:
    parent, ended, running = spawn(table, "parent", "shell"), spawn(table, "c1"), spawn(table, "c2")
    table.ended(ended, Status.ok(), NOW_S)
    table.ended(parent, Status.ok(), NOW_S)
    with pytest.raises(serr.NotFound):
        table.get("c1")
    assert table.get("c2") is running
    table.ended(running, Status.ok(), NOW_S)
    with pytest.raises(serr.NotFound):
        table.get("c2")
    assert table.get("parent") is parent


def test_a_parent_elsewhere_is_known_as_long_as_it_may_collect(table: ProcTable) -> None:
    specs = [("c1", "p1", "there"), ("c2", "p1", "there"), ("c3", "p2", "here"), ("c4", "shell", "")]
    for pid, parent, schedd in specs:
        table.spawn(pb.ProcSpec(pid=pid, program="x", parent_pid=parent, parent_schedd_id=schedd))
    assert table.parents_elsewhere("here") == {"there": ["p1"]}
    for pid in ("c1", "c2"):
        table.ended(table.get(pid), Status.ok(), NOW_S)
    table.collect(table.get("c1"))
    assert table.parents_elsewhere("here") == {"there": ["p1"]}
    table.parent_ended("p1")
    assert table.parents_elsewhere("here") == {}
    with pytest.raises(serr.NotFound):
        table.get("c2")


def test_what_has_ended_or_is_unknown_is_over(table: ProcTable) -> None:
    spawn(table, "running")
    table.ended(spawn(table, "ended"), Status.ok(), NOW_S)
    assert table.ended_of(["running", "ended", "unknown"]) == ["ended", "unknown"]


def test_statuses_kept_are_bounded(table: ProcTable) -> None:
    for number in range(15):
        table.ended(spawn(table, f"p{number:02}"), Status.ok(), NOW_S)
    assert table.pids(ProcPhase.EXITED) == [f"p{number:02}" for number in range(5, 15)]


def test_stopping_kills_what_lives(table: ProcTable) -> None:
    proc, gone = spawn(table), spawn(table, "gone")
    table.ended(gone, Status.ok(), NOW_S)
    assert table.stopping() == [Kill(proc)]
    table.ended(proc, Status.crash("signal: killed"), NOW_S)
    assert proc.status == Status.evicted("the kernel node stopped: signal: killed")


events = st.sampled_from(
    ["handed", "returned", "began", "started", "reported", "ended", "evict", "grace", "collect", "parent"]
)


def happen(table: ProcTable, event: str, proc: ProcState, parent: ProcState) -> list[Instruction]:
    match event:
        case "handed":
            return [] if proc.gone else table.handed(proc, LEASE)
        case "returned":
            return table.returned(proc)
        case "began":
            table.began(proc, RUNNER, NOW_S)
            return []
        case "started":
            return table.started("p", NOW_S)
        case "reported":
            return table.reported("p", Status.ok(), NOW_S)
        case "ended":
            return table.ended(proc, Status.crash("exit status 1"), NOW_S)
        case "evict":
            return table.evict("p", 1.0)
        case "grace":
            return table.grace_over(proc, 1.0)
        case "parent":
            return table.ended(parent, Status.ok(), NOW_S)
        case _:
            if proc.status is not None:
                table.collect(proc)
            return []


@given(st.lists(events, max_size=12))
def test_any_order_of_events(order: list[str]) -> None:
    table = ProcTable(status_kept_max=10)
    parent = spawn(table, "parent", "shell")
    proc = spawn(table)
    woken: list[Signal] = []
    for event in order:
        before = proc.status
        try:
            instructions = happen(table, event, proc, parent)
        except serr.NotFound:
            assert proc.collected
            continue
        woken += [wake.signal for wake in instructions if isinstance(wake, Wake) and wake.proc is proc]
        assert before is None or proc.status is before, "the first report counts"
        assert (proc.phase is ProcPhase.EXITED) == (proc.status is not None)
        assert not (proc.gone and any(isinstance(one, Kill) for one in instructions))
    assert woken.count(Signal.EXIT) == (proc.status is not None)
