"""What a server wrote is what the next one reads: after a cut, after a snapshot, and never from a damaged one."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING

import pytest

from sigmaos_ray import AsyncSigmaClnt, serr
from sigmaos_ray.sigmap import OAPPEND, OWRITE
from sigmaos_ray.testing.tstate import clnt_env
from user.kv import kv_pb2 as pb
from user.kv.copies import NodeCopy
from user.kv.journal import KvJournal
from user.kv.keys import SHARDS_COUNT, shard_of
from user.kv.state import EMPTY, ShardTable
from user.kv.tuning import JOURNAL, JournalTuning

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sigmaos_ray.testing import Tstate


@pytest.fixture
async def sc(tstate_all: Tstate) -> AsyncIterator[AsyncSigmaClnt]:
    async with AsyncSigmaClnt(clnt_env(tstate_all.instance)) as sc:
        yield sc


@pytest.fixture
async def directory(sc: AsyncSigmaClnt) -> AsyncIterator[str]:
    pn = await sc.resolve_unions(f"name/ux/~local/kv-journal-{secrets.token_hex(4)}")
    await sc.makedirs(pn)
    yield pn
    await sc.rmdir(pn)


class Life:
    """One life of a server's table and journal."""

    def __init__(self, sc: AsyncSigmaClnt, directory: str, tuning: JournalTuning = JOURNAL) -> None:
        self.table = ShardTable()
        self.errors: list[serr.SigmaError] = []
        self.copy = NodeCopy(sc, "here", directory)
        self.journal = KvJournal(self.copy, self.table, self.errors.append, tuning=tuning)
        self._seqno = 0

    async def create(self) -> None:
        changes = [
            change for n in range(SHARDS_COUNT) for change in self.table.install(n, (1, 1), 0, 0, EMPTY, last=True)
        ]
        await self.journal.wait(self.journal.add(*changes))

    async def append(self, key: str, value: bytes) -> None:
        self._seqno += 1
        write = pb.Write(seqno=self._seqno, kind=pb.APPEND, key=key, value=value)
        outcome, change = self.table.write(1, self._seqno, write)
        assert outcome == pb.DONE
        assert change is not None
        await self.journal.wait(self.journal.add(change))


async def test_a_write_that_was_cut_short_is_passed_over(sc: AsyncSigmaClnt, directory: str) -> None:
    first = Life(sc, directory)
    await first.journal.load()
    await first.create()
    await asyncio.gather(*(first.append("k", b"x") for _ in range(20)))
    await first.journal.close()
    await sc.put_file(f"{directory}/log-000000001", b"\xff\x00\x00\x00cut", mode=OWRITE | OAPPEND)
    second = Life(sc, directory)
    await second.journal.load()
    assert second.table.get("k") == (pb.DONE, 20 * b"x")
    await second.journal.close()
    third = Life(sc, directory)
    await third.journal.load()
    assert third.table.get("k") == (pb.DONE, 20 * b"x")
    await third.journal.close()


async def test_snapshots_while_changes_go_on(sc: AsyncSigmaClnt, directory: str) -> None:
    life = Life(sc, directory, JournalTuning(log_bytes_min=20_000))
    await life.journal.load()
    await life.create()
    keys = [f"key-{number}" for number in range(50)]
    for _ in range(40):
        await asyncio.gather(*(life.append(key, b"0123456789") for key in keys))
    await life.journal.close()
    assert not life.errors
    names = [stat.name for stat in await sc.get_dir(directory)]
    assert sum(name.startswith("snap-") for name in names) == 1
    assert "log-000000001" not in names
    after = Life(sc, directory)
    await after.journal.load()
    assert {key: after.table.get(key) for key in keys} == dict.fromkeys(keys, (pb.DONE, 40 * b"0123456789"))
    assert after.table.here() == list(range(SHARDS_COUNT))
    await after.journal.close()


async def test_what_is_left_of_unfinished_files_is_removed(sc: AsyncSigmaClnt, directory: str) -> None:
    life = Life(sc, directory)
    await life.journal.load()
    await life.create()
    await life.append("k", b"x")
    await life.journal.close()
    for name in ("tmp-000000007", "log-000000001.1f.3"):
        await sc.put_file(f"{directory}/{name}", b"half of it")
    after = Life(sc, directory)
    await after.journal.load()
    assert after.table.get("k") == (pb.DONE, b"x")
    assert sorted(stat.name for stat in await sc.get_dir(directory)) == ["log-000000001", "log-000000002"]
    await after.journal.close()


async def test_a_damaged_snapshot_is_told(sc: AsyncSigmaClnt, directory: str) -> None:
    await sc.put_file(f"{directory}/snap-000000002", b"no snapshot")
    with pytest.raises(serr.IOErr, match="is damaged"):
        await Life(sc, directory).journal.load()


async def test_what_cannot_be_written_is_not_acknowledged(sc: AsyncSigmaClnt, directory: str) -> None:
    life = Life(sc, directory)
    await life.journal.load()
    await life.create()
    await life.copy.abandon()
    with pytest.raises(serr.IOErr, match="not written"):
        await life.append("k", b"x")
    assert life.errors
    assert shard_of("k") in life.table.here()
