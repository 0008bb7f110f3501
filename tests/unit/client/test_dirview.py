"""What a directory cache knows (W-11)."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from sigmaos_ray.fslib import names, present
from sigmaos_ray.fslib.dirview import DirView
from sigmaos_ray.sigmap import Stat

NAMES = st.sampled_from(list("abcdef"))


@given(st.lists(st.tuples(st.booleans(), NAMES)))
def test_it_is_a_sorted_set(changes: list[tuple[bool, str]]) -> None:
    view = DirView()
    model: set[str] = set()
    for is_created, name in changes:
        if is_created:
            view.created(name)
            model.add(name)
        else:
            assert view.removed(name) is (name in model)
            model.discard(name)
        assert view.names() == sorted(model)
        assert len(view) == len(model)


def test_an_entry_that_came_back_is_another_one() -> None:
    view = DirView()
    view.created("a")
    first = view.generation("a")
    view.created("a")
    view.replace(["a", "b"])
    assert view.generation("a") == first
    view.removed("a")
    assert view.generation("a") is None
    view.created("a")
    assert view.generation("a") not in (None, first)


def test_reading_anew_adds_and_removes_differences() -> None:
    view = DirView()
    view.replace(["a", "b"])
    kept = view.generation("b")
    view.replace(["b", "c"])
    assert view.names() == ["b", "c"]
    assert view.generation("b") == kept


def test_hidden_names() -> None:
    view = DirView([".", "tmp-"])
    view.replace([".statsd", "tmp-1", "a"])
    view.created("tmp-2")
    assert view.names() == ["a"]
    assert "tmp-2" not in view


def test_round_robin_gives_all_the_same_share() -> None:
    view = DirView()
    assert view.next_name() is None
    assert view.any_name() is None
    view.replace(["a", "b", "c"])
    assert Counter(view.next_name() for _ in range(30)) == {"a": 10, "b": 10, "c": 10}
    view.removed("b")
    view.created("d")
    assert Counter(view.next_name() for _ in range(30)) == {"a": 10, "c": 10, "d": 10}
    assert view.any_name() in {"a", "c", "d"}


def test_names_and_present() -> None:
    """F-5."""
    stats = [Stat(name="a"), Stat(name="b")]
    assert names(stats) == ["a", "b"]
    assert present(stats, ["b"])
    assert present(stats, [])
    assert not present(stats, ["a", "c"])
