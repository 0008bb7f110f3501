"""Reading and writing what is in files, whole, in pieces, as streams, and as JSON."""

from __future__ import annotations

import pytest

from sigmaos_ray import config as configuration
from sigmaos_ray import serr
from sigmaos_ray.sigmap import OAPPEND, ORDWR, OREAD, OWRITE, Fence
from sigmaos_ray.testing.conformance.base import Suite, Tree
from sigmaos_ray.testing.conformance.refusals import needs

MIB = 1 << 20
PAYLOAD = configuration.Wire().payload_bytes_min
"""From here on data travel apart from their messages."""


def data_of(size_bytes: int) -> bytes:
    """Bytes that differ from place to place."""
    return (bytes(number % 251 for number in range(1000)) * (size_bytes // 1000 + 1))[:size_bytes]


class ContentsTests(Suite):
    """What descriptors and streams read and write."""

    @needs("read_write")
    async def test_offsets(self, tree: Tree) -> None:
        """Each read and write moves the offset, ``pread`` does not; F-3: past the end there is nothing."""
        fd = await tree.sc.create(tree / "f", mode=ORDWR)
        assert await tree.sc.write(fd, b"hello ") == 6
        assert await tree.sc.write(fd, memoryview(b"world")) == 5
        assert await tree.sc.read(fd, 10) == b""
        await tree.sc.seek(fd, 6)
        assert await tree.sc.pread(fd, 5, 0) == b"hello"
        assert await tree.sc.read(fd, 3) == b"wor"
        assert await tree.sc.read(fd, 100) == b"ld"
        await tree.sc.close_fd(fd)

    async def test_reads_at_and_past_the_end(self, tree: Tree) -> None:
        """F-3."""
        await tree.sc.put_file(tree / "f", b"abc")
        fd = await tree.sc.open(tree / "f")
        for offset, count, data in ((1, 1, b"b"), (1, 10, b"bc"), (3, 10, b""), (99, 10, b""), (0, 0, b"")):
            assert await tree.sc.pread(fd, count, offset) == data
        for count, offset in ((-1, 0), (1, -1)):
            with pytest.raises(serr.Inval):
                await tree.sc.pread(fd, count, offset)
        with pytest.raises(serr.Inval):
            await tree.sc.seek(fd, -1)
        await tree.sc.close_fd(fd)

    @needs("writes_in_place")
    async def test_a_write_past_the_end_fills_with_zeros(self, tree: Tree) -> None:
        """P-10: of a put, and of a descriptor; and what was there stays."""
        await tree.sc.set_file(tree / "f", b"x", offset=3)
        assert await tree.sc.get_file(tree / "f") == b"\0\0\0x"
        fd = await tree.sc.open(tree / "f", OWRITE)
        await tree.sc.seek(fd, 6)
        await tree.sc.write(fd, b"yz")
        await tree.sc.close_fd(fd)
        assert await tree.sc.get_file(tree / "f") == b"\0\0\0x\0\0yz"

    @needs("writes_in_place")
    async def test_nothing_written_far_away(self, tree: Tree) -> None:
        """P-10: no bytes make no gap."""
        await tree.sc.put_file(tree / "f", b"abc")
        fd = await tree.sc.open(tree / "f", OWRITE)
        assert await tree.sc.write(fd, b"") == 0
        await tree.sc.close_fd(fd)
        assert await tree.sc.get_file(tree / "f") == b"abc"

    @needs("writes_in_place")
    async def test_a_write_in_the_middle_of_a_large_file(self, tree: Tree) -> None:
        """Only what was written changes."""
        size = min(3 * MIB, tree.can.file_bytes_max or 3 * MIB)
        data = bytearray(data_of(size))
        await tree.sc.put_file(tree / "f", bytes(data))
        fd = await tree.sc.open(tree / "f", OWRITE)
        await tree.sc.seek(fd, size // 2)
        await tree.sc.write(fd, b"here")
        await tree.sc.close_fd(fd)
        data[size // 2 : size // 2 + 4] = b"here"
        assert await tree.sc.get_file(tree / "f") == data

    @needs("writes_in_place")
    async def test_the_length_of_a_file_can_be_set(self, tree: Tree) -> None:
        """P-16: it is cut, or filled up with zeros; a descriptor's offset stays, and the version moves."""
        await tree.sc.put_file(tree / "f", b"0123456789")
        before = (await tree.sc.stat(tree / "f")).qid
        await tree.sc.truncate(tree / "f", 4)
        after = (await tree.sc.stat(tree / "f")).qid
        assert await tree.sc.get_file(tree / "f") == b"0123"
        assert (after.path, after.version > before.version) == (before.path, True)
        await tree.sc.truncate(tree / "f", 6)
        assert await tree.sc.get_file(tree / "f") == b"0123\0\0"
        fd = await tree.sc.open(tree / "f", OWRITE)
        await tree.sc.write(fd, b"abc")
        await tree.sc.truncate_fd(fd, 0)
        await tree.sc.write(fd, b"d")
        await tree.sc.close_fd(fd)
        assert await tree.sc.get_file(tree / "f") == b"\0\0\0d"
        assert (await tree.sc.stat(tree / "f")).length == 4

    async def test_lengths_that_cannot_be(self, tree: Tree) -> None:
        """P-16: nothing is changed then."""
        await tree.sc.put_file(tree / "f", b"data")
        await tree.sc.mkdir(tree / "d")
        with pytest.raises(serr.Inval):
            await tree.sc.truncate(tree / "f", -1)
        with pytest.raises(serr.NotFound):
            await tree.sc.truncate(tree / "none", 1)
        with pytest.raises(serr.IsDir):
            await tree.sc.truncate(tree / "d", 1)
        if not tree.can.writes_in_place:
            with pytest.raises(serr.NotSupported):
                await tree.sc.truncate(tree / "f", 2)
        for size in ((1 << 63) - 1, *([tree.can.file_bytes_max + 1] if tree.can.file_bytes_max else [])):
            with pytest.raises(serr.SigmaError):
                await tree.sc.truncate(tree / "f", size)
        fd = await tree.sc.open(tree / "f", OREAD)
        with pytest.raises(serr.Perm):
            await tree.sc.truncate_fd(fd, 0)
        await tree.sc.close_fd(fd)
        assert await tree.sc.get_file(tree / "f") == b"data"
        if tree.can.pipes:
            await tree.sc.new_pipe(tree / "p")
            assert await tree.names() == ["d", "f", "p"]

    @needs("fences", "writes_in_place")
    async def test_a_length_is_set_under_the_fence(self, tree: Tree) -> None:
        """P-16, L-21."""
        old, new = await tree.client(), await tree.client()
        await old.fence_dir(tree.root, Fence(f"{tree.root}/leader", 1))
        await tree.sc.put_file(tree / "f", b"data")
        await new.fence_dir(tree.root, Fence(f"{tree.root}/leader", 2))
        await new.mkdir(tree / "new-leader")
        with pytest.raises(serr.Stale):
            await old.truncate(tree / "f", 1)
        assert await tree.sc.get_file(tree / "f") == b"data"

    @pytest.mark.parametrize("size_bytes", [0, 1, *(PAYLOAD + more for more in (-1, 0, 1)), MIB, MIB + 1, 3 * MIB + 5])
    async def test_files_of_any_size(self, tree: Tree, size_bytes: int) -> None:
        """The client cuts what is larger than a message. Too large for the server: Inval with the limit."""
        data = data_of(size_bytes)
        if tree.can.file_bytes_max is not None and size_bytes > tree.can.file_bytes_max:
            with pytest.raises(serr.Inval, match=str(tree.can.file_bytes_max)):
                await tree.sc.put_file(tree / "f", data)
            return
        assert await tree.sc.put_file(tree / "f", data) == size_bytes
        assert await tree.sc.get_file(tree / "f") == data
        assert (await tree.sc.stat(tree / "f")).length == size_bytes
        fd = await tree.sc.open(tree / "f")
        assert await tree.sc.read(fd, size_bytes + 10) == data
        assert await tree.sc.read(fd, 10) == b""
        await tree.sc.close_fd(fd)

    async def test_writes_in_pieces(self, tree: Tree) -> None:
        """Each moves the offset."""
        data = data_of(100_000)
        fd = await tree.sc.create(tree / "f")
        for start in range(0, len(data), 7919):
            await tree.sc.write(fd, data[start : start + 7919])
        await tree.sc.close_fd(fd)
        assert await tree.sc.get_file(tree / "f") == data

    async def test_all_bytes(self, tree: Tree) -> None:
        """Contents are bytes, not text."""
        data = bytes(range(256)) * 3
        await tree.sc.put_file(tree / "f", data)
        assert await tree.sc.get_file(tree / "f") == data

    async def test_streams(self, tree: Tree) -> None:
        """F-2: what a writer took is there at its close."""
        data = data_of(500_000)
        async with tree.sc.create_writer(tree / "f", buffer_bytes=65_536) as writer:
            for start in range(0, len(data), 30_011):
                await writer.write(data[start : start + 30_011])
        assert writer.written_bytes == len(data)
        async with tree.sc.open_reader(tree / "f", buffer_bytes=65_536) as reader:
            assert await reader.read() == data
            assert await reader.read() == b""
        async with tree.sc.open_reader(tree / "f", 50, len(data) - 100) as reader:
            assert await reader.read() == data[50:-50]

    async def test_a_region(self, tree: Tree) -> None:
        """F-3: reading region (3, 20) of "hello" gives "lo", then the end."""
        await tree.sc.put_file(tree / "f", b"hello")
        async with tree.sc.open_reader(tree / "f", 3, 20) as reader:
            assert await reader.read(20) == b"lo"
            assert await reader.read(20) == b""

    async def test_a_writer_replaces_or_appends(self, tree: Tree) -> None:
        """P-4: by its mode."""
        await tree.sc.put_file(tree / "f", b"long contents")
        async with tree.sc.create_writer(tree / "f") as writer:
            await writer.write(b"ab")
        assert await tree.sc.get_file(tree / "f") == b"ab"
        with pytest.raises(serr.NotFound):
            async with tree.sc.open_writer(tree / "missing"):
                pass
        if not tree.can.append:
            with pytest.raises(serr.NotSupported):
                async with tree.sc.open_writer(tree / "f", OWRITE | OAPPEND):
                    pass
            return
        async with tree.sc.open_writer(tree / "f", OWRITE | OAPPEND) as writer:
            await writer.write(b"cd")
        assert await tree.sc.get_file(tree / "f") == b"abcd"

    async def test_a_writer_whose_block_raises(self, tree: Tree) -> None:
        """F-2: what appears only at the close does not appear; elsewhere what was written stays."""

        async def break_off() -> None:
            async with tree.sc.create_writer(tree / "f") as writer:
                await writer.write(b"ab")
                await writer.flush()
                raise RuntimeError

        with pytest.raises(RuntimeError):
            await break_off()
        assert await tree.names() == (["f"] if tree.can.writes_in_place else [])

    async def test_chunks_for_several_readers(self, tree: Tree) -> None:
        """Successive chunks, then the end."""
        await tree.sc.put_file(tree / "f", b"0123456789")
        chunks = []
        async with tree.sc.open_parallel_reader(tree / "f") as parallel:
            while (chunk := parallel.get_chunk_reader(4)) is not None:
                chunks.append((await chunk[0].read(), chunk[1]))
        assert chunks == [(b"0123", 0), (b"4567", 4), (b"89", 8)]

    async def test_copies(self, tree: Tree) -> None:
        """The target must not exist."""
        data = data_of(300_000)
        await tree.sc.put_file(tree / "f", data)
        assert await tree.sc.copy_file(tree / "f", tree / "copy") == len(data)
        assert await tree.sc.get_file(tree / "copy") == data
        with pytest.raises(serr.Exists):
            await tree.sc.copy_file(tree / "f", tree / "copy")
        with pytest.raises(serr.NotFound):
            await tree.sc.copy_file(tree / "no", tree / "other")
        assert await tree.names() == ["copy", "f"]

    @pytest.mark.parametrize("size_bytes", [10, MIB + 1])
    async def test_atomic_replacement(self, tree: Tree, size_bytes: int) -> None:
        """Old or new, and nothing else is left."""
        if tree.can.file_bytes_max is not None:
            size_bytes = min(size_bytes, tree.can.file_bytes_max)
        await tree.sc.put_file(tree / "f", b"old")
        await tree.sc.put_file_atomic(tree / "f", data_of(size_bytes))
        assert await tree.sc.get_file(tree / "f") == data_of(size_bytes)
        await tree.sc.put_file_atomic(tree / "f", b"small again")
        assert await tree.sc.get_file(tree / "f") == b"small again"
        assert await tree.names() == ["f"]

    async def test_json(self, tree: Tree) -> None:
        """What is put as JSON is got as JSON; what is none is Inval."""
        value = {"a": [1, 2.5, None, "x"]}
        await tree.sc.put_file_json(tree / "f", value)
        assert await tree.sc.get_file_json(tree / "f") == value
        await tree.sc.put_file_json_atomic(tree / "f", [1])
        await tree.sc.set_file_json(tree / "f", 2)
        assert await tree.sc.get_file_json(tree / "f") == 2
        with pytest.raises(serr.Inval):
            await tree.sc.put_file_json(tree / "f", object())
        await tree.sc.put_file(tree / "g", b"not json")
        with pytest.raises(serr.Inval):
            await tree.sc.get_file_json(tree / "g")

    @needs("append")
    async def test_json_records(self, tree: Tree) -> None:
        """One record a call, at the end."""
        for number in (1, 2):
            await tree.sc.append_file_json(tree / "log", {"n": number})
        assert await tree.sc.get_file(tree / "log") == b'{"n":1}\n{"n":2}\n'
