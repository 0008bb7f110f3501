"""Where nameds run."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from kernel.boot.placing import host_for, named_port, numbered, place, why_unfit
from sigmaos_ray.config import NAMED_PORT


def test_the_address_that_an_instance_binds() -> None:
    assert host_for("10.0.0.9", "remote", "10.0.0.1", ["10.0.0.1", "10.0.0.2"]) == "10.0.0.9"
    assert host_for("", "local", "10.0.0.1", ["10.0.0.1", "10.0.0.2"]) == "10.0.0.1"
    assert host_for("", "remote", "10.0.0.1", ["10.0.0.1"]) == "10.0.0.1"
    # A laptop on which somebody ran `ray start --head`, even with several nodes of one host.
    assert host_for("", "local", "10.0.0.1", ["10.0.0.1", "10.0.0.1"]) == "127.0.0.1"
    assert host_for("", "local", "127.0.0.1", []) == "127.0.0.1"


def test_what_listens_on_loopback_has_no_parts_on_other_machines() -> None:
    assert not why_unfit("10.0.0.1", is_beside=False)
    assert not why_unfit("127.0.0.1", is_beside=True)
    why = why_unfit("127.0.0.1", is_beside=False)
    assert "127.0.0.1 only" in why
    assert "sigmaos start" in why


def test_one_per_node_first() -> None:
    assert place(2, ["a", "b", "c"], {}) == {0: "a", 1: "b"}
    assert place(3, ["a", "b"], {}) == {0: "a", 1: "b", 2: "a"}
    assert place(2, ["a"], {}) == {0: "a", 1: "a"}
    assert place(1, [], {}) == {}


def test_a_node_comes_and_goes() -> None:
    assert place(2, ["a", "b"], {0: "a", 1: "a"}, stays={0}) == {0: "a", 1: "b"}
    assert place(2, ["a", "b"], {0: "a", 1: "a"}, stays={1}) == {0: "b", 1: "a"}
    assert place(2, ["b"], {0: "a", 1: "b"}) == {0: "b", 1: "b"}
    assert place(2, ["a", "b", "c"], {0: "c", 1: "b"}) == {0: "c", 1: "b"}


HOSTS = {"a": "h1", "b": "h1", "c": "h2", "d": "h2"}


def test_one_per_host_first() -> None:
    assert place(2, ["a", "b", "c"], {}, hosts=HOSTS) == {0: "a", 1: "c"}
    assert place(3, ["a", "b", "c"], {}, hosts=HOSTS) == {0: "a", 1: "c", 2: "b"}
    assert place(3, ["a", "b", "c", "d"], {}, hosts=HOSTS) == {0: "a", 1: "c", 2: "b"}


def test_a_standby_moves_to_another_host_than_the_leaders() -> None:
    assert place(2, ["a", "b"], {}, hosts=HOSTS) == {0: "a", 1: "b"}
    assert place(2, ["a", "b", "c"], {0: "a", 1: "b"}, {1}, HOSTS) == {0: "c", 1: "b"}
    assert place(2, ["a", "b", "c"], {0: "a", 1: "b"}, {0}, HOSTS) == {0: "a", 1: "c"}
    assert place(2, ["a", "c", "d"], {0: "a", 1: "c"}, {0}, HOSTS) == {0: "a", 1: "c"}
    assert place(3, ["a", "c", "d"], {0: "a", 1: "c", 2: "c"}, {0}, HOSTS) == {0: "a", 1: "c", 2: "d"}


def test_the_steady_port_of_named() -> None:
    assert [named_port(None, "10.0.0.1", number) for number in (1, 2)] == [NAMED_PORT, NAMED_PORT + 1]
    assert named_port(None, "127.0.0.1", 1) == named_port(None, "::1", 1) == named_port(None, "localhost", 1) == 0
    assert named_port(0, "10.0.0.1", 2) == 0
    assert named_port(7000, "127.0.0.1", 2) == 7001


NODES = st.lists(st.sampled_from("abcdef"), min_size=1, unique=True)


@given(st.integers(1, 6), NODES, NODES, st.integers(0, 5))
def test_never_two_where_one_has_none_and_nobody_moves_for_nothing(
    count: int, before: list[str], after: list[str], leader: int
) -> None:
    stays = leader % count
    first = place(count, before, {})
    second = place(count, after, first, {stays})
    load = Counter(second.values())
    assert set(second) == set(range(count))
    assert set(load) <= set(after)
    assert max(load.values()) <= 1 or len(load) == len(after), "two share a node while another has none"
    if first[stays] in after:
        assert second[stays] == first[stays]
    if count <= len(before) and set(first.values()) <= set(after):
        assert second == first


def test_nodes_of_one_host_are_numbered() -> None:
    assert numbered({"a": "h1", "b": "h1", "c": "h2"}, {}, "b") == {"a": 2, "b": 1, "c": 1}
    assert numbered({"b": "h1", "d": "h1"}, {"a": 2, "b": 1}, "b") == {"b": 1, "d": 2}
    assert numbered({"c": "h1", "d": "h1"}, {"c": 2}, "b") == {"c": 2, "d": 1}
