"""A member of etcd that falls silent, as with its host: who used it asks another one, and nobody waits for it longer
than a call may take.

| who | what holds | test |
|---|---|---|
| the leader | leads on, and writes | test_a_leader_goes_on_with_another_member |
| a standby | hears of its election | test_a_standby_hears_of_its_election |
| a standby whose candidacy ran out meanwhile | stands again by itself | test_a_standby_that_etcd_forgot_stands_again |
| one that takes over | waits for etcd | test_a_takeover_waits_for_etcd |
| anybody | asks the member of his own host first | test_the_near_member_comes_first |
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest_asyncio
from cutter import Cutter

from kernel.named.etcd import Etcd
from kernel.named.keys import Keys
from kernel.named.server import NamedServer
from kernel.shell import KernelArgs
from sigmaos_ray import serr

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest
    from harness import Realm

    from kernel.named.etcd import KeyValue

TTL_S = 4
WITHIN_S = 12.0
"""Less than gRPC takes to find a silent connection out, which is all that is left without the calls beside a watch."""


@pytest_asyncio.fixture
async def member(realm: Realm) -> AsyncIterator[Cutter]:
    async with Cutter(realm.endpoint) as cutter:
        yield cutter


def standby(realm: Realm, *endpoints: str) -> NamedServer:
    return NamedServer(KernelArgs(kernel_id="sigma-2", realm=realm.name, etcd_endpoints=endpoints))


async def test_a_leader_goes_on_with_another_member(realm: Realm, member: Cutter) -> None:
    named = await realm.named(election_ttl_s=TTL_S, endpoints=(member.address, realm.endpoint))
    sc = await realm.clnt(named)
    await sc.put_file("name/ux/f", b"before")
    lease = named._election.lease
    member.silent = True
    # Longer than the lease that it has now.
    for number in range(2 * TTL_S):
        await sc.put_file("name/ux/f", b"%d" % number)
        await asyncio.sleep(1)
    named._election.guard_service()
    assert named._election.lease == lease
    assert await sc.get_file("name/ux/f") == b"%d" % (2 * TTL_S - 1)


async def test_a_standby_hears_of_its_election(realm: Realm, member: Cutter) -> None:
    first = await realm.named("sigma-1")
    second = standby(realm, member.address, realm.endpoint)
    await second.stand()
    leading = asyncio.create_task(second.lead())
    await (await realm.clnt(first)).put_file("name/ux/f", b"x")
    member.silent = True
    await first.stop()
    await asyncio.wait_for(leading, WITHIN_S)
    assert await (await realm.clnt(second)).get_file("name/ux/f") == b"x"
    await second.stop()


async def test_a_standby_that_etcd_forgot_stands_again(realm: Realm) -> None:
    first = await realm.named("sigma-1")
    second = standby(realm, realm.endpoint)
    await second.stand()
    leading = asyncio.create_task(second.lead())
    etcd, forgotten = Etcd([realm.endpoint], 5), second._election.lease
    await etcd.revoke(forgotten)
    while second._election.lease == forgotten:
        assert not leading.done()
        await asyncio.sleep(0.02)
    await first.stop()
    await asyncio.wait_for(leading, WITHIN_S)
    await second.stop()
    await etcd.close()


async def test_a_takeover_waits_for_etcd(realm: Realm, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who leads and who leads etcd may be lost together."""
    named, misses = standby(realm, realm.endpoint), [1, 2, 3]
    real = named._etcd.get

    async def get(key: bytes, revision: int = 0) -> KeyValue | None:
        if key == Keys(realm.name).txn and misses:
            misses.pop()
            raise serr.Unreachable("etcd")
        return await real(key, revision)

    monkeypatch.setattr(named._etcd, "get", get)
    await named.start()
    assert not misses
    await named.stop()


async def test_the_near_member_comes_first() -> None:
    etcd = Etcd(["10.0.0.1:5650", "10.0.0.2:5650"], 1, near="10.0.0.3")
    etcd.use(["10.0.0.1:5650", "10.0.0.2:5650", "10.0.0.3:5650"])
    assert (await etcd._connected())[1] == "10.0.0.3:5650"
    etcd._failed("10.0.0.3:5650")
    etcd.use(["10.0.0.1:5650", "10.0.0.2:5650", "10.0.0.3:5650"])
    assert (await etcd._connected())[1] == "10.0.0.1:5650"  # what failed comes last, near or not
    await etcd.close()
