"""Readers and writers (F-2, F-3): parts, regions, several readers of one file, records."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from sigmaos_ray import serr
from sigmaos_ray.fslib import read_json_records, read_records, write_json_record, write_record
from sigmaos_ray.sigmap import OAPPEND, OEXCL, ORDWR, OTRUNC, OWRITE, Fence

if TYPE_CHECKING:
    from fslib_servers import Servers

    from sigmaos_ray.fslib import AsyncFsLib
    from sigmaos_ray.pb.sessp_pb2 import Request

MIB = 1 << 20


async def contents(sc: AsyncFsLib, pn: str) -> bytes:
    async with sc.open_reader(pn) as reader:
        return await reader.read()


async def test_what_was_written_is_read(sc: AsyncFsLib) -> None:
    """Of any size, in parts of any size: none is lost, doubled or in another's place."""
    data = os.urandom(3 * MIB + 12_345)
    async with sc.create_writer("name/f") as writer:
        at = 0
        for size in (1, 70_000, 2 * MIB, 0, 999_999, len(data)):
            await writer.write(memoryview(data)[at : at + size])
            at = min(at + size, len(data))
            assert writer.written_bytes == at
    assert await contents(sc, "name/f") == data
    async with sc.open_reader("name/f", buffer_bytes=50_000) as reader:
        parts = [part async for part in reader]
    assert b"".join(parts) == data
    assert max(map(len, parts)) == 50_000


async def test_counted_reads(sc: AsyncFsLib) -> None:
    data = os.urandom(2 * MIB + 3)
    async with sc.create_writer("name/f") as writer:
        await writer.write(data)
    async with sc.open_reader("name/f") as reader:
        assert await reader.read(0) == b""
        assert await reader.read(5) == data[:5]
        target = bytearray(10)
        assert await reader.readinto(memoryview(target)) == 10
        assert target == data[5:15]
        assert await reader.read(MIB) == data[15 : MIB + 15]
        assert await reader.read(5 * MIB) == data[MIB + 15 :]
        assert await reader.read(1) == b""
        assert await reader.read() == b""
        assert await reader.readinto(memoryview(target)) == 0


async def test_an_empty_file(sc: AsyncFsLib) -> None:
    async with sc.create_writer("name/f"):
        pass
    assert await contents(sc, "name/f") == b""
    async with sc.open_reader("name/f", 7, 3) as reader:
        assert [part async for part in reader] == []


async def test_regions(sc: AsyncFsLib) -> None:
    await sc.put_file("name/f", b"hello")
    for offset, length, expected in ((3, 20, b"lo"), (1, 2, b"el"), (0, 0, b""), (5, None, b""), (9, 1, b"")):
        async with sc.open_reader("name/f", offset, length) as reader:
            assert await reader.read() == expected
    for offset, length in ((-1, None), (0, -1)):
        with pytest.raises(serr.Inval, match="not negative"):
            sc.open_reader("name/f", offset, length)
    for open_stream in (sc.open_reader, sc.create_writer, sc.open_writer):
        with pytest.raises(serr.Inval, match="a buffer of 0 bytes"):
            open_stream("name/f", buffer_bytes=0)


