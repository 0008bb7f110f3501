"""A standby's copy of the tree: exactly etcd's, at the moment at which it takes over (D-6)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from aetcd import rpc

from kernel.named.committer import LeaderKey
from kernel.named.election import follow_candidates
from kernel.named.etcd import Etcd
from kernel.named.follower import Follower
from kernel.named.keys import Keys
from kernel.named.server import NamedServer
from kernel.shell import KernelArgs
from sigmaos_ray import serr
from sigmaos_ray.config import Named
from sigmaos_ray.leaseclnt import AsyncLeaseClnt

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from harness import Realm

    from kernel.named.etcd import Change
    from sigmaos_ray.sigmaclnt import AsyncSigmaClnt


def standby(realm: Realm, kernel_id: str = "sigma-2") -> NamedServer:
    return NamedServer(KernelArgs(kernel_id=kernel_id, realm=realm.name, etcd_endpoints=(realm.endpoint,)))


async def contents(sc: AsyncSigmaClnt) -> dict[str, bytes]:
    return {stat.name: await sc.get_file(f"name/ux/{stat.name}") for stat in await sc.get_dir("name/ux")}


async def test_it_takes_over_without_reading_the_tree_again(realm: Realm) -> None:
    first = await realm.named("sigma-1")
    sc = await realm.clnt(first)
    second = standby(realm)
    await second.stand()
    leading = asyncio.create_task(second.lead())
    for number in range(300):
        await sc.put_file(f"name/ux/{number}", b"%d" % number)
    await sc.remove("name/ux/7")
    await sc.rename("name/ux/8", "name/ux/9")
    before = await contents(sc)
    assert not leading.done()
    await first.stop()
    await asyncio.wait_for(leading, 10)
    assert second._follower.lists_count == 1
    assert await contents(await realm.clnt(second)) == before
    await second.stop()


async def test_it_does_not_serve_before_it_has_seen_all(realm: Realm, monkeypatch: pytest.MonkeyPatch) -> None:
    """etcd's news are late: whoever was elected waits for them, and nobody is answered meanwhile."""
    first = await realm.named("sigma-1")
    sc = await realm.clnt(first)
    second = standby(realm)
    arrived = asyncio.Event()
    real = second._etcd.watch

    async def late(
        prefix: bytes, after_revision: int, *, deletes_only: bool = False
    ) -> AsyncIterator[tuple[list[Change], int]]:
        async for news in real(prefix, after_revision, deletes_only=deletes_only):
            if prefix == Keys(realm.name).root:
                await arrived.wait()
            yield news

    monkeypatch.setattr(second._etcd, "watch", late)
    await second.stand()
    leading = asyncio.create_task(second.lead())
    await sc.put_file("name/ux/f", b"x")
    await first.stop()
    async for candidates in follow_candidates([realm.endpoint], realm.name):
        if [candidate.kernel_id for candidate in candidates] == ["sigma-2"]:
            assert not candidates[0].serves
            break
    again = asyncio.create_task(realm.clnt(second))
    reading = asyncio.create_task((await again).get_file("name/ux/f"))
    done, _ = await asyncio.wait({leading, reading}, timeout=0.5)
    assert not done
    arrived.set()
    await asyncio.wait_for(leading, 10)
    assert await reading == b"x"
    await second.stop()


async def test_what_etcd_compacted_is_listed(realm: Realm, monkeypatch: pytest.MonkeyPatch) -> None:
    named = await realm.named("sigma-1")
    sc = await realm.clnt(named)
    await sc.put_file("name/ux/removed", b"x")
    etcd = Etcd([realm.endpoint], 5)
    follower = Follower(etcd, Keys(realm.name), Named())
    connected = asyncio.Event()
    real = etcd.watch

    async def broken(prefix: bytes, after_revision: int) -> AsyncIterator[tuple[list[Change], int]]:
        await connected.wait()
        async for news in real(prefix, after_revision):
            yield news

    monkeypatch.setattr(etcd, "watch", broken)
    follower.start()
    await follower.catch_up(1)
    await sc.remove("name/ux/removed")
    await sc.put_file("name/ux/made", b"y")
    revision = await etcd.revision()
    await etcd._call("compact", "kvstub", "Compact", rpc.CompactionRequest(revision=revision))
    await sc.put_file("name/ux/later", b"z")
    connected.set()
    tree, _, _, strays = await follower.hand_over(await etcd.revision(), lambda: None)
    assert sorted(tree.root.children["ux"].children) == ["later", "made"]
    assert not strays
    assert follower.lists_count == 2
    await etcd.close()


