"""Pipes (R-12)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from sigmaos_ray import serr
from sigmaos_ray.protsrv.pipe import PIPE_BYTES, Pipe
from sigmaos_ray.sigmap import ORDWR, OREAD, OWRITE, Fence

if TYPE_CHECKING:
    from sigmaos_ray.protsrv.pipe import OpenPipe


def accept(_: Fence) -> None:
    """Every fence passes."""


async def both_ends(pipe: Pipe) -> tuple[OpenPipe, OpenPipe]:
    return await asyncio.gather(pipe.open(OREAD, accept), pipe.open(OWRITE, accept))


async def settle() -> None:
    """Lets everything run that can."""
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.mark.parametrize(("first", "second"), [(OREAD, OWRITE), (OWRITE, OREAD)])
async def test_an_open_waits_for_the_other_end(first: int, second: int) -> None:
    pipe = Pipe("p")
    opening = asyncio.create_task(pipe.open(first, accept))
    await settle()
    assert not opening.done()
    await pipe.open(second, accept)
    await opening


async def test_other_modes_are_refused() -> None:
    with pytest.raises(serr.Inval, match="not both"):
        await Pipe("p").open(ORDWR, accept)


async def test_what_is_written_is_read_in_order() -> None:
    reader, writer = await both_ends(Pipe("p"))
    await writer.write(0, b"one ")
    await writer.write(99, b"two")
    assert await reader.read(0, 3) == b"one"
    assert await reader.read(7, 100) == b" two"


async def test_a_reader_waits_while_it_is_empty() -> None:
    reader, writer = await both_ends(Pipe("p"))
    reading = asyncio.create_task(reader.read(0, 10))
    await settle()
    assert not reading.done()
    await writer.write(0, b"x")
    assert await reading == b"x"


async def test_a_writer_waits_while_it_is_full() -> None:
    """And what it writes is not mixed with another's."""
    pipe = Pipe("p")
    reader, writer = await both_ends(pipe)
    other = await pipe.open(OWRITE, accept)
    writing = asyncio.create_task(writer.write(0, b"a" * 3 * PIPE_BYTES))
    writing_too = asyncio.create_task(other.write(0, b"b" * 10))
    await settle()
    assert not writing.done()
    assert pipe.length == PIPE_BYTES
    got = b""
    while len(got) < 3 * PIPE_BYTES + 10:
        got += await reader.read(0, 1000)
    assert got == b"a" * 3 * PIPE_BYTES + b"b" * 10
    assert (await writing, await writing_too) == (3 * PIPE_BYTES, 10)


async def test_readers_drain_what_writers_left() -> None:
    """The last writer's close counts, not the first's."""
    pipe = Pipe("p")
    reader, writer = await both_ends(pipe)
    other = await pipe.open(OWRITE, accept)
    await writer.write(0, b"left")
    await writer.close()
    assert await reader.read(0, 2) == b"le"
    await other.close()
    assert await reader.read(0, 100) == b"ft"
    for _ in range(2):
        with pytest.raises(serr.Closed):
            await reader.read(0, 100)


async def test_a_waiting_reader_hears_that_the_last_writer_closed() -> None:
    reader, writer = await both_ends(Pipe("p"))
    reading = asyncio.create_task(reader.read(0, 1))
    await settle()
    await writer.close()
    with pytest.raises(serr.Closed):
        await reading


async def test_writers_without_a_reader_get_closed() -> None:
    """Blocked ones, and later ones."""
    reader, writer = await both_ends(Pipe("p"))
    writing = asyncio.create_task(writer.write(0, b"x" * 2 * PIPE_BYTES))
    await settle()
    await reader.close()
    with pytest.raises(serr.Closed):
        await writing
    with pytest.raises(serr.Closed):
        await writer.write(0, b"x")


@pytest.mark.parametrize("mode", [OREAD, OWRITE])
async def test_an_end_that_was_closed_stays_closed(mode: int) -> None:
    pipe = Pipe("p")
    reader, writer = await both_ends(pipe)
    await (reader if mode == OREAD else writer).close()
    with pytest.raises(serr.Closed):
        await pipe.open(mode, accept)


async def test_a_removed_pipe_wakes_those_who_open_it() -> None:
    pipe = Pipe("p")
    opening = asyncio.create_task(pipe.open(OREAD, accept))
    await settle()
    pipe.remove()
    with pytest.raises(serr.NotFound):
        await opening


async def test_a_removed_pipe_still_serves_who_has_it_open() -> None:
    pipe = Pipe("p")
    reader, writer = await both_ends(pipe)
    pipe.remove()
    await writer.write(0, b"x")
    assert await reader.read(0, 1) == b"x"


async def test_who_gives_up_opening_does_not_count() -> None:
    """A crashed client's open is cancelled: the pipe is as if it had not come."""
    pipe = Pipe("p")
    opening = asyncio.create_task(pipe.open(OREAD, accept))
    await settle()
    opening.cancel()
    await asyncio.wait({opening})
    writing = asyncio.create_task(pipe.open(OWRITE, accept))
    await settle()
    assert not writing.done()
    await pipe.open(OREAD, accept)
    await writing


async def test_closing_an_opening_ends_its_own_blocked_calls() -> None:
    """As when a client clunks the fid that another of its calls waits on."""
    pipe = Pipe("p")
    reader, writer = await both_ends(pipe)
    other = await pipe.open(OREAD, accept)
    reading = asyncio.create_task(reader.read(0, 1))
    await settle()
    await reader.close()
    with pytest.raises(serr.Closed):
        await reading
    await writer.write(0, b"x")
    assert await other.read(0, 1) == b"x"


async def test_a_stale_writer_is_refused() -> None:
    def refuse(fence: Fence) -> None:
        if fence:
            raise serr.Stale(fence.pathname)

    pipe = Pipe("p")
    _, writer = await asyncio.gather(pipe.open(OREAD, refuse), pipe.open(OWRITE, refuse))
    with pytest.raises(serr.Stale):
        await writer.write(0, b"x", Fence("f", 1))
    assert pipe.length == 0
