"""Shards over servers: evenly, with as few moves as can be, and never at two of them."""

from __future__ import annotations

import random

import pytest

from sigmaos_ray import serr
from user.cache.config import EMPTY, NOBODY, CacheConfig, shard_of, steps
from user.cache.paths import CachePaths


def test_keys_are_spread_as_fnv_says() -> None:
    assert shard_of("foobar") == 0xBF9CF968 % 1009


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
        CachePaths("a/b")