async def test_a_lost_connection_loses_nothing(realm: Realm, monkeypatch: pytest.MonkeyPatch) -> None:
    """The watch begins again where it ended, also in the middle of a revision."""
    sc = await realm.clnt(await realm.named("sigma-1"))
    etcd = Etcd([realm.endpoint], 5)
    follower = Follower(etcd, Keys(realm.name), Named())
    from kernel.named import etcd as etcd_module

    real = etcd_module._watch_once

    async def short(*args: object) -> AsyncIterator[tuple[list[Change], int]]:
        async for changes, _ in real(*args):  # type: ignore[arg-type]
            # As if the first change alone had come, and then the connection had gone.
            yield changes[:1], changes[0].revision - (len(changes) > 1)
            if len(changes) > 1:
                monkeypatch.setattr(etcd_module, "_watch_once", real)
            return

    monkeypatch.setattr(etcd_module, "_watch_once", short)
    follower.start()
    await follower.catch_up(1)
    for number in range(20):
        await sc.put_file(f"name/ux/{number}", b"")
    tree, _, _, strays = await follower.hand_over(await etcd.revision(), lambda: None)
    assert len(tree.root.children["ux"].children) == 20
    assert not strays
    await etcd.close()


async def test_leased_files_that_end_at_the_change(realm: Realm) -> None:
    first = await realm.named("sigma-1")
    sc = await realm.clnt(first)
    lease = await AsyncLeaseClnt(sc).ask_lease("name/ux/f", 20)
    await sc.put_leased_file("name/ux/f", b"x", lease)
    second = standby(realm)
    await second.stand()
    etcd = Etcd([realm.endpoint], 5)
    await second._follower.catch_up(1)
    leading = asyncio.create_task(second.lead())
    await first.stop()
    await etcd.revoke(lease.id)
    await asyncio.wait_for(leading, 10)
    await (await realm.clnt(second)).wait_remove("name/ux/f", 10)
    await etcd.close()
    await second.stop()


async def test_who_waits_for_news_gives_up_when_deposed(realm: Realm) -> None:
    etcd = Etcd([realm.endpoint], 5)
    follower = Follower(etcd, Keys(realm.name), Named(guard_poll_s=0.01))
    follower.start()

    def deposed() -> None:
        raise serr.NotLeading("named")

    with pytest.raises(serr.Closed):
        await follower.hand_over(1 << 60, deposed)
    await follower.stop()
    await etcd.close()


async def test_a_standby_serves_nobody(realm: Realm) -> None:
    first = await realm.named("sigma-1")
    second = standby(realm)
    await second.stand()
    with pytest.raises(serr.NotLeading, match="srv not elected"):
        second._election.guard_service()
    await first.stop()
    await second.lead()
    second._election.guard_service()
    second._election.lose("for a test")
    with pytest.raises(serr.NotLeading, match="srv expired"):
        second._election.guard_service()
    await second.stop()


async def test_one_that_lost_its_key_does_not_begin_to_serve(realm: Realm) -> None:
    """Between its election and its service: the mark that it puts is put under its key."""
    named = standby(realm)
    await named.stand()
    leader = await named._election.win()
    etcd = Etcd([realm.endpoint], 5)
    await etcd.revoke(named._election.lease)
    with pytest.raises(serr.Closed):
        await named._take_over(LeaderKey(leader.key, leader.create_revision))
    with pytest.raises(serr.Closed):
        await named._election.announce(leader)
    await named.stop()
    await etcd.close()


async def test_a_client_that_knew_one_address_follows(realm: Realm, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that leads told it who stands by; nothing else does from outside of an instance."""
    first = await realm.named("sigma-1")
    monkeypatch.setenv("SIGMAOS_NAMED", first.endpoint.addrs[0])
    second = standby(realm)
    await second.stand()
    leading = asyncio.create_task(second.lead())
    while not first._standbys:
        assert not leading.done()
        await asyncio.sleep(0.02)
    sc = await realm.clnt(first)
    await sc.put_file("name/ux/f", b"x")
    await first.stop()
    assert await sc.get_file("name/ux/f") == b"x"
    await leading
    await second.stop()
