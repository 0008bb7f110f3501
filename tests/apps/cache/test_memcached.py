"""memcached behind the cache's interface, and code that takes either (CA-6)."""

from __future__ import annotations

import json
import secrets
import shutil
from typing import TYPE_CHECKING

import pytest
from memcached_child import Memcached, free_port, memcacheds

from sigmaos_ray import serr
from user.cache import CacheClnt, MemcachedClnt, is_miss

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sigmaos_ray import SigmaClnt
    from user.cache import Cache

pytestmark = pytest.mark.skipif(shutil.which("memcached") is None, reason="memcached: apt-get install memcached")


@pytest.fixture(scope="module")
def servers() -> Iterator[list[Memcached]]:
    with memcacheds(2) as servers:
        yield servers


@pytest.fixture
def memcached(sc: SigmaClnt, servers: list[Memcached]) -> Iterator[MemcachedClnt]:
    pn = f"name/memcached-{secrets.token_hex(4)}"
    sc.put_file(pn, json.dumps([server.address for server in servers]).encode())
    with MemcachedClnt.of(sc, pn) as clnt:
        yield clnt
    sc.remove(pn)


@pytest.fixture(params=["own", "memcached"])
def cache(request: pytest.FixtureRequest) -> Cache:
    clnt: Cache = request.getfixturevalue("clnt" if request.param == "own" else "memcached")
    return clnt


def test_either_cache_does_the_same(cache: Cache) -> None:
    def missing(key: str) -> bool:
        with pytest.raises(serr.NotFound) as raised:
            cache.get(key)
        return is_miss(raised.value)

    assert missing("k")
    cache.put("k", b"1")
    cache.put("k", b"\x00\xff")
    assert cache.get("k") == b"\x00\xff"
    assert cache.delete("k")
    assert not cache.delete("k")
    assert missing("k")

    values = {f"é-{number}": f"{number}".encode() for number in range(300)}
    cache.put_many(values, ttl_s=100)
    assert cache.get_many([*values, "missing"]) == values
    for value in (b"a", b""):
        cache.append("list", value)
    assert cache.get_vals("list") == [b"a", b""]
    for key in ("", "a b", "x" * 251, "new\nline"):
        with pytest.raises(serr.Inval):
            cache.put(key, b"")
    with pytest.raises(serr.Inval):
        cache.put("k", b"", ttl_s=-1)


def test_every_memcached_has_keys(memcached: MemcachedClnt) -> None:
    memcached.put_many({f"spread-{number}": b"" for number in range(100)})
    assert all(int(stats["curr_items"]) > 10 for stats in memcached.stats().values())


def test_a_value_that_memcached_does_not_take(memcached: MemcachedClnt) -> None:
    for change in (memcached.put, memcached.append):
        with pytest.raises(serr.SigmaError, match="memcached"):
            change("huge", bytes(2 << 20))
    memcached.put("after", b"1")
    assert memcached.get("after") == b"1"


def test_a_memcached_that_is_away() -> None:
    with memcacheds(1) as [server], MemcachedClnt([server.address, f"127.0.0.1:{free_port()}"]) as clnt:
        keys = [f"{number}" for number in range(40)]
        unreachable = 0
        for key in keys:
            try:
                clnt.put(key, b"1")
            except serr.Unreachable:
                unreachable += 1
        assert 0 < unreachable < 40
        assert len(clnt.get_many(keys)) == 40 - unreachable


@pytest.mark.parametrize("content", [b"no json", b'{"a": 1}', b"[1]", b'["nowhere"]', b"[]"])
def test_addresses_that_are_none(sc: SigmaClnt, content: bytes) -> None:
    pn = f"name/memcached-{secrets.token_hex(4)}"
    sc.put_file(pn, content)
    with pytest.raises(serr.Inval):
        MemcachedClnt.of(sc, pn)
    sc.remove(pn)


def test_own_servers_hold_what_memcached_does_not(clnt: CacheClnt) -> None:
    clnt.put("huge", bytes(2 << 20))
    assert len(clnt.get("huge")) == 2 << 20