async def test_chunks_for_many(sc: AsyncFsLib) -> None:
    """Concurrent readers get successive chunks; each byte goes to one of them."""
    data = os.urandom(3 * MIB + 77)
    async with sc.create_writer("name/f") as writer:
        await writer.write(data)
    got: dict[int, bytes] = {}

    async with sc.open_parallel_reader("name/f") as parallel:

        async def work() -> None:
            while (chunk := parallel.get_chunk_reader(100_001)) is not None:
                async with chunk[0] as reader:
                    got[chunk[1]] = await reader.read()

        async with asyncio.TaskGroup() as group:
            for _ in range(5):
                group.create_task(work())
    assert b"".join(got[start] for start in sorted(got)) == data
    assert len(got) == -(-len(data) // 100_001)
    with pytest.raises(serr.Closed):
        parallel.get_chunk_reader(1)


async def test_chunks_with_overlap_and_bounds(sc: AsyncFsLib) -> None:
    await sc.put_file("name/f", b"0123456789")

    async def chunks(offset: int, length: int | None, size: int, step: int | None) -> list[bytes]:
        chunks = []
        async with sc.open_parallel_reader("name/f", offset, length) as parallel:
            while (chunk := parallel.get_chunk_reader(size, step)) is not None:
                chunks.append(await chunk[0].read())
        return chunks

    assert await chunks(0, None, 4, None) == [b"0123", b"4567", b"89"]
    assert await chunks(0, None, 4, 3) == [b"0123", b"3456", b"6789", b"9"]
    assert await chunks(2, 5, 4, None) == [b"2345", b"6"]
    assert await chunks(8, 5, 1, 2) == [b"8"]
    assert await chunks(10, None, 1, None) == []
    async with sc.open_parallel_reader("name/f") as parallel:
        for size, step in ((0, None), (1, 0)):
            with pytest.raises(serr.Inval, match="chunks of"):
                parallel.get_chunk_reader(size, step)
    with pytest.raises(serr.NotFound):
        await sc.open_parallel_reader("name/missing").open()


async def test_ways_to_write(sc: AsyncFsLib) -> None:
    async with sc.create_writer("name/f", 0o640) as writer:
        await writer.write(b"first")
    assert (await sc.stat("name/f")).mode == 0o640
    async with sc.create_writer("name/f") as writer:
        await writer.write(b"new")
    assert await contents(sc, "name/f") == b"new"
    async with sc.create_writer("name/f", mode=OWRITE | OAPPEND) as writer:
        await writer.write(b"er")
    assert await contents(sc, "name/f") == b"newer"
    async with sc.open_writer("name/f") as writer:
        await writer.write(b"N")
    assert await contents(sc, "name/f") == b"Newer"
    async with sc.open_writer("name/f", OWRITE | OTRUNC) as writer:
        await writer.write(b"x")
    assert await contents(sc, "name/f") == b"x"
    with pytest.raises(serr.Exists):
        await sc.create_writer("name/f", mode=OWRITE | OEXCL).open()
    with pytest.raises(serr.NotFound):
        await sc.open_writer("name/missing").open()
    with pytest.raises(serr.Closed):
        await sc.create_writer("name/unopened").write(b"x")


async def test_a_failed_write_comes_up_at_the_next_or_at_the_close(sc: AsyncFsLib) -> None:
    """A deposed leader's stream, whose server has heard of the next one."""
    writer = await sc.create_writer("name/f", buffer_bytes=4).open()
    await sc.fence_dir("name/f", Fence("name/leader", 1, 0))
    await writer.write(b"then")
    await writer.flush()
    fd = await sc.create("name/other", mode=ORDWR)
    await sc.write_fence(fd, b"", Fence("name/leader", 2, 0))
    await writer.write(b"more")  # on its way
    with pytest.raises(serr.Stale, match="name/f"):
        await writer.write(b"and more")
    with pytest.raises(serr.Stale):
        await writer.close()
    await writer.close()
    assert await sc.get_file("name/f") == b"then"


async def test_a_writer_whose_block_raises_is_closed(servers: Servers, sc: AsyncFsLib) -> None:
    before = servers.root.stats.fid_count
    writer = sc.create_writer("name/f")

    async def fail() -> None:
        async with writer:
            await writer.write(b"x")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert servers.root.stats.fid_count <= before + 1  # the mount's own
    with pytest.raises(serr.Closed):
        await writer.write(b"y")


async def test_a_reader_that_was_left_early_frees_its_fid(servers: Servers, sc: AsyncFsLib) -> None:
    async with sc.create_writer("name/f") as writer:
        await writer.write(os.urandom(4 * MIB))
    before = servers.root.stats.fid_count
    async with sc.open_reader("name/f") as reader:
        await reader.read_part()
        await reader.read_part()
        assert servers.root.stats.fid_count == before + 1
    await sc.stat("name/f")  # what is sent later finds it freed
    assert servers.root.stats.fid_count == before
    with pytest.raises(serr.Closed):
        await reader.read(1)


async def test_a_cancelled_read_loses_nothing(sc: AsyncFsLib) -> None:
    await sc.new_pipe("name/p")
    opening = asyncio.create_task(sc.open("name/p", OWRITE))
    async with sc.open_reader("name/p") as reader:
        fd = await opening
        waiting = asyncio.create_task(reader.read_part())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await sc.write(fd, b"kept")
        assert await reader.read_part() == b"kept"
        await sc.close_fd(fd)
        assert await reader.read() == b""


async def test_a_read_that_failed_is_read_again(sc: AsyncFsLib) -> None:
    """What could not be read is not left out, nor what was read before it in the same call."""
    data = os.urandom(5 * MIB + 7)
    async with sc.create_writer("name/f") as writer:
        await writer.write(data)
    requests_count = 0

    async def fail_some(request: Request) -> None:
        nonlocal requests_count
        if request.HasField("read"):
            requests_count += 1
            if requests_count % 3 == 0:
                raise serr.Retry("name/f", "busy")

    async with sc.open_reader("name/f") as reader:
        sc.core.fids.before_sending = fail_some
        got, failures_count = b"", 0
        while len(got) < len(data):
            try:
                got += await reader.read()
            except serr.Retry:
                failures_count += 1
        sc.core.fids.before_sending = None
        assert got == data
        assert failures_count > 0


async def test_a_reader_that_waits_for_its_file(sc: AsyncFsLib) -> None:
    waiting = asyncio.create_task(sc.open_wait_reader("name/f", timeout_s=30))
    await asyncio.sleep(0)
    await sc.put_file("name/f", b"there")
    async with await waiting as reader:
        assert await reader.read() == b"there"
    with pytest.raises(serr.Timeout):
        await sc.open_wait_reader("name/never", timeout_s=0.01)


async def test_records(sc: AsyncFsLib) -> None:
    records = [b"", os.urandom(MIB + 1), b"z"]
    async with sc.create_writer("name/binary") as writer:
        for record in records:
            await write_record(writer, record)
    async with sc.open_reader("name/binary") as reader:
        assert [record async for record in read_records(reader)] == records
    values = [{"word": "a"}, [1, 2.5, None], "text", 7]
    async with sc.create_writer("name/json") as writer:
        for value in values[:2]:
            await write_json_record(writer, value)
    for value in values[2:]:
        await sc.append_file_json("name/json", value)
    async with sc.open_reader("name/json") as reader:
        assert [value async for value in read_json_records(reader)] == values
    await sc.put_file("name/json", b'{"cut')
    with pytest.raises(serr.Inval, match="within a value"):
        async with sc.open_reader("name/json") as reader:
            assert [value async for value in read_json_records(reader)] == []


async def test_directories_are_neither_written_nor_cut_into_chunks(sc: AsyncFsLib) -> None:
    await sc.mkdir("name/d")
    with pytest.raises(serr.IsDir):
        await sc.create_writer("name/d").open()
    with pytest.raises(serr.IsDir):
        await sc.open_parallel_reader("name/d").open()
