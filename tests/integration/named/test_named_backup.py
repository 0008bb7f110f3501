"""What named keeps, backed up and restored: names, leased files, and elections that go on where none had come yet."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from kernel.boot import backup
from kernel.boot.etcd import EmbeddedEtcd
from kernel.named.etcd import Etcd
from kernel.named.server import NamedServer
from kernel.shell import KernelArgs
from sigmaos_ray import config, serr
from sigmaos_ray.config import ProcEnv
from sigmaos_ray.leaseclnt import AsyncLeaseClnt
from sigmaos_ray.sessp.channel import close_channels
from sigmaos_ray.sigmaclnt import AsyncSigmaClnt

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

REALM = "backed-up"


class Instance:
    """An etcd on a state directory, a named, and a client."""

    def __init__(self, etcd: EmbeddedEtcd, named: NamedServer, sc: AsyncSigmaClnt) -> None:
        self.etcd = etcd
        self.named = named
        self.sc = sc

    async def revision(self) -> int:
        etcd = Etcd([self.etcd.endpoint], 3)
        try:
            return await etcd.revision()
        finally:
            await etcd.close()


@asynccontextmanager
async def running(state_dir: Path) -> AsyncIterator[Instance]:
    etcd = EmbeddedEtcd("127.0.0.1", state_dir, state_dir, config.LOCAL)
    etcd.start()
    try:
        await asyncio.to_thread(etcd.wait)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(close_channels)
            named = NamedServer(KernelArgs(kernel_id="sigma-1", realm=REALM, etcd_endpoints=(etcd.endpoint,)))
            stack.push_async_callback(named.stop)
            await named.start()
            env = ProcEnv(pid="test", realm=REALM, named=named.endpoint)
            yield Instance(etcd, named, await stack.enter_async_context(AsyncSigmaClnt(env)))
    finally:
        await asyncio.to_thread(etcd.child.end, 10)


async def back_up(instance: Instance, file: Path) -> None:
    assert await asyncio.to_thread(backup.back_up, [instance.etcd.endpoint], file) > 0


@pytest.mark.parametrize("lost", [False, True])
async def test_all_is_as_it_was_and_no_epoch_comes_twice(tmp_path: Path, lost: bool) -> None:
    """``lost``: of what the instance had, nothing is left."""
    state_dir, file = tmp_path / "state", tmp_path / "backup"
    state_dir.mkdir()
    async with running(state_dir) as instance:
        sc = instance.sc
        await sc.mkdir("name/d")
        for number in range(100):
            await sc.put_file(f"name/d/{number}", b"%d" % number)
        await sc.remove("name/d/7")
        await sc.put_file("name/d/large", b"x" * 900_000)
        lease = await AsyncLeaseClnt(sc).ask_lease("name/d/leased", 2)
        await sc.put_leased_file("name/d/leased", b"x", lease)
        names = {stat.name for stat in await sc.get_dir("name/d")}
        await back_up(instance, file)
        await sc.put_file("name/d/later", b"not in it")
        await sc.rmdir("name/d")
        last_seen = await instance.revision()
    if lost:
        state_dir = tmp_path / "other"
        state_dir.mkdir()
    before = await asyncio.to_thread(backup.restore, file, state_dir)
    assert (before is None) == lost
    for _ in range(2):  # also after another start
        async with running(state_dir) as instance:
            sc = instance.sc
            assert {stat.name for stat in await sc.get_dir("name/d")} - {"leased"} == names - {"leased"}
            assert await sc.get_file("name/d/8") == b"8"
            assert len(await sc.get_file("name/d/large")) == 900_000
            await sc.wait_remove("name/d/leased", 30)
            await sc.put_file("name/d/8", b"8")
            assert (await sc.stat("name/d/8")).qid.version > last_seen
            assert await instance.revision() > last_seen + 1_000_000
    assert not (state_dir / "etcd" / "data.restoring").exists()


async def test_the_database_of_a_member_is_a_backup_as_well(tmp_path: Path) -> None:
    state_dir, other = tmp_path / "state", tmp_path / "other"
    for directory in (state_dir, other):
        directory.mkdir()
    async with running(state_dir) as instance:
        await instance.sc.put_file("name/ux/f", b"x")
    await asyncio.to_thread(backup.restore, state_dir / "etcd" / "data" / "member" / "snap" / "db", other)
    async with running(other) as instance:
        assert await instance.sc.get_file("name/ux/f") == b"x"


def test_what_is_no_backup_leaves_all_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "etcd" / "data").mkdir(parents=True)
    (tmp_path / "file").write_bytes(b"no database" * 1000)
    with pytest.raises(serr.Error, match="file"):
        backup.restore(tmp_path / "file", tmp_path)
    with pytest.raises(serr.NotFound):
        backup.restore(tmp_path / "nothing", tmp_path)
    assert [entry.name for entry in (tmp_path / "etcd").iterdir()] == ["data"]


def test_an_etcd_that_is_away_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(serr.Unreachable):
        backup.back_up(["127.0.0.1:1"], tmp_path / "backup")
    assert list(tmp_path.iterdir()) == []
