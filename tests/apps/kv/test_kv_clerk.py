"""What a clerk of a running store can do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sigmaos_ray import serr
from user.kv.keys import SHARDS_COUNT, VALUE_BYTES_MAX, shard_of

if TYPE_CHECKING:
    from sigmaos_ray.testing import Tstate
    from user.kv.blocking import KvClerk


def test_put_get_append_delete(clerk: KvClerk) -> None:
    clerk.put("a", b"1")
    assert clerk.get("a") == b"1"
    clerk.append("a", b"2")
    clerk.append("new", b"3")
    assert clerk.get("a") == b"12"
    assert clerk.get("new") == b"3"
    assert clerk.delete("a")
    assert not clerk.delete("a")
    with pytest.raises(serr.NotFound) as error:
        clerk.get("a")
    assert error.value.obj == "key a"


def test_compare_and_set(clerk: KvClerk) -> None:
    assert clerk.compare_and_set("cas", None, b"1")
    assert not clerk.compare_and_set("cas", None, b"2")
    assert not clerk.compare_and_set("cas", b"0", b"2")
    assert clerk.compare_and_set("cas", b"1", b"2")
    assert clerk.get("cas") == b"2"


def test_many_keys_and_scans(clerk: KvClerk) -> None:
    values = {f"many-{number}": b"%d" % number for number in range(300)}
    clerk.put_many(values)
    assert clerk.get_many([*values, "not there"]) == values
    scanned: dict[str, bytes] = {}
    for shard in range(SHARDS_COUNT):
        page = clerk.scan(shard)
        assert list(page) == sorted(page)
        assert all(shard_of(key) == shard for key in page)
        scanned |= page
    assert values.items() <= scanned.items()


def test_large_values_go_page_by_page(clerk: KvClerk) -> None:
    keys = [f"large-{number}" for number in range(6)]
    value = bytes(VALUE_BYTES_MAX)
    clerk.put_many(dict.fromkeys(keys, value))
    assert clerk.get_many(keys) == dict.fromkeys(keys, value)
    with pytest.raises(serr.Inval, match=str(VALUE_BYTES_MAX)):
        clerk.append(keys[0], b"x")
    assert clerk.get(keys[0]) == value
    for key in keys:
        clerk.delete(key)


def test_what_is_wrong_is_named(clerk: KvClerk) -> None:
    with pytest.raises(serr.Inval, match="between 1 and"):
        clerk.put("", b"")
    with pytest.raises(serr.Inval, match="at most"):
        clerk.put("k", bytes(VALUE_BYTES_MAX + 1))
    with pytest.raises(serr.Inval, match="shard 100"):
        clerk.scan(SHARDS_COUNT)


def test_a_store_that_is_not_there(tstate_all: Tstate) -> None:
    from user.kv.blocking import KvClerk

    with KvClerk(tstate_all.sc, "nowhere") as clerk, pytest.raises(serr.NotFound, match="no such kv store"):
        clerk.get("a")
