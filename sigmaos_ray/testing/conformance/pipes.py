"""Pipes, sentence by sentence (R-12)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from sigmaos_ray import serr
from sigmaos_ray.sigmap import DMNAMEDPIPE, ORDWR, OREAD, OTRUNC, OWRITE
from sigmaos_ray.testing.conformance.base import Suite, Tree, all_raise, soon
from sigmaos_ray.testing.conformance.refusals import needs

if TYPE_CHECKING:
    from sigmaos_ray.fslib import AsyncFsLib

PIPE_BYTES = 8192


async def ends(tree: Tree) -> tuple[AsyncFsLib, int, AsyncFsLib, int]:
    """A pipe ``p``: its reader and its writer, two clients, with a descriptor each."""
    await tree.sc.new_pipe(tree / "p")
    reader, writer = await tree.client(), await tree.client()
    reading, writing = await soon(asyncio.gather(reader.open(tree / "p", OREAD), writer.open(tree / "p", OWRITE)))
    return reader, reading, writer, writing


async def drain(sc: AsyncFsLib, fd: int) -> bytes:
    """All that comes until the end."""
    data = bytearray()
    while True:
        try:
            data += await soon(sc.read(fd, 100_000))
        except serr.Closed:
            return bytes(data)


class PipeTests(Suite):
    """Bytes from those who write to those who read."""

    @needs("pipes")
    async def test_bytes_go_through_in_order(self, tree: Tree) -> None:
        """R-12: any number of them, through a buffer of 8192."""
        reader, reading, writer, writing = await ends(tree)
        data = bytes(number % 251 for number in range(50_000))
        received = tree.start(drain(reader, reading))
        for start in range(0, len(data), 3001):
            await soon(writer.write(writing, data[start : start + 3001]))
        await writer.close_fd(writing)
        assert await soon(received) == data

    @needs("pipes")
    @pytest.mark.parametrize("first", [OREAD, OWRITE], ids=["reader-first", "writer-first"])
    async def test_an_open_waits_for_the_other_end(self, tree: Tree, first: int) -> None:
        """R-12: OREAD blocks until a writer opens, OWRITE until a reader does."""
        await tree.sc.new_pipe(tree / "p")
        opening = tree.start(tree.sc.open(tree / "p", first))
        same = tree.start(tree.sc.open(tree / "p", first))
        await tree.until_served()
        assert not opening.done()
        other = await tree.client()
        fd = await soon(other.open(tree / "p", OWRITE if first == OREAD else OREAD))
        for each in (opening, same):
            await tree.sc.close_fd(await soon(each))
        await other.close_fd(fd)

    @needs("pipes")
    async def test_modes(self, tree: Tree) -> None:
        """R-12: other modes are Inval, at once."""
        await tree.sc.new_pipe(tree / "p")
        with pytest.raises(serr.Inval):
            await soon(tree.sc.open(tree / "p", ORDWR))

    @needs("pipes")
    async def test_a_write_waits_while_it_is_full(self, tree: Tree) -> None:
        """R-12: 8192 bytes fit, one more waits for a reader."""
        reader, reading, writer, writing = await ends(tree)
        assert await soon(writer.write(writing, b"x" * PIPE_BYTES)) == PIPE_BYTES
        assert (await tree.sc.stat(tree / "p")).length == PIPE_BYTES
        waiting = tree.start(writer.write(writing, b"y"))
        await tree.until_served(writer)
        assert not waiting.done()
        assert await reader.read(reading, 1) == b"x"
        assert await soon(waiting) == 1
        await writer.close_fd(writing)
        assert await drain(reader, reading) == b"x" * (PIPE_BYTES - 1) + b"y"

    @needs("pipes")
    async def test_a_read_waits_while_it_is_empty(self, tree: Tree) -> None:
        """R-12: and returns what is there, up to what it asked for."""
        reader, reading, writer, writing = await ends(tree)
        waiting = tree.start(reader.read(reading, 100))
        await tree.until_served(reader)
        assert not waiting.done()
        await writer.write(writing, b"hello")
        assert await soon(waiting) == b"hello"
        await writer.write(writing, b"abc")
        assert [await reader.read(reading, 2), await reader.read(reading, 2)] == [b"ab", b"c"]

    @needs("pipes")
    async def test_the_last_writer_closes(self, tree: Tree) -> None:
        """R-12: readers drain the rest, then Closed; also one that waits."""
        reader, reading, writer, writing = await ends(tree)
        second = await soon(writer.open(tree / "p", OWRITE))
        await writer.write(writing, b"rest")
        await writer.close_fd(writing)
        assert await soon(reader.read(reading, 2)) == b"re"
        await writer.close_fd(second)
        assert await soon(reader.read(reading, 10)) == b"st"
        for _ in range(2):
            with pytest.raises(serr.Closed):
                await soon(reader.read(reading, 10))

    @needs("pipes")
    async def test_a_waiting_reader_is_told_of_the_end(self, tree: Tree) -> None:
        """R-12."""
        reader, reading, writer, writing = await ends(tree)
        waiting = tree.start(reader.read(reading, 10))
        await tree.until_served(reader)
        await writer.close_fd(writing)
        with pytest.raises(serr.Closed):
            await soon(waiting)

    @needs("pipes")
    async def test_the_last_reader_closes(self, tree: Tree) -> None:
        """R-12: a blocked write is Closed, and so is a later one."""
        reader, reading, writer, writing = await ends(tree)
        waiting = tree.start(writer.write(writing, b"x" * (PIPE_BYTES + 1)))
        await tree.until_served(writer)
        await reader.close_fd(reading)
        with pytest.raises(serr.Closed):
            await soon(waiting)
        with pytest.raises(serr.Closed):
            await soon(writer.write(writing, b"y"))

    @needs("pipes")
    async def test_a_closed_end_is_not_opened_again(self, tree: Tree) -> None:
        """R-12: Closed."""
        reader, reading, writer, writing = await ends(tree)
        await reader.close_fd(reading)
        with pytest.raises(serr.Closed):
            await soon(reader.open(tree / "p", OREAD))
        await writer.close_fd(writing)
        for mode in (OREAD, OWRITE):
            with pytest.raises(serr.Closed):
                await soon(tree.sc.open(tree / "p", mode))

    @needs("pipes")
    async def test_removing_it_wakes_who_waits_to_open(self, tree: Tree) -> None:
        """R-12: NotFound."""
        await tree.sc.new_pipe(tree / "p")
        waiting = [tree.start(tree.sc.open(tree / "p", OREAD)) for _ in range(3)]
        await tree.until_served()
        await tree.sc.remove(tree / "p")
        for each in waiting:
            with pytest.raises(serr.NotFound):
                await soon(each)
        assert await tree.names() == []

    @needs("pipes")
    async def test_a_removed_pipe_goes_on_for_those_who_have_it(self, tree: Tree) -> None:
        """R-12, P-11."""
        reader, reading, writer, writing = await ends(tree)
        await tree.sc.remove(tree / "p")
        await writer.write(writing, b"still")
        assert await soon(reader.read(reading, 10)) == b"still"

    @needs("pipes")
    async def test_a_client_that_goes_closes_its_ends(self, tree: Tree) -> None:
        """R-12, S-5: a crashed or detached client counts as closing its ends; reader, writer, and who waits to open."""
        reader, reading, writer, writing = await ends(tree)
        await writer.write(writing, b"last")
        await writer.close_fs()
        assert await drain(reader, reading) == b"last"
        await tree.sc.remove(tree / "p")
        reader, reading, writer, writing = await ends(tree)
        waiting = tree.start(writer.write(writing, b"x" * (PIPE_BYTES + 1)))
        await tree.until_served(writer)
        await reader.close_fs()
        with pytest.raises(serr.Closed):
            await soon(waiting)

    @needs("pipes")
    async def test_a_client_that_goes_while_it_waits_to_open(self, tree: Tree) -> None:
        """R-12: it does not count: who opens the other end then still waits."""
        await tree.sc.new_pipe(tree / "p")
        leaving = await tree.client()
        waiting = tree.start(leaving.open(tree / "p", OREAD))
        await tree.until_served(leaving)
        await leaving.close_fs()
        with pytest.raises(serr.SigmaError):
            await soon(waiting)
        opening = tree.start(tree.sc.open(tree / "p", OWRITE))
        await tree.until_served()
        assert not opening.done()
        reader = await tree.client()
        reading = await soon(reader.open(tree / "p", OREAD))
        await tree.sc.write(await soon(opening), b"x")
        assert await soon(reader.read(reading, 1)) == b"x"

    @needs("pipes")
    async def test_closing_a_descriptor_wakes_its_calls(self, tree: Tree) -> None:
        """R-12, P-14: a read that waits on it ends."""
        reader, reading, _, _ = await ends(tree)
        fid_reads = tree.start(reader.read(reading, 10))
        await tree.until_served(reader)
        await reader.close_fd(reading)
        with pytest.raises(serr.SigmaError):
            await soon(fid_reads)

    @needs("pipes")
    async def test_writes_do_not_mix(self, tree: Tree) -> None:
        """R-12, P-15: each write arrives in one piece."""
        reader, reading, writer, writing = await ends(tree)
        size = 3 * PIPE_BYTES
        pieces = [letter.encode() * size for letter in "ABCD"]
        received = tree.start(drain(reader, reading))
        fds = [writing, *[await soon(writer.open(tree / "p", OWRITE)) for _ in range(3)]]
        await soon(asyncio.gather(*(writer.write(fd, piece) for fd, piece in zip(fds, pieces, strict=True))))
        for fd in fds:
            await writer.close_fd(fd)
        data = await soon(received)
        assert sorted(data[start : start + size] for start in range(0, len(data), size)) == pieces

    @needs("pipes")
    async def test_the_entry(self, tree: Tree) -> None:
        """R-12, P-5: stat works, listings show it, the name is taken, and it goes like a file."""
        await tree.sc.new_pipe(tree / "p")
        stat = await tree.sc.stat(tree / "p")
        assert (stat.name, stat.length, stat.is_dir) == ("p", 0, False)
        assert stat.mode & DMNAMEDPIPE
        assert await tree.names() == ["p"]
        await all_raise(
            serr.Exists, tree.sc.new_pipe(tree / "p"), tree.sc.mkdir(tree / "p"), tree.sc.create(tree / "p")
        )
        with pytest.raises(serr.NotDir):
            await tree.sc.get_file(tree / "p/x")
        await tree.sc.remove(tree / "p")
        assert await tree.names() == []

    @needs("pipes")
    async def test_whole_file_calls(self, tree: Tree) -> None:
        """R-12: a pipe is opened, and read or written then; nothing hangs."""
        await tree.sc.new_pipe(tree / "p")
        await all_raise(
            (serr.NotSupported, serr.Inval),
            soon(tree.sc.get_file(tree / "p")),
            soon(tree.sc.put_file(tree / "p", b"x")),
        )
        assert (await tree.sc.stat(tree / "p")).length == 0

    @needs("pipes", "rename")
    async def test_a_renamed_pipe(self, tree: Tree) -> None:
        """R-12, P-11: who waits at it and who opens it under its new name meet."""
        await tree.sc.new_pipe(tree / "p")
        opening = tree.start(tree.sc.open(tree / "p", OREAD))
        await tree.until_served()
        await tree.sc.rename(tree / "p", tree / "q")
        writer = await tree.client()
        writing = await soon(writer.open(tree / "q", OWRITE))
        await writer.write(writing, b"x")
        assert await soon(tree.sc.read(await soon(opening), 10)) == b"x"

    @needs("pipes")
    async def test_streams(self, tree: Tree) -> None:
        """R-12: to the end of what is written."""
        await tree.sc.new_pipe(tree / "p")
        data = b"0123456789" * 3000

        async def send() -> None:
            async with (await tree.client()).open_writer(tree / "p") as writer:
                await writer.write(data)

        sending = tree.start(send())
        async with tree.sc.open_reader(tree / "p") as reader:
            assert await soon(reader.read()) == data
        await soon(sending)

    @needs("pipes")
    async def test_who_waits_holds_up_nobody(self, tree: Tree) -> None:
        """P-3: requests that block do not hold up others of the session."""
        await tree.sc.new_pipe(tree / "p")
        opening = [tree.start(tree.sc.open(tree / "p", OREAD)) for _ in range(20)]
        for number in range(20):
            await soon(tree.sc.put_file(tree / f"f{number}", b"x"))
        assert not any(each.done() for each in opening)

    @needs("pipes", "fences")
    async def test_truncation_means_nothing(self, tree: Tree) -> None:
        """P-4: OTRUNC empties files."""
        reader, reading, writer, writing = await ends(tree)
        await writer.write(writing, b"kept")
        more = await soon(writer.open(tree / "p", OWRITE | OTRUNC))
        assert await soon(reader.read(reading, 10)) == b"kept"
        await writer.close_fd(more)
