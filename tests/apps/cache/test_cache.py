"""The cache as its users have it: values, misses, numbers; servers that come, go and die while clients go on (CA-1 to
CA-4)."""

from __future__ import annotations

import os
import secrets
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from sigmaos_ray import serr
from user.cache import AsyncCacheClnt, CacheClnt, CacheJob, is_miss
from user.cache.paths import CachePaths

if TYPE_CHECKING:
    from sigmaos_ray import SigmaClnt


def check_missing(clnt: CacheClnt, key: str) -> None:
    with pytest.raises(serr.NotFound) as raised:
        clnt.get(key)
    assert is_miss(raised.value)
    assert raised.value.obj == f"key {key}"


def test_put_get_delete(clnt: CacheClnt) -> None:
    check_missing(clnt, "k")
    clnt.put("k", b"1")
    assert clnt.get("k") == b"1"
    clnt.put("k", b"")
    assert clnt.get("k") == b""
    assert clnt.delete("k")
    assert not clnt.delete("k")
    check_missing(clnt, "k")


def test_many_keys_on_every_server(clnt: CacheClnt, job: CacheJob) -> None:
    values = {f"key-{number}": f"{number}".encode() for number in range(3000)}
    clnt.put_many(values)
    assert clnt.get_many([*values, "missing", *values]) == values
    assert clnt.get_many([]) == {}
    stats = clnt.stats()
    assert sorted(stats) == sorted(job.servers())
    assert all(each.keys > 1000 for each in stats.values())
    assert sum(each.keys for each in stats.values()) == 3000


def test_values_larger_than_a_message(clnt: CacheClnt) -> None:
    values = {f"large-{number}": bytes([number]) * (3 << 20) for number in range(6)}
    clnt.put_many(values)
    assert clnt.get_many(values) == values


def test_appended_values(clnt: CacheClnt) -> None:
    with pytest.raises(serr.NotFound):
        clnt.get_vals("list")
    for value in (b"one", b"", b"three"):
        clnt.append("list", value)
    assert clnt.get_vals("list") == [b"one", b"", b"three"]
    clnt.put("list", b"no list")
    with pytest.raises(serr.Inval):
        clnt.get_vals("list")


def test_values_have_their_time(clnt: CacheClnt) -> None:
    clnt.put("short", b"", ttl_s=0.2)
    clnt.put("long", b"", ttl_s=1000)
    while "short" in clnt.get_many(["short"]):
        threading.Event().wait(0.02)
    assert clnt.get("long") == b""
    for ttl_s in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(serr.Inval, match="ttl_s"):
            clnt.put("k", b"", ttl_s)


@pytest.mark.parametrize("key", ["", "a b", "tab\t", "line\n", "x" * 251, "é" * 126])
def test_keys_that_are_none(clnt: CacheClnt, key: str) -> None:
    for change in (clnt.put, clnt.append):
        with pytest.raises(serr.Inval):
            change(key, b"")


def test_numbers_by_key(clnt: CacheClnt) -> None:
    for key, count in (("cold", 1), ("hot", 5)):
        clnt.put(key, b"12345")
        for _ in range(count):
            clnt.get(key)
    clnt.put("hot", b"123")
    stats = clnt.key_stats("hot")
    assert (stats.key, stats.gets, stats.puts, stats.value_bytes) == ("hot", 5, 2, 3)
    assert [(each.key, each.gets) for each in clnt.hottest(2)] == [("hot", 5), ("cold", 1)]
    with pytest.raises(serr.NotFound, match="key nothing"):
        clnt.key_stats("nothing")


def test_the_same_on_asyncio(sc: SigmaClnt, clnt: CacheClnt, job: CacheJob) -> None:
    async def use() -> None:
        async with AsyncCacheClnt(sc.asynchronous, job.name) as cache:
            await cache.put_many({f"{number}": b"a" for number in range(50)})
            assert len(await cache.get_many(f"{number}" for number in range(60))) == 50
            assert await cache.get("1") == b"a"
            await cache.append("list", b"1")
            assert await cache.get_vals("list") == [b"1"]
            assert await cache.delete("1")
            assert not await cache.delete("1")
            with pytest.raises(serr.NotFound, match="key 1"):
                await cache.get("1")

    sc.run(use())
    assert clnt.get("2") == b"a"


