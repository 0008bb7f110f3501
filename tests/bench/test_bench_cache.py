"""The cache beside Redis, and memcached behind the same interface.

Claims: a get costs at most 3 of redis-py's; 100 keys in one call cost no more than 100 of redis-py's, one by one (its
``mget`` is told as well).
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

import pytest
import redis
from measure import compare
from peers import PeerMissing, memcached_child

from user.cache import CacheClnt, CacheJob, MemcachedClnt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from measure import Work

    from sigmaos_ray.testing import Tstate
    from user.cache import Cache

JOB: Final = "bench-cache"
KEYS: Final = [f"key-{number}" for number in range(100)]
VALUE: Final = bytes(100)


@pytest.fixture(scope="module")
def cache(instance: Tstate) -> Iterator[CacheClnt]:
    with CacheJob(instance.sc, JOB), CacheClnt(instance.sc, JOB) as clnt:
        clnt.put_many(dict.fromkeys(KEYS, VALUE))
        yield clnt


def gets(cache: Cache) -> Work:
    def work(times: int) -> None:
        for number in range(times):
            assert cache.get(KEYS[number % 100]) == VALUE

    return work


def multi_gets(cache: Cache) -> Work:
    def work(times: int) -> None:
        for _ in range(times):
            assert len(cache.get_many(KEYS)) == 100

    return work


def puts(cache: Cache) -> Work:
    def work(times: int) -> None:
        for number in range(times):
            cache.put(KEYS[number % 100], VALUE)

    return work


def test_beside_redis(cache: CacheClnt, redis_port: int | PeerMissing) -> None:
    missing = str(redis_port) if isinstance(redis_port, PeerMissing) else ""
    with contextlib.ExitStack() as stack:
        client = None if missing else stack.enter_context(redis.Redis(port=int(str(redis_port))))
        if client is not None:
            client.mset(dict.fromkeys(KEYS, VALUE))

        def their_gets(times: int) -> None:
            assert client is not None
            for number in range(times):
                assert client.get(KEYS[number % 100]) == VALUE

        def their_mgets(times: int) -> None:
            assert client is not None
            for _ in range(times):
                assert len(client.mget(KEYS)) == 100

        def their_puts(times: int) -> None:
            assert client is not None
            for number in range(times):
                client.set(KEYS[number % 100], VALUE)

        def beside(what: str, ours: Work, theirs: Work, goal: float | None, times: int) -> None:
            peer = ("redis-py", theirs) if client is not None else None
            compare(what, ("ours", ours), peer, times=times, goal=goal, missing=missing)

        beside("a get", gets(cache), their_gets, 3.0, 500)
        beside("100 keys, Redis one by one", multi_gets(cache), lambda times: their_gets(100 * times), 1.0, 50)
        beside("100 keys, Redis mget", multi_gets(cache), their_mgets, None, 100)
        beside("a put", puts(cache), their_puts, None, 500)


def test_beside_memcached(cache: CacheClnt) -> None:
    try:
        with memcached_child() as port, MemcachedClnt([f"127.0.0.1:{port}"]) as theirs:
            theirs.put_many(dict.fromkeys(KEYS, VALUE))
            compare("a get", ("ours", gets(cache)), ("memcached", gets(theirs)), times=500)
            compare("100 keys", ("ours", multi_gets(cache)), ("memcached", multi_gets(theirs)), times=100)
    except PeerMissing as missing:
        compare("a get", ("ours", gets(cache)), None, times=500, missing=str(missing))
