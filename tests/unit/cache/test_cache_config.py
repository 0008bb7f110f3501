"""Shards over servers: evenly, with as few moves as can be, and never at two of them."""

from __future__ import annotations

import random

import pytest

from sigmaos_ray import serr
from user.cache.config import EMPTY, NOBODY, SHARDS_COUNT, CacheConfig, Names, fnv1a, shard_of, spread, steps


def test_fnv1a_as_everyone_has_it() -> None:
    assert [fnv1a(text) for text in ("", "a", "foobar")] == [0x811C9DC5, 0xE40C292C, 0xBF9CF968]
    assert shard_of("foobar") == 0xBF9CF968 % 1009


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_shares_are_even(count: int) -> None:
    servers = [f"{number}" for number in range(count)]
    owners = spread((NOBODY,) * SHARDS_COUNT, servers)
    loads = [owners.count(server) for server in servers]
    assert sum(loads) == SHARDS_COUNT
    assert max(loads) - min(loads) <= 1


def test_few_shards_move() -> None:
    owners = spread((NOBODY,) * SHARDS_COUNT, ["0", "1"])
    more = spread(owners, ["0", "1", "2"])
    assert sum(old != new for old, new in zip(owners, more, strict=True)) == more.count("2")
    fewer = spread(more, ["0", "2"])
    assert sum(old != new for old, new in zip(more, fewer, strict=True)) == more.count("1")
    assert spread(fewer, ["2", "0"]) == fewer


def test_no_shard_goes_from_one_to_another_in_one_step() -> None:
    random_ = random.Random(3)
    config = EMPTY
    for _ in range(50):
        servers = random_.sample([f"{number}" for number in range(6)], random_.randint(1, 6))
        for step in steps(config, servers):
            assert step.number == config.number + 1
            for old, new in zip(config.owners, step.owners, strict=True):
                assert old == new or NOBODY in (old, new)
            assert set(step.owners) - {NOBODY} <= set(step.servers)
            config = step
        assert config.servers == tuple(servers)
        assert NOBODY not in config.owners


def test_what_is_no_configuration() -> None:
    assert CacheConfig.from_bytes(EMPTY.to_bytes()) == EMPTY
    for data in (b"", b"{}", b'{"number": 1, "servers": [], "owners": []}'):
        with pytest.raises(serr.Inval):
            CacheConfig.from_bytes(data)
    with pytest.raises(serr.Inval):
        Names("a/b")
