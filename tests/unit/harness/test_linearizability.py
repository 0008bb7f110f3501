"""The checker: histories known good and bad, and random ones against brute force."""

from __future__ import annotations

import math
from itertools import permutations
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sigmaos_ray import serr
from sigmaos_ray.testing.history import ABSENT, EXISTS, OK, Operation, Recorder, Result, decode, encode
from sigmaos_ray.testing.linearizability import Verdict, check
from sigmaos_ray.testing.models import DirModel, FileModel

FILE, DIR = FileModel(), DirModel()


def op(
    name: str, argument: str | bytes, called: float, returned: float, result: Result | None = OK, key: str = "f"
) -> Operation:
    return Operation("c", key, name, argument, called, returned if result is not None else math.inf, result)


def test_many_lost_writes_are_decided() -> None:
    """Each might have come anywhere: those that nobody read are told apart only by when they were called."""
    lost = [op("put", f"lost{n} ", n, n + 0.5, None) for n in range(40)]
    removals = [op("remove", "", n + 0.2, n + 0.5, None) for n in range(40)]
    looks = [op("get", "", n + 0.6, n + 0.7, b"kept " if n % 2 else ABSENT) for n in range(40)]
    late_puts = [op("put", "kept ", n + 0.55, n + 0.58) for n in range(40) if n % 2]
    assert check([*lost, *removals, *looks, *late_puts], FILE).is_ok
    wrong = op("get", "", 50, 51, b"never written")
    assert check([*lost, *removals, *looks, *late_puts, wrong], FILE).verdict is Verdict.NOT_LINEARIZABLE


GOOD = {
    "nothing": [],
    "one after the other": [op("put", b"a", 0, 1), op("get", b"", 2, 3, b"a")],
    "a read beside a write sees the old": [op("put", b"a", 0, 9), op("get", b"", 1, 2, ABSENT)],
    "a read beside a write sees the new": [op("put", b"a", 0, 9), op("get", b"", 1, 2, b"a")],
    "one of two creates": [op("create", b"a", 0, 5), op("create", b"b", 1, 4, EXISTS), op("get", b"", 6, 7, b"a")],
    "a lost write that took effect": [op("append", b"a", 0, 1, None), op("get", b"", 5, 6, b"a")],
    "a lost write that did not": [op("append", b"a", 0, 1, None), op("get", b"", 5, 6, ABSENT)],
    "a lost write that came late": [
        op("put", b"a", 0, 1, None),
        op("put", b"b", 2, 3),
        op("get", b"", 4, 5, b"b"),
        op("get", b"", 6, 7, b"a"),
    ],
    "two objects": [op("put", b"a", 0, 1, key="f"), op("get", b"", 2, 3, ABSENT, key="g")],
}
BAD = {
    "a stale read": [op("put", b"a", 0, 1), op("put", b"b", 2, 3), op("get", b"", 4, 5, b"a")],
    "a lost acknowledged write": [op("append", b"a", 0, 1), op("get", b"", 2, 3, ABSENT)],
    "an append that took effect twice": [op("append", b"a", 0, 1), op("get", b"", 2, 3, b"aa")],
    "a lost append that took effect twice": [op("append", b"a", 0, 1, None), op("get", b"", 2, 3, b"aa")],
    "two creates that both succeed": [op("create", b"a", 0, 5), op("create", b"b", 1, 4)],
    "new, then old": [op("put", b"a", 0, 9), op("get", b"", 1, 2, b"a"), op("get", b"", 3, 4, ABSENT)],
    "a lost write that came before its call": [op("get", b"", 0, 1, b"a"), op("put", b"a", 2, 3, None)],
    "a lost write that came and went": [
        op("put", b"a", 0, 1, None),
        op("get", b"", 2, 3, b"a"),
        op("put", b"b", 4, 5),
        op("get", b"", 6, 7, b"b"),
        op("get", b"", 8, 9, b"a"),
    ],
}


@pytest.mark.parametrize("what", GOOD)
def test_good(what: str) -> None:
    assert check(GOOD[what], FILE).is_ok


@pytest.mark.parametrize("what", BAD)
def test_bad(what: str) -> None:
    assert check(BAD[what], FILE).verdict is Verdict.NOT_LINEARIZABLE


def test_entries_of_a_directory() -> None:
    moves = [op("create", "a", 0, 1), op("rename", "a/b", 2, 9), op("list", "", 3, 4, ("b",))]
    assert check([*moves, op("remove", "b", 10, 11), op("list", "", 12, 13, ())], DIR).is_ok
    both = [*moves[:2], op("list", "", 3, 4, ("a", "b"))]
    assert check(both, DIR).verdict is Verdict.NOT_LINEARIZABLE
    assert check([op("remove", "a", 0, 1)], DIR).verdict is Verdict.NOT_LINEARIZABLE


def test_the_story_names_the_object_and_leaves_out_what_does_not_matter() -> None:
    noise = [op("put", b"%d" % n, n, n + 0.5, key="noise") for n in range(50)]
    before = [op("put", b"old", 0, 1), op("get", b"", 2, 3, b"old"), op("put", b"new", 4, 5)]
    after = [op("get", b"", 6, 7, b"old"), op("put", b"later", 8, 9), op("get", b"", 10, 11, b"later")]
    report = check([*noise, *before, *after], FILE)
    assert report.key == "f"
    assert report.story.count("get") == 2, "the stale read, once in the list and once in the verdict"
    assert "noise" not in report.story
    assert "later" not in report.story
    assert "get(b'') -> b'old'" in str(report) or "get() -> b'old'" in str(report)


