"""ux as a service: advertised, reached by pathname, and what it keeps over a crash (B-4)."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from kernel.shell import KernelArgs
from kernel.ux.actor import UxKernel
from kernel.ux.server import UxServer
from sigmaos_ray import serr
from sigmaos_ray.config import ProcEnv
from sigmaos_ray.sigmaclnt import AsyncSigmaClnt
from sigmaos_ray.sigmap import Endpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KERNEL_ID = "sigma-00000001"
ROOT = Path(__file__).parents[3]
WAIT_S = 20.0


def args(named: Endpoint, node_dir: Path) -> KernelArgs:
    return KernelArgs(kernel_id=KERNEL_ID, named=named, node_dir=str(node_dir))


@asynccontextmanager
async def client(named: Endpoint) -> AsyncIterator[AsyncSigmaClnt]:
    async with AsyncSigmaClnt(ProcEnv(pid="test", kernel_id=KERNEL_ID, named=named)) as sc:
        yield sc


async def test_a_file_by_pathname(named: Endpoint, tmp_path: Path) -> None:
    node_dir = tmp_path / "not" / "made" / "yet"
    root = node_dir / "ux"
    service = UxServer(args(named, node_dir))
    await service.start()
    async with client(named) as sc:
        for entry in (KERNEL_ID, "~local", "~any"):
            await sc.put_file(f"name/ux/{entry}/file", entry.encode())
            assert (root / "file").read_bytes() == entry.encode()
        await sc.mkdir("name/ux/~local/dir")
        await sc.symlink("name/ux/~local/dir/", "name/ux/~local/link")
        await sc.put_file("name/ux/~local/link/deep", b"through a link")
        assert (root / "dir" / "deep").read_bytes() == b"through a link"
        await sc.put_file_atomic("name/ux/~local/large", bytes(3 << 20))
        assert [stat.name for stat in await sc.get_dir("name/ux/~local/")] == [
            ".fences",
            ".statsd",
            "rpc",
            "dir",
            "file",
            "large",
            "link",
        ]
        assert await sc.get_file(f"name/ux/{KERNEL_ID}/.statsd")
        with pytest.raises(serr.NotFound):
            await sc.put_leased_file("name/ux/~local/leased", b"", 7)
        await service.stop()
        assert await sc.get_dir("name/ux") == []
        await service.stop()


async def test_a_start_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(serr.Inval):
        await UxServer(KernelArgs(kernel_id=KERNEL_ID)).start()
    before = len(os.listdir("/proc/self/fd"))
    (tmp_path / "ux").write_text("a file, where the directory is to be")
    with pytest.raises(serr.Exists):
        await UxServer(args(Endpoint(), tmp_path)).start()
    assert len(os.listdir("/proc/self/fd")) == before


async def test_another_takes_the_name_of_one_that_died(named: Endpoint, tmp_path: Path) -> None:
    first, second = UxServer(args(named, tmp_path)), UxServer(args(named, tmp_path))
    await first.start()
    await second.start()
    async with client(named) as sc:
        await sc.put_file("name/ux/~local/file", b"x")
        await second.stop()
        await first.stop()


async def test_the_actor(named: Endpoint, tmp_path: Path) -> None:
    def run() -> tuple[Endpoint, int]:
        actor = UxKernel("ux", args(named, tmp_path))
        endpoint, info = actor.start(named)
        actor.stop()
        return endpoint, info.pid

    endpoint, pid = await asyncio.to_thread(run)
    assert endpoint.addrs[0].startswith("127.0.0.1:")
    assert pid == os.getpid()
