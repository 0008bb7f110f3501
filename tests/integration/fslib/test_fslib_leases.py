"""Leases as their holders see them (L-1 to L-5): kept by a thread that a busy loop does not hold up, lost, ended."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from fslib_servers import ServerThread, until

from sigmaos_ray import serr
from sigmaos_ray.config import ProcEnv
from sigmaos_ray.fslib import AsyncFsLib
from sigmaos_ray.leaseclnt import AsyncLeaseClnt
from sigmaos_ray.sessp.channel import close_channels

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

TTL_S = 0.6


@pytest.fixture
def server() -> Iterator[ServerThread]:
    with ServerThread() as running:
        yield running


@pytest_asyncio.fixture
async def sc(server: ServerThread) -> AsyncIterator[AsyncFsLib]:
    clnt = AsyncFsLib(ProcEnv(pid="test", named=server.endpoint))
    yield clnt
    await clnt.close_fs()
    await close_channels()


@pytest_asyncio.fixture
async def leases(sc: AsyncFsLib) -> AsyncIterator[AsyncLeaseClnt]:
    clnt = AsyncLeaseClnt(sc)
    yield clnt
    await clnt.end_leases()


async def test_a_busy_loop_does_not_lose_its_files(sc: AsyncFsLib, leases: AsyncLeaseClnt) -> None:
    lease = await leases.ask_lease("name/f", TTL_S)
    lease.keep_extending()
    await sc.put_leased_file("name/f", b"mine", lease)
    time.sleep(3 * TTL_S)  # noqa: ASYNC251  # a program that computes, and lets no other task run
    assert not lease.is_lost
    assert await sc.get_file("name/f") == b"mine"
    await lease.end()
    with pytest.raises(serr.NotFound):
        await sc.get_file("name/f")


async def test_a_lease_that_nobody_keeps_ends(sc: AsyncFsLib, leases: AsyncLeaseClnt) -> None:
    lease = await leases.ask_lease("name/f", TTL_S)
    await sc.put_leased_file("name/f", b"", lease)
    assert not lease.is_over
    await lease.lost.wait()
    await sc.wait_remove("name/f", timeout_s=30)
    assert lease.is_over
    with pytest.raises(serr.NotFound):
        await lease.extend()
    another = await leases.ask_lease("name/f", TTL_S)
    assert another.id != lease.id


async def test_extending_by_hand(sc: AsyncFsLib, leases: AsyncLeaseClnt) -> None:
    lease = await leases.ask_lease("name/f", TTL_S)
    began = time.monotonic()
    await sc.put_leased_file("name/f", b"", lease)
    while time.monotonic() < began + 2 * TTL_S:
        await lease.extend()
    assert await sc.get_file("name/f") == b""
    assert not lease.is_in_doubt


async def test_one_lease_for_a_server(leases: AsyncLeaseClnt) -> None:
    first = await leases.ask_lease("name/f", TTL_S)
    assert await leases.ask_lease("name/g") is first
    await first.end()
    assert await leases.ask_lease("name/g", TTL_S) is not first


async def test_a_lease_whose_server_forgot_it_is_lost(
    server: ServerThread, sc: AsyncFsLib, leases: AsyncLeaseClnt
) -> None:
    lease = await leases.ask_lease("name/f", TTL_S)
    lease.keep_extending()
    await sc.put_leased_file("name/f", b"", lease)
    other = AsyncFsLib(ProcEnv(pid="other", named=server.endpoint))
    theirs = await AsyncLeaseClnt(other).ask_lease("name/f", TTL_S)
    theirs.id = lease.id  # whoever knows its number may end it
    await theirs.end()
    await other.close_fs()
    await lease.lost.wait()
    await until(lambda: not lease.is_kept)


async def test_a_lease_is_in_doubt_while_its_server_is_away(
    server: ServerThread, sc: AsyncFsLib, leases: AsyncLeaseClnt
) -> None:
    """L-5: whoever is cut off takes the files for gone, before the server says so."""
    lease = await leases.ask_lease("name/f", TTL_S)
    lease.keep_extending()
    await sc.put_leased_file("name/f", b"", lease)
    server.stop_serving()
    async with asyncio.timeout(30):
        while not lease.is_in_doubt:  # noqa: ASYNC110  # a clock's state
            await asyncio.sleep(TTL_S / 10)
    assert not lease.is_lost  # named's standbys might still have it