def test_a_bound_has_a_clear_answer() -> None:
    # All writes beside each other, and reads that no order explains: every order has to be tried.
    history = [op("append", b"%c" % (97 + n), 0, 100 + n) for n in range(12)]
    history.append(op("get", b"", 200, 201, b"no such thing"))
    report = check(history, FILE, steps_max=1000)
    assert report.verdict is Verdict.UNDECIDED
    assert "12" not in report.key
    assert not report.is_ok


def test_many_lost_writes_do_not_cost_exponential_time() -> None:
    lost = [op("put", b"lost%d" % n, n, n, None) for n in range(60)]
    puts = [op("put", b"%d" % n, 100 + 2 * n, 101 + 2 * n) for n in range(60)]
    gets = [op("get", b"", 101.2 + 2 * n, 101.8 + 2 * n, b"%d" % n) for n in range(60)]
    assert check([*lost, *puts, *gets], FILE, steps_max=100_000).is_ok
    wrong = [*lost, *puts, *gets, op("get", b"", 900, 901, b"never written")]
    assert check(wrong, FILE, steps_max=1_000_000).verdict is Verdict.NOT_LINEARIZABLE


def test_a_long_history() -> None:
    history = []
    for n in range(5000):
        history += [op("put", b"%d" % n, n, n + 0.6), op("get", b"", n + 0.1, n + 0.5, b"%d" % n)]
    assert check(history, FILE).is_ok


# -- random histories

NAMES = st.sampled_from(["create", "put", "append", "get", "remove"])


@st.composite
def sequential_runs(draw: st.DrawFn, operations_max: int) -> list[Operation]:
    """What a run one at a time told; then each operation's span is stretched around the moment of its effect, and some
    outcomes are lost."""
    state: Any = None
    history: list[Operation] = []
    for moment in range(draw(st.integers(1, operations_max))):
        name = draw(NAMES)
        operation = op(name, draw(st.sampled_from([b"a", b"b"])), 0, 0)
        state, result = FILE.apply(state, operation)
        called = moment - draw(st.floats(0, 4))
        returned = moment + draw(st.floats(0, 4))
        history.append(op(name, operation.argument, called, returned, None if draw(st.integers(0, 5)) == 0 else result))
    return history


@settings(max_examples=200, deadline=None)
@given(sequential_runs(40))
def test_what_a_sequential_run_told_is_accepted(history: list[Operation]) -> None:
    assert check(history, FILE).is_ok


def is_linearizable_by_force(history: list[Operation]) -> bool:
    """Every order of every choice of unknown operations."""
    known_ones = [each for each in history if each.is_known]
    unknown = [each for each in history if not each.is_known]
    for chosen in range(1 << len(unknown)):
        part = known_ones + [each for number, each in enumerate(unknown) if chosen >> number & 1]
        if any(_is_possible(order) for order in permutations(part)):
            return True
    return False


def _is_possible(order: tuple[Operation, ...]) -> bool:
    state: Any = None
    latest_call = -math.inf
    for each in order:
        if each.returned_s < latest_call:  # something before it was called only after it had returned
            return False
        latest_call = max(latest_call, each.called_s)
        state, result = FILE.apply(state, each)
        if each.is_known and result != each.result:
            return False
    return True


@settings(max_examples=300, deadline=None)
@given(sequential_runs(5), st.data())
def test_it_agrees_with_brute_force(history: list[Operation], data: st.DataObject) -> None:
    """On runs as they were, and with one answer changed."""
    answers: list[Result] = [OK, EXISTS, ABSENT, b"a", b"b", b"ab", b"aa", b""]
    index = data.draw(st.integers(0, len(history) - 1))
    changed = msgspec.structs.replace(history[index], result=data.draw(st.sampled_from(answers)))
    mutated = [*history[:index], changed, *history[index + 1 :]]
    assert check(mutated, FILE).is_ok is is_linearizable_by_force(mutated)


# -- the recorder


async def test_what_is_recorded() -> None:
    recorder = Recorder("c1")

    def returns(value: object) -> object:
        async def call() -> object:
            if isinstance(value, serr.SigmaError):
                raise value
            return value

        return call

    calls = {
        "bytes": (b"data", b"data"),
        "count": (3, OK),
        "names": (["a", "b"], ("a", "b")),
        "exists": (serr.Exists("f"), EXISTS),
        "absent": (serr.NotFound("f"), ABSENT),
        "lost": (serr.IOErr("f"), None),
        "odd": (serr.Closed("f", "pipe"), None),
    }
    for name, (value, expected) in calls.items():
        assert await recorder.run("f", name, b"", returns(value)) == expected  # type: ignore[arg-type]
    for never in (serr.Unreachable("f"), serr.NotLeading("named")):
        assert await recorder.run("f", "never", b"", returns(never)) is None  # type: ignore[arg-type]
    assert [each.name for each in recorder.operations] == list(calls)
    assert [each.is_known for each in recorder.operations] == [expected is not None for _, expected in calls.values()]
    assert all(each.called_s <= each.returned_s for each in recorder.operations)
    assert decode(encode(recorder.operations)) == recorder.operations
