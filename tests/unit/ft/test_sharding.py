"""Keys over shards, shards over servers: the published hash; evenly, and with as few moves as can be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigmaos_ray.ft.sharding import fnv1a, spread

SHARDS_COUNT = 100
NOBODY = ""
SERVERS = ["0", "1", "2"]


def moves(old: list[str], new: list[str]) -> int:
    return sum(before != after for before, after in zip(old, new, strict=True))


@pytest.mark.parametrize(("text", "value"), [(b"", 0x811C9DC5), (b"a", 0xE40C292C), (b"foobar", 0xBF9CF968)])
def test_fnv1a_is_the_published_one(text: bytes, value: int) -> None:
    assert fnv1a(text) == value


@pytest.mark.parametrize("count", [1, 2, 3, 7, 99, 100, 101])
def test_shares_are_even(count: int) -> None:
    servers = [f"{number}" for number in range(count)]
    owners = spread([NOBODY] * SHARDS_COUNT, servers)
    loads = [owners.count(server) for server in servers]
    assert sum(loads) == SHARDS_COUNT
    assert max(loads) - min(loads) <= 1


def test_only_what_must_moves() -> None:
    owners = spread([NOBODY] * SHARDS_COUNT, ["0", "1"])
    more = spread(owners, SERVERS)
    assert moves(owners, more) == more.count("2")
    fewer = spread(more, ["0", "2"])
    assert moves(more, fewer) == more.count("1")
    assert spread(fewer, ["2", "0"]) == fewer


def test_without_servers_nothing_moves() -> None:
    assert spread(["0", NOBODY], []) == ["0", NOBODY]


@given(
    st.lists(st.sampled_from([*SERVERS, "gone"]), min_size=SHARDS_COUNT, max_size=SHARDS_COUNT),
    st.sets(st.integers(0, SHARDS_COUNT - 1)),
)
def test_what_is_fixed_stays_and_no_more_moves_than_must(owners: list[str], fixed: set[int]) -> None:
    wanted = spread(owners, SERVERS, fixed)
    assert all(wanted[shard] == owners[shard] for shard in fixed)
    assert all(wanted[shard] in SERVERS for shard in range(SHARDS_COUNT) if shard not in fixed)
    if not fixed:
        counts = [wanted.count(server) for server in SERVERS]
        assert max(counts) - min(counts) <= 1
        surplus = sum(max(0, owners.count(server) - 34) for server in SERVERS) + owners.count("gone")
        assert moves(owners, wanted) <= surplus + 2
