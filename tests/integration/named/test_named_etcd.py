"""named and its etcd: large trees, endpoints that fail, an etcd that stalls, a history that was compacted."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING

import psutil
import pytest
from aetcd import rpc

from kernel.boot.children import free_port
from kernel.named.etcd import Etcd, put
from kernel.named.keys import Keys
from sigmaos_ray import serr
from sigmaos_ray.config import Named
from sigmaos_ray.leaseclnt import AsyncLeaseClnt
from sigmaos_ray.protsrv.node import OpenHow
from sigmaos_ray.rpcsrv import Caller
from sigmaos_ray.sigmap import OREAD, OWRITE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from etcd_child import EtcdChild
    from harness import Realm


class Stall:
    """Suspends etcd's process."""

    def __init__(self, process: psutil.Process) -> None:
        self._process = process

    def begin(self) -> None:
        """Returns once it has stopped: the signal alone leaves it time to answer one request more."""
        self._process.suspend()
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED)

    def end(self) -> None:
        self._process.resume()


@pytest.fixture
def stall(etcd: EtcdChild) -> Iterator[Stall]:
    """etcd goes on at the end of the test."""
    stall = Stall(psutil.Process(etcd._etcd.child.process.pid))
    yield stall
    stall.end()


async def test_a_tree_of_more_bytes_than_one_message_takes(realm: Realm) -> None:
    """gRPC takes 64 MiB at a time; named has to come up with any number of files of the largest size."""
    limits = Named(data_cache_bytes_max=4 << 20)
    named = await realm.named(election_ttl_s=20, limits=limits)
    sc = await realm.clnt(named)
    for number in range(80):
        await sc.put_file(f"name/ux/{number}", bytes([number]) * (1 << 20))
    await asyncio.gather(*(sc.put_file(f"name/s3/{number}", b"small") for number in range(500)))
    assert named.fs.contents.size_bytes <= 4 << 20
    await named.stop()
    named = await realm.named(election_ttl_s=20, limits=limits)
    again = await realm.clnt(named)
    assert named.fs.contents.size_bytes <= 4 << 20
    for number in (0, 40, 79, 0):
        assert await again.get_file(f"name/ux/{number}") == bytes([number]) * (1 << 20)
    assert named.fs.contents.fetched_count
    await again.set_file("name/ux/1", b"x", offset=1)  # in place, of a file that is not in memory
    assert (await again.get_file("name/ux/1"))[:4] == b"\1x\1\1"


async def test_a_removed_file_stays_readable_though_it_is_not_in_memory(realm: Realm) -> None:
    named = await realm.named(limits=Named(data_cache_bytes_max=0))
    sc = await realm.clnt(named)
    await sc.put_file("name/ux/f", b"contents")
    fd = await sc.open("name/ux/f", OREAD)
    await sc.remove("name/ux/f")
    assert await sc.read(fd, 100) == b"contents"


