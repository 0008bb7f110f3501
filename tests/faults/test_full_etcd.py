"""etcd's space is used up: what changes is refused and says why, what was acknowledged is there and can be read, the
leader goes on to lead; once an operator has made room, so do writes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aetcd
import pytest
from etcd_child import EtcdChild
from nameds import LEASE_S, Nameds

from kernel.named.etcd import Etcd
from sigmaos_ray import serr
from sigmaos_ray.leaseclnt import AsyncLeaseClnt

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sigmaos_ray.sigmaclnt import AsyncSigmaClnt

SPACE_BYTES = 8 << 20
FILES_COUNT = 4


@pytest.fixture
def small_etcd(monkeypatch: pytest.MonkeyPatch) -> Iterator[EtcdChild]:
    monkeypatch.setenv("ETCD_QUOTA_BACKEND_BYTES", str(SPACE_BYTES))
    with EtcdChild() as child:
        yield child


async def fill(sc: AsyncSigmaClnt, acknowledged: dict[str, bytes]) -> None:
    """Overwrites files until it is refused; etcd keeps what they held before. ``acknowledged``: what was, by name."""
    for number in range(1000):
        pn, data = f"name/ux/{number % FILES_COUNT}", f"{number} ".encode() * 50_000
        await sc.put_file(pn, data)
        acknowledged[pn] = data


async def make_room(etcd: EtcdChild) -> None:
    """What an operator does."""
    host, _, port = etcd.endpoint.rpartition(":")
    etcd_client = Etcd([etcd.endpoint], 10)
    client = aetcd.Client(host, int(port), timeout=10)
    await client.connect()
    try:
        await client.compact(await etcd_client.revision(), physical=True)
        await client.defragment()
        for alarm in [alarm async for alarm in client.list_alarms()]:
            await client.disarm_alarm(alarm.member_id)
    finally:
        await client.close()
        await etcd_client.close()


async def test_a_full_etcd(small_etcd: EtcdChild, tmp_path: Path) -> None:
    async with Nameds(small_etcd.endpoint, tmp_path, count=2, cuttable=False) as nameds:
        sc, leader = await nameds.clnt(), await nameds.leader()
        acknowledged: dict[str, bytes] = {}
        with pytest.raises(serr.Error, match="space exceeded"):
            await fill(sc, acknowledged)
        for refused in (sc.mkdir("name/ux/d"), sc.remove("name/ux/0"), AsyncLeaseClnt(sc).ask_lease("name/ux/f")):
            with pytest.raises(serr.Error, match="space exceeded"):
                await refused
        await asyncio.sleep(2 * LEASE_S)  # nobody announces that a leader goes on to lead
        assert await nameds.leader() is leader
        for pn, data in acknowledged.items():
            assert await sc.get_file(pn) == data
        await make_room(small_etcd)
        await sc.put_file("name/ux/after", b"x")
        await sc.remove("name/ux/0")
        assert await nameds.leader() is leader
        assert {stat.name for stat in await sc.get_dir("name/ux")} == {"1", "2", "3", "after"}
