"""Tasks and their moves (FT-2)."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigmaos_ray import serr
from sigmaos_ray.pb import fttask_pb2 as pb
from sigmaos_ray.sigmap import NO_FENCE, Fence
from user.fttask_srv.state import (
    FenceRaised,
    LastTaskSubmitted,
    OutputsAdded,
    TaskChange,
    TasksEdited,
    TasksMoved,
    TasksSubmitted,
    TaskTable,
)


def submitted(*numbers: int) -> TaskTable:
    table = TaskTable()
    _, change = table.submit([(number, b"%d" % number) for number in numbers])
    do(table, change)
    return table


def do(table: TaskTable, change: TaskChange | None) -> None:
    if change is not None:
        table.apply(change)


def test_what_is_told_of_a_task_is_no_name_of_a_service() -> None:
    """Clients take NotFound of a component of their service's pathname for the server's being away."""
    for call in (submitted(1).data_of, submitted(1).outputs_of):
        with pytest.raises(serr.NotFound, match="7") as caught:
            call([7])
        assert "/" in caught.value.obj


def test_what_was_submitted_before_is_left_as_it_is() -> None:
    table = submitted(1, 2)
    do(table, table.acquire("me", 0))
    existing, change = table.submit([(2, b"other"), (3, b"3"), (3, b"twice")])
    assert existing == [2, 3]
    do(table, change)
    assert table.data_of([2, 3]) == [b"2", b"3"]
    assert table.ids_of(pb.WIP) == [1, 2]
    assert table.submit([(1, b"")]) == ([1], None)


def test_deciding_changes_nothing() -> None:
    table = submitted(1)
    table.submit([(2, b"")])
    table.acquire("me", 0)
    table.move([1], pb.DONE)
    table.output([1], [b"x"], mark_done=True)
    table.raise_fence(Fence("f", 1))
    assert table.counts() == {pb.TODO: 1, pb.WIP: 0, pb.DONE: 0, pb.ERROR: 0}
    assert table.fence == NO_FENCE


def test_acquiring_takes_the_oldest_once() -> None:
    table = submitted(3, 1, 2)
    first, second = table.acquire("a", 2), None
    do(table, first)
    second = table.acquire("b", 0)
    do(table, second)
    assert first is not None
    assert second is not None
    assert (first.ids, second.ids) == ([3, 1], [2])
    assert table.acquire("c", 0) is None
    assert (table.acquired("a"), table.acquired("b"), table.acquired("c")) == ([3, 1], [2], [])


def test_what_was_moved_is_nobody_s() -> None:
    table = submitted(1)
    do(table, table.acquire("a", 0))
    do(table, table.move([1], pb.TODO))
    do(table, table.acquire("b", 0))
    assert table.acquired("a") == []
    assert table.acquired("b") == [1]


def test_an_unknown_id_moves_nothing() -> None:
    table = submitted(1)
    for call in (
        lambda: table.move([1, 7], pb.DONE),
        lambda: table.output([1, 7], [b"", b""], mark_done=True),
        lambda: table.data_of([7]),
        lambda: table.outputs_of([7]),
        lambda: table.outputs_of([1]),
    ):
        with pytest.raises(serr.NotFound):
            call()
    with pytest.raises(serr.Inval):
        table.move([1], 9)
    with pytest.raises(serr.Inval, match="1 outputs of 2"):
        table.output([1, 1], [b""], mark_done=True)


def test_edits() -> None:
    table = submitted(1)
    unknown, change = table.edit([(1, b"new"), (2, b"")])
    do(table, change)
    assert unknown == [2]
    assert table.data_of([1]) == [b"new"]


def test_it_has_stopped_when_nothing_can_come_any_more() -> None:
    table = submitted(1, 2)
    do(table, LastTaskSubmitted())
    assert not table.has_stopped
    with pytest.raises(serr.Inval, match="last"):
        table.submit([(3, b"")])
    assert table.submit([(1, b"")]) == ([1], None)  # a repeat
    do(table, table.acquire("a", 0))
    assert not table.has_stopped
    do(table, table.output([1], [b"out"], mark_done=True))
    do(table, table.move([2], pb.ERROR))
    assert table.has_stopped
    assert table.outputs_of([1]) == [b"out"]


def test_fences() -> None:
    """Older is Inval, none passes; who acquires needs just the newest."""
    table = submitted(1)
    table.check_exact_fence(NO_FENCE)
    do(table, table.raise_fence(Fence("f", 5)))
    assert table.raise_fence(Fence("f", 5)) is None
    with pytest.raises(serr.Inval):
        table.raise_fence(Fence("f", 4))
    with pytest.raises(serr.Inval):
        table.raise_fence(NO_FENCE)
    for passing in (NO_FENCE, Fence("f", 5), Fence("f", 6)):
        table.check_fence(passing)
    with pytest.raises(serr.Inval):
        table.check_fence(Fence("f", 4, 9))
    table.check_exact_fence(Fence("f", 5))
    for wrong in (NO_FENCE, Fence("f", 4), Fence("f", 6)):
        with pytest.raises(serr.Inval):
            table.check_exact_fence(wrong)


ids = st.integers(0, 6)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("submit"), st.lists(ids, max_size=4)),
        st.tuples(st.just("acquire"), st.integers(0, 3)),
        st.tuples(st.just("move"), ids, st.sampled_from([pb.TODO, pb.WIP, pb.DONE, pb.ERROR])),
        st.tuples(st.just("output"), ids, st.booleans()),
        st.tuples(st.just("last")),
        st.tuples(st.just("fence"), st.integers(1, 5)),
    ),
    max_size=30,
)


def decide(table: TaskTable, step: tuple, number: int) -> TaskChange | None:  # type: ignore[type-arg]
    if step[0] == "submit":
        return table.submit([(each, b"%d-%d" % (each, number)) for each in step[1]])[1]
    if step[0] == "acquire":
        return table.acquire(f"a{number}", step[1])
    if step[0] == "move":
        return table.move([step[1]], step[2])
    if step[0] == "output":
        return table.output([step[1]], [b"%d" % number], mark_done=step[2])
    return LastTaskSubmitted() if step[0] == "last" else table.raise_fence(Fence("f", step[1]))


def shown(table: TaskTable) -> object:
    statuses = {status: table.ids_of(status) for status in (pb.TODO, pb.WIP, pb.DONE, pb.ERROR)}
    ids = [number for numbers in statuses.values() for number in numbers]
    outputs = {}
    for number in ids:
        try:
            outputs[number] = table.outputs_of([number])
        except serr.NotFound:
            outputs[number] = []
    acquired = {f"a{number}": table.acquired(f"a{number}") for number in range(30)}
    return statuses, table.data_of(ids), outputs, acquired, table.submitted_last, table.fence


@given(steps)
def test_a_table_is_what_its_changes_make(steps: list[tuple]) -> None:  # type: ignore[type-arg]
    """Written and read again, one by one, or as a snapshot."""
    table, again, restored = TaskTable(), TaskTable(), TaskTable()
    for number, step in enumerate(steps):
        try:
            change = decide(table, step, number)
        except (serr.NotFound, serr.Inval):
            continue
        if change is not None:
            table.apply(change)
            again.apply(msgspec.msgpack.decode(msgspec.msgpack.encode(change), type=TaskChange))
    for change in msgspec.msgpack.decode(msgspec.msgpack.encode(table.as_changes()), type=list[TaskChange]):
        restored.apply(change)
    assert shown(again) == shown(table)
    assert shown(restored) == shown(table)


@pytest.mark.parametrize(
    ("written", "change"),
    [
        (["Submit", [[1, b"data"]]], TasksSubmitted([(1, b"data")])),
        (["Edit", [[1, b"data"]]], TasksEdited([(1, b"data")])),
        (["Move", [1], pb.WIP, "a"], TasksMoved([1], pb.WIP, "a")),
        (["Output", [1], [b"out"], True], OutputsAdded([1], [b"out"], mark_done=True)),
        (["Last"], LastTaskSubmitted()),
        (["Raise", msgspec.to_builtins(Fence("f", 5))], FenceRaised(Fence("f", 5))),
    ],
)
def test_journals_that_are_there_can_be_read(written: list[object], change: TaskChange) -> None:
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(written), type=TaskChange) == change
