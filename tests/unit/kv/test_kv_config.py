"""Who has which shard (KV-2, KV-3, KV-10)."""

from __future__ import annotations

import msgspec
import pytest

from sigmaos_ray import serr
from sigmaos_ray.ft.sharding import fnv1a
from user.kv import config as cfg
from user.kv.config import Auto, Group, KvConfig, scaled
from user.kv.keys import SHARDS_COUNT, shard_of
from user.kv.paths import KvPaths


def settled(config: KvConfig) -> KvConfig:
    return config.moved(config.moves)


def grown(groups: int) -> KvConfig:
    config = KvConfig()
    for number in range(groups):
        name = f"grp-{number}"
        config = config.with_group(name, Group()).activated(name)
        config = settled(config.planned((1, number)))
    return config


def loads(config: KvConfig) -> list[int]:
    return [config.shards.count(group) for group in config.of_state(cfg.ACTIVE)]


def test_keys_are_spread_as_fnv_says() -> None:
    assert shard_of("") == 2166136261 % SHARDS_COUNT
    assert shard_of("é") == fnv1a("é".encode()) % SHARDS_COUNT


@pytest.mark.parametrize("groups", range(1, 12))
def test_every_group_has_its_share(groups: int) -> None:
    """KV-3."""
    config = grown(groups)
    assert set(loads(config)) <= {SHARDS_COUNT // groups, SHARDS_COUNT // groups + 1}
    for name in sorted(config.groups)[:-1]:
        config = settled(config.without_group(name).planned((2, 0)))
        assert name not in config.shards
        config = config.forgotten(name)
        groups_left = len(config.groups)
        assert set(loads(config)) <= {SHARDS_COUNT // groups_left, SHARDS_COUNT // groups_left + 1}


def test_moves_stay_until_they_ended() -> None:
    config = grown(1).with_group("grp-1", Group()).activated("grp-1").planned((1, 5))
    assert len(config.moves) == 50
    assert config.planned((1, 6)) is config
    move = config.moves[0]
    assert config.where(move.shard) == ["grp-0", "grp-1"]
    after = config.moved([move])
    assert after.where(move.shard) == ["grp-1"]
    assert len(after.moves) == 49


def test_the_last_group_stays() -> None:
    with pytest.raises(serr.Inval, match="last server"):
        grown(1).without_group("grp-0")
    config = grown(2).without_group("grp-0")
    assert config.without_group("grp-0") is config
    with pytest.raises(serr.Inval, match="last server"):
        config.without_group("grp-1")
    with pytest.raises(serr.Retry):
        config.with_group("grp-0", Group())


def test_the_monitor() -> None:
    """KV-10."""
    auto = Auto(groups_max=3)
    assert scaled({"grp-0": 0.9}, auto) == ("add", "")
    assert scaled({"grp-0": 0.9}, Auto()) is None
    assert scaled({"grp-0": 0.9, "grp-1": 0.9, "grp-2": 0.9}, auto) is None
    assert scaled({"grp-0": 0.6, "grp-1": 0.5}, auto) is None
    assert scaled({"grp-0": 0.1, "grp-1": 0.05}, auto) == ("remove", "grp-1")
    assert scaled({"grp-0": 0.1}, auto) is None
    assert scaled({}, auto) is None


def test_a_configuration_travels_and_nonsense_is_refused() -> None:
    config = grown(3)
    assert cfg.decode(cfg.encode(config), "config") == config
    for data in (b"{", b"[]", b'{"shards": []}', msgspec.json.encode({"shards": ["grp-5"] * 100})):
        with pytest.raises(serr.Inval, match="no configuration"):
            cfg.decode(data, "name/kv/x/config")


def test_paths() -> None:
    assert KvPaths("j").elect("grp-1") == "name/kv/j/grp-1-elect"
    for bad in ("", "a/b", "~any"):
        with pytest.raises(serr.Inval):
            KvPaths(bad)
