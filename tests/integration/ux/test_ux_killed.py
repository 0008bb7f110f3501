"""What ux keeps over a kill, and what it must not keep (B-4, L-6, L-21, R-12)."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest
from uxchild import WAIT_S, crashing

from sigmaos_ray import serr
from sigmaos_ray.leaseclnt import AsyncLeaseClnt
from sigmaos_ray.sigmap import DMNAMEDPIPE, DMTMP, OAPPEND, OREAD, OWRITE, Fence

if TYPE_CHECKING:
    from pathlib import Path

    from sigmaos_ray.fslib import AsyncFsLib

OWN = {".fences", ".statsd", "rpc"}


async def test_what_was_acknowledged_outlives_a_kill(tmp_path: Path) -> None:
    """Killed in the middle of writes, nothing acknowledged is lost and no put is seen in part."""
    root = tmp_path / "ux"
    acknowledged: dict[str, int] = {}
    warm = [asyncio.Event() for _ in range(4)]

    async def write(sc: AsyncFsLib, number: int) -> None:
        turn = 0
        while True:
            turn += 1
            await sc.put_file(f"name/log-{number}", b"%06d\n" % turn, mode=OWRITE | OAPPEND)
            acknowledged[f"log-{number}"] = turn
            await sc.put_file(f"name/whole-{number}", b"%06d" % turn * 20_000)
            acknowledged[f"whole-{number}"] = turn
            if turn == 3:
                warm[number].set()

    async with crashing(root) as (sc, process):
        writers = [asyncio.create_task(write(sc, number)) for number in range(4)]
        await asyncio.wait_for(asyncio.gather(*(event.wait() for event in warm)), WAIT_S)
        process.kill()
        await process.wait()
        for writer in writers:
            writer.cancel()
        await asyncio.gather(*writers, return_exceptions=True)
    async with crashing(root) as (sc, _):
        for number in range(4):
            log = await sc.get_file(f"name/log-{number}")
            turns = [int(line) for line in log.splitlines()]
            assert turns == list(range(1, len(turns) + 1))
            assert len(turns) >= acknowledged[f"log-{number}"]
            whole = await sc.get_file(f"name/whole-{number}")
            assert len(whole) == 120_000
            assert whole == whole[:6] * 20_000
            assert int(whole[:6]) >= acknowledged[f"whole-{number}"]
        names = {stat.name for stat in await sc.get_dir("name")} - OWN
        assert names == set(acknowledged)
    (own,) = (root / ".sigmaos-ux").iterdir()
    assert [file.name for file in own.iterdir()] == ["journal"], "the second was killed too, when idle"


async def test_leased_files_and_pipes_do_not_outlive_a_kill_and_fences_do(tmp_path: Path) -> None:
    root = tmp_path / "ux"
    old, new = Fence("name/elect", 1), Fence("name/elect", 2)
    async with crashing(root) as (sc, process):
        lease = await AsyncLeaseClnt(sc).ask_lease("name/")
        await sc.mkdir("name/dir")
        await sc.put_leased_file("name/dir/leased", b"leased", lease)
        await sc.rename("name/dir", "name/moved")
        await sc.put_file("name/moved/plain", b"plain")
        await sc.close_fd(await sc.create("name/pipe", DMNAMEDPIPE | 0o644, OREAD))
        await sc.fence_dir("name/moved", new)
        await sc.put_file("name/moved/fenced", b"")
        assert (await sc.stat("name/moved/leased")).mode & DMTMP
        process.kill()
        await process.wait()
    assert {"leased", "plain", "fenced"} == set(os.listdir(root / "moved")), "nobody has cleared it yet"
    async with crashing(root) as (sc, _):
        assert {stat.name for stat in await sc.get_dir("name")} - OWN == {"moved"}
        assert [stat.name for stat in await sc.get_dir("name/moved")] == ["fenced", "plain"]
        assert [stat.name for stat in await sc.get_dir("name/.fences")] == ["name-elect"]
        await sc.fence_dir("name/moved", old)
        with pytest.raises(serr.Stale):
            await sc.put_file("name/moved/plain", b"deposed")
        assert await sc.get_file("name/moved/plain") == b"plain"


async def test_a_lease_that_nobody_extends_ends_with_its_files(tmp_path: Path) -> None:
    async def wait_until_gone(sc: AsyncFsLib) -> None:
        await asyncio.wait_for(sc.wait_remove("name/leased"), WAIT_S)

    async with crashing(tmp_path / "ux") as (sc, _):
        lease = await AsyncLeaseClnt(sc).ask_lease("name/", ttl_s=1.0)
        await sc.put_leased_file("name/leased", b"", lease)
        await wait_until_gone(sc)
        assert os.listdir(tmp_path / "ux") == [".sigmaos-ux"]
        with pytest.raises(serr.NotFound):
            await sc.put_leased_file("name/leased", b"", lease)


async def test_bytes_go_through_a_pipe(tmp_path: Path) -> None:
    async def read_all(sc: AsyncFsLib) -> bytes:
        fd = await sc.open("name/pipe", OREAD)
        data = b""
        try:
            while True:
                data += await sc.read(fd, 10_000)
        except serr.Closed:
            return data
        finally:
            await sc.close_fd(fd)

    sent = os.urandom(50_000)
    async with crashing(tmp_path / "ux") as (sc, _):
        await sc.close_fd(await sc.create("name/pipe", DMNAMEDPIPE | 0o644, OREAD))
        reading = asyncio.create_task(read_all(sc))
        fd = await sc.open("name/pipe", OWRITE)
        await sc.write(fd, sent)
        await sc.close_fd(fd)
        assert await asyncio.wait_for(reading, WAIT_S) == sent
