"""One server's keys: room, age, numbers, and what goes with a shard."""

from __future__ import annotations

from collections import OrderedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigmaos_ray import serr
from user.cache.config import EMPTY, SHARDS_COUNT, CacheConfig, shard_of, steps
from user.cache.state import CacheState
from user.cache.tuning import SERVER

ALL = CacheConfig(1, ("0",), ("0",) * SHARDS_COUNT)


def full_state(bytes_max: int = 1 << 20) -> CacheState:
    state = CacheState("0", bytes_max)
    assert state.follow(ALL)
    return state


def test_the_least_recently_used_goes_first() -> None:
    state = full_state(3 * (SERVER.entry_bytes + 11))
    for key in "abc":
        state.put(key, bytes(10), 0.0)
    assert state.get("a", 0.0) == bytes(10)
    state.put("d", bytes(10), 0.0)
    assert [state.get(key, 0.0) is not None for key in "abcd"] == [True, False, True, True]
    assert state.counts.evictions == 1
    with pytest.raises(serr.Inval, match="key e"):
        state.put("e", bytes(2000), 0.0)
    assert len(state) == 3


def test_a_value_that_grows_makes_room() -> None:
    state = full_state(2 * (SERVER.entry_bytes + 101))
    state.put("a", bytes(100), 0.0)
    state.put("b", bytes(100), 0.0)
    state.put("b", b"x", 0.0, append=True)
    assert state.get("a", 0.0) is None
    assert state.get("b", 0.0) == bytes(100) + b"x"


def test_values_have_their_time() -> None:
    state = full_state()
    state.put("a", b"1", 10.0, ttl_s=5.0)
    assert state.get("a", 14.9) == b"1"
    assert state.get("a", 15.0) is None
    assert not state.delete("a", 15.0)
    assert (state.counts.expirations, state.size_bytes) == (1, 0)
    state.put("a", b"1", 20.0, ttl_s=5.0)
    state.put("a", b"2", 21.0)
    assert state.get("a", 99.0) == b"2"


def test_numbers_of_a_key() -> None:
    state = full_state()
    for moment_s, value in ((1.0, b"1"), (2.0, b"22")):
        state.put("a", value, moment_s)
    state.put("b", b"", 0.0)
    for _ in range(3):
        state.get("a", 3.0)
    state.get("missing", 3.0)
    entry = state.entry("a", 3.0)
    assert entry is not None
    assert (entry.gets, entry.puts, entry.put_s) == (3, 2, 2.0)
    assert [key for key, _ in state.hottest(1)] == ["a"]
    assert state.counts.hits == 3


def test_values_go_with_their_shard_and_do_not_come_back() -> None:
    state = full_state()
    keys = [f"key-{number}" for number in range(200)]
    for key in keys:
        state.put(key, b"old", 0.0)
    between, after = steps(ALL, ["0", "1"])
    assert state.follow(between)
    assert not state.follow(ALL)
    owned = [key for key in keys if state.get(key, 0.0) is not None]
    assert owned == [key for key in keys if after.owners[shard_of(key)] == "0"]
    assert [key for key in keys if state.owns(key)] == owned
    assert state.follow(after)
    for config in steps(after, ["0"]):
        assert state.follow(config)
    assert [key for key in keys if state.get(key, 0.0) is not None] == owned


def test_a_server_without_a_configuration_owns_nothing() -> None:
    state = CacheState("0", 1000)
    assert not state.owns("a")
    assert not state.follow(EMPTY)


KEYS = st.sampled_from("abcdef")


@given(st.lists(st.tuples(st.sampled_from(["put", "append", "get", "delete"]), KEYS, st.binary(max_size=60))))
def test_against_a_model(calls: list[tuple[str, str, bytes]]) -> None:
    """An ordered dictionary that is cut to size after each change."""
    bytes_max = 3 * SERVER.entry_bytes + 100
    state, model = full_state(bytes_max), OrderedDict[str, bytes]()

    def size() -> int:
        return sum(len(key) + len(value) + SERVER.entry_bytes for key, value in model.items())

    for what, key, value in calls:
        if what == "get":
            assert state.get(key, 0.0) == model.get(key)
            if key in model:
                model.move_to_end(key)
        elif what == "delete":
            assert state.delete(key, 0.0) == (model.pop(key, None) is not None)
        else:
            new = model.get(key, b"") + value if what == "append" else value
            if len(key) + len(new) + SERVER.entry_bytes > bytes_max:
                with pytest.raises(serr.Inval):
                    state.put(key, value, 0.0, append=what == "append")
                continue
            state.put(key, value, 0.0, append=what == "append")
            model[key] = new
            model.move_to_end(key)
            while size() > bytes_max:
                model.popitem(last=False)
        assert state.size_bytes == size()