def test_there_is_no_such_cache(sc: SigmaClnt) -> None:
    with CacheClnt(sc, "no-such-cache") as clnt, pytest.raises(serr.NotFound, match="no cache no-such-cache"):
        clnt.get("k")


def test_a_server_keeps_to_its_room(sc: SigmaClnt) -> None:
    with CacheJob(sc, f"small-{secrets.token_hex(4)}", bytes_max=100_000) as job, CacheClnt(sc, job.name) as clnt:
        for number in range(500):
            clnt.put(f"{number}", bytes(1000))
        [stats] = clnt.stats().values()
        assert stats.size_bytes <= 100_000 < stats.size_bytes + 2000
        assert stats.keys + stats.evictions == 500
        assert clnt.get("499") == bytes(1000)
        check_missing(clnt, "0")
        with pytest.raises(serr.Inval, match="key huge"):
            clnt.put("huge", bytes(100_001))


class Writer:
    """Counts up in keys of its own, and checks that no value comes back that was overwritten or deleted."""

    def __init__(self, clnt: CacheClnt, name: str) -> None:
        self.clnt = clnt
        self.keys = [f"{name}-{number}" for number in range(8)]
        self.count = 0
        self.misses = 0

    def run(self, done: threading.Event) -> None:
        while not done.is_set():
            self.count += 1
            key, value = self.keys[self.count % 8], f"{self.count}".encode()
            before = self.clnt.get_many([key]).get(key)
            assert before in (f"{self.count - 8}".encode(), None)
            self.misses += before is None
            self.clnt.put(key, value)
            assert self.clnt.get_many([key]).get(key) in (value, None)
            if self.count % 7 == 0:
                self.clnt.delete(key)
                assert self.clnt.get_many([key]) == {}
                self.clnt.put(key, value)


def test_servers_come_and_go_while_clients_go_on(sc: SigmaClnt, clnt: CacheClnt, job: CacheJob) -> None:
    done = threading.Event()
    writers = [Writer(clnt, f"writer-{number}") for number in range(6)]
    reader = CacheClnt(sc, job.name)
    with ThreadPoolExecutor(len(writers)) as threads, reader:
        running = [threads.submit(writer.run, done) for writer in writers]
        try:
            added = job.add_server()
            assert len(job.servers()) == 3
            counts = [writer.count for writer in writers]
            while any(writer.count < count + 20 for writer, count in zip(writers, counts, strict=True)):
                assert not any(each.done() for each in running)
                reader.get_many(key for writer in writers for key in writer.keys)
            assert clnt.stats()[added].puts
            assert job.remove_server(added) == added
        finally:
            done.set()
        for each in running:
            each.result()
    assert job.servers() == ["0", "1"]
    assert sum(each.shards for each in clnt.stats().values()) == 1009
    # New keys missed, and what changed its server was emptied, once each way; everything else hit.
    assert all(writer.misses <= 3 * len(writer.keys) for writer in writers)


def test_a_server_that_dies_is_replaced_by_an_empty_one(sc: SigmaClnt, clnt: CacheClnt, job: CacheJob) -> None:
    values = {f"key-{number}": b"x" for number in range(100)}
    clnt.put_many(values)
    held = clnt.stats()["0"].keys
    [victim] = [info for info in sc.procs() if info.args[1:3] == (job.name, "0") and info.state == "running"]
    os.kill(victim.os_pid, signal.SIGKILL)
    assert len(clnt.get_many(values)) in (100 - held, 100)
    clnt.put_many(values)
    assert clnt.get_many(values) == values
    assert clnt.delete("key-1")


def test_a_cache_outlives_who_started_it(sc: SigmaClnt, clnt: CacheClnt, job: CacheJob) -> None:
    clnt.put("k", b"kept")
    again = CacheJob(sc, job.name, servers=5)
    again.start()
    assert again.servers() == job.servers() == ["0", "1"]
    assert clnt.get("k") == b"kept"
    again.close()


def test_changes_that_cannot_be(sc: SigmaClnt, job: CacheJob) -> None:
    with pytest.raises(serr.NotFound):
        job.remove_server("nobody")
    with pytest.raises(serr.Inval):
        CacheJob(sc, "empty", servers=0)
    with CacheJob(sc, f"one-{secrets.token_hex(4)}") as one, pytest.raises(serr.Inval, match="only server"):
        one.remove_server()
    with pytest.raises(serr.NotFound):
        sc.stat(CachePaths(one.name).dir)
