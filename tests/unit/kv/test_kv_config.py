"""Who has which shard (KV-2, KV-3, KV-10)."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigmaos_ray import serr
from user.kv import config as cfg
from user.kv.config import Auto, Config, Group, scaled
from user.kv.names import SHARDS_COUNT, Names, shard_of


def settled(config: Config) -> Config:
    return config.moved(config.moves)


def grown(groups: int) -> Config:
    config = Config()
    for number in range(groups):
        name = f"grp-{number}"
        config = config.with_group(name, Group()).activated(name)
        config = settled(config.planned((1, number)))
    return config


def loads(config: Config) -> list[int]:
    return [config.shards.count(group) for group in config.of_state(cfg.ACTIVE)]


def test_keys_are_spread_as_fnv_says() -> None:
    assert shard_of("") == 2166136261 % SHARDS_COUNT
    assert shard_of("a") == 0xE40C292C % SHARDS_COUNT
    assert shard_of("foobar") == 0xBF9CF968 % SHARDS_COUNT


@pytest.mark.parametrize("groups", range(1, 12))
def test_every_group_has_its_share(groups: int) -> None:
    """KV-3."""
    config = grown(groups)
    assert set(loads(config)) <= {SHARDS_COUNT // groups, SHARDS_COUNT // groups + 1}
    for name in sorted(config.groups)[:-1]:
        config = settled(config.without_group(name).planned((2, 0)))
        assert name not in config.shards
        config = config.forgotten(name)
        left = len(config.groups)
        assert set(loads(config)) <= {SHARDS_COUNT // left, SHARDS_COUNT // left + 1}


@given(
    st.lists(st.sampled_from(["grp-0", "grp-1", "grp-2", "grp-9"]), min_size=100, max_size=100),
    st.sets(st.integers(0, 99)),
)
def test_what_is_fixed_stays_and_no_more_moves_than_must(owners: list[str], fixed: set[int]) -> None:
    groups = ["grp-0", "grp-1", "grp-2"]
    found = cfg.balanced(owners, groups, fixed)
    assert all(found[shard] == owners[shard] for shard in fixed)
    assert all(found[shard] in groups for shard in range(100) if shard not in fixed)
    if not fixed:
        counts = [found.count(group) for group in groups]
        assert max(counts) - min(counts) <= 1
        moved = sum(a != b for a, b in zip(owners, found, strict=True))
        surplus = sum(max(0, owners.count(group) - 34) for group in groups) + owners.count("grp-9")
        assert moved <= surplus + 2


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


def test_names() -> None:
    assert Names("j").elect("grp-1") == "name/kv/j/grp-1-elect"
    for bad in ("", "a/b", "~any"):
        with pytest.raises(serr.Inval):
            Names(bad)