async def test_the_next_endpoint_when_one_does_not_answer(realm: Realm) -> None:
    """From the start, and with calls under way."""
    dead = f"127.0.0.1:{free_port('127.0.0.1')}"
    etcd = Etcd([dead, realm.endpoint], 2)
    key = Keys(realm.name).root + b"x"
    with pytest.raises(serr.Unreachable):
        await etcd.get(key)
    assert (await etcd.transaction([], [put(key, b"1")]))[0]
    etcd._failed(realm.endpoint)
    outcomes = await asyncio.gather(*(etcd.get(key) for _ in range(3)), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {serr.Unreachable}
    assert (await etcd.get(key)) is not None  # three failures of one endpoint are one step
    await etcd.close()
    with pytest.raises(serr.Closed):
        await etcd.get(key)


async def test_a_stream_outlives_the_failure_of_another_endpoint(realm: Realm) -> None:
    dead = f"127.0.0.1:{free_port('127.0.0.1')}"
    etcd = Etcd([realm.endpoint, dead], 2)
    key = Keys(realm.name).root + b"x"
    _, revision = await etcd.transaction([], [put(key, b"1")])
    waiting = asyncio.create_task(etcd.wait_deleted(key, revision))
    assert await etcd.get(key) is not None
    etcd._failed(realm.endpoint)
    with pytest.raises(serr.Unreachable):
        await etcd.get(key)
    await etcd._call("delete", "kvstub", "DeleteRange", rpc.DeleteRangeRequest(key=key))
    await asyncio.wait_for(waiting, 5)
    await etcd.close()


async def test_writes_while_etcd_stalls_take_effect_once(
    realm: Realm, stall: Stall, monkeypatch: pytest.MonkeyPatch
) -> None:
    """etcd is suspended for longer than a transaction may take: named finds out, and nothing is done twice (D-8)."""
    named = await realm.named(election_ttl_s=30, limits=Named(etcd_timeout_s=0.3))
    committer = named.fs.committer
    markers: list[bytes] = []
    real = committer._took_effect

    async def took_effect(marker: bytes) -> int:
        markers.append(marker)
        return await real(marker)

    monkeypatch.setattr(committer, "_took_effect", took_effect)
    sc = await realm.clnt(named)
    await sc.put_file("name/ux/log", b"")
    stall.begin()
    calls = [asyncio.create_task(sc.append_file_json("name/ux/log", number)) for number in range(3)]
    calls += [asyncio.create_task(sc.put_file(f"name/ux/f{number}", b"")) for number in range(20)]
    await asyncio.sleep(1)  # that long, not until something
    stall.end()
    await asyncio.wait_for(asyncio.gather(*calls), 15)
    assert markers, "no transaction was in doubt"
    assert sorted((await sc.get_file("name/ux/log")).split()) == [b"0", b"1", b"2"]
    await named.stop()
    again = await realm.clnt(await realm.named(election_ttl_s=20))
    assert sorted((await again.get_file("name/ux/log")).split()) == [b"0", b"1", b"2"]
    assert {f"f{number}" for number in range(20)} <= {stat.name for stat in await again.get_dir("name/ux")}


async def test_a_leader_that_etcd_does_not_answer_ends(realm: Realm, stall: Stall) -> None:
    """Within its lease: reads end with Closed, what was sent with an error, and ``stop`` does not hang."""
    named = await realm.named(limits=Named(etcd_timeout_s=0.3))
    sc = await realm.clnt(named)
    await sc.put_file("name/ux/f", b"x")
    fd = await sc.open("name/ux/f", OREAD)
    stall.begin()
    writing = asyncio.create_task(named.root.put(Caller(), "f", b"", OpenHow(OWRITE, 0o777)))
    with pytest.raises((serr.IOErr, serr.Closed)):
        await asyncio.wait_for(writing, 10)
    with pytest.raises(serr.Closed):
        await sc.read(fd, 1)
    start = time.monotonic()
    await named.stop()
    assert time.monotonic() - start < 5


async def test_expired_leases_are_found_after_a_compaction(realm: Realm, monkeypatch: pytest.MonkeyPatch) -> None:
    """What expired while the watch was broken, and was compacted since, is found by listing."""
    named = await realm.named(election_ttl_s=20)
    sc = await realm.clnt(named)
    leases = AsyncLeaseClnt(sc)
    lease = await leases.ask_lease("name/ux/f", 20)
    await sc.put_leased_file("name/ux/f", b"x", lease)
    etcd = Etcd([realm.endpoint], 5)
    broken = asyncio.Event()
    real = named._etcd.watch_deletes

    async def watch_after_the_repair(prefix: bytes, after_revision: int) -> AsyncIterator[tuple[bytes, int]]:
        await broken.wait()
        async for event in real(prefix, after_revision):
            yield event

    monkeypatch.setattr(named._etcd, "watch_deletes", watch_after_the_repair)
    assert named._expiry is not None
    named._expiry.cancel()
    await asyncio.wait({named._expiry})
    seen = await etcd.revision()
    named._expiry = asyncio.create_task(named._follow_leases(seen))
    await etcd.revoke(lease.id)
    async with sc.watch_dir("name/ux") as watch:
        await sc.put_file("name/later", b"")
        revision = await etcd.revision()
        await etcd._call("compact", "kvstub", "Compact", rpc.CompactionRequest(revision=revision))
        assert (await sc.stat("name/ux/f")).length == 1
        broken.set()
        event = await watch.next_event(5)
        assert (event.kind, event.name) == ("removed", "f")
    assert [stat.name for stat in await sc.get_dir(f"name/named-election-{realm.name}")] == ["sigma-1"]
    await etcd.close()
