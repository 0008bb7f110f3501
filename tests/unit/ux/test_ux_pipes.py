"""Pipes on ux (R-12): an entry for everybody, data in memory, nothing after the server."""

from __future__ import annotations

import asyncio
import os
import stat

import pytest
from uxtree import ME, UxTree, make_dir, make_pipe, open_tree, put, remove, rename

from sigmaos_ray import serr
from sigmaos_ray.protsrv.node import OpenHow
from sigmaos_ray.protsrv.watch import Event, EventKind
from sigmaos_ray.sigmap import DMNAMEDPIPE, NO_OFFSET, ORDWR, OREAD, OTRUNC, OWRITE, Fence


async def test_bytes_go_through(tree: UxTree) -> None:
    pipe = await make_pipe(tree.root, "pipe")
    reading = asyncio.ensure_future(pipe.open(ME, OpenHow(OREAD)))
    await asyncio.sleep(0)
    assert not reading.done(), "it waits for a writer"
    (same,) = await tree.root.walk(ME, ["pipe"])
    assert same is pipe
    writer = await same.open(ME, OpenHow(OWRITE))
    reader = await reading
    await writer.write(NO_OFFSET, b"data")
    assert (await pipe.stat(ME)).length == 4
    assert await reader.read(0, 100) == b"data"
    await writer.close()
    with pytest.raises(serr.Closed):
        await reader.read(0, 100)
    await reader.close()
    with pytest.raises(serr.Inval):
        await pipe.open(ME, OpenHow(ORDWR))


async def test_the_entry_is_there_for_everybody(tree: UxTree) -> None:
    watch = tree.watches.add(tree.root.qid().path)
    pipe = await make_pipe(tree.root, "pipe")
    assert await watch.read() == [Event(EventKind.CREATED, "pipe")]
    (shown,) = await tree.root.entries(ME, "", 10)
    assert shown == await pipe.stat(ME)
    assert shown.mode == DMNAMEDPIPE | 0o644
    assert stat.S_ISFIFO((tree.host / "pipe").stat().st_mode)
    with pytest.raises(serr.Exists):
        await make_pipe(tree.root, "pipe")
    for mode in (OWRITE, OWRITE | OTRUNC):
        with pytest.raises(serr.Inval, match="pipe"):
            await put(tree.root, "pipe", b"x", mode)
    tree.watches.drop(watch)


async def test_removing_it_wakes_who_waits(tree: UxTree) -> None:
    pipe = await make_pipe(tree.root, "pipe")
    waiting = [asyncio.ensure_future(pipe.open(ME, OpenHow(mode))) for mode in (OREAD, OREAD)]
    await asyncio.sleep(0)
    await remove(pipe)
    for each in waiting:
        with pytest.raises(serr.NotFound):
            await each
    with pytest.raises(serr.NotFound):
        await pipe.open(ME, OpenHow(OREAD))
    assert await tree.names() == []
    assert len(tree.fs.shared.ties) == 0


@pytest.mark.parametrize("how", ["unlinked", "replaced"])
async def test_one_that_the_host_removes_is_removed_at_the_next_look(tree: UxTree, how: str) -> None:
    pipe = await make_pipe(tree.root, "pipe")
    waiting = asyncio.ensure_future(pipe.open(ME, OpenHow(OREAD)))
    await asyncio.sleep(0)
    (tree.host / "pipe").unlink()
    if how == "replaced":
        os.mkfifo(tree.host / "pipe")
        with pytest.raises(serr.Perm):
            await tree.root.lookup(ME, "pipe")
        (tree.host / "pipe").unlink()
    await put(tree.root, "pipe", b"a file now")
    with pytest.raises(serr.NotFound):
        await waiting
    assert (await (await tree.file("pipe")).stat(ME)).length == 10


async def test_rename_within_and_over(tree: UxTree) -> None:
    pipe, directory = await make_pipe(tree.root, "pipe"), await make_dir(tree.root, "dir")
    await put(directory, "victim", b"")
    await rename(pipe, directory, "victim")
    reading = asyncio.ensure_future((await directory.lookup(ME, "victim")).open(ME, OpenHow(OREAD)))
    writer = await pipe.open(ME, OpenHow(OWRITE))
    await writer.write(NO_OFFSET, b"x")
    assert await (await reading).read(0, 10) == b"x"
    await put(tree.root, "file", b"a file")
    await rename(await tree.file("file"), directory, "victim")
    assert (tree.host / "dir" / "victim").read_bytes() == b"a file"
    await put(directory, "plain", b"")
    assert await tree.names("dir") == ["plain", "victim"]


async def test_a_leased_pipe_goes_with_its_lease(tree: UxTree) -> None:
    lease, _ = tree.fs.leases.grant(60.0)
    pipe, _ = await tree.root.create(ME, "pipe", OpenHow(OREAD, DMNAMEDPIPE | 0o644, lease))
    waiting = asyncio.ensure_future(pipe.open(ME, OpenHow(OREAD)))
    await asyncio.sleep(0)
    tree.fs.leases.end(lease)
    with pytest.raises(serr.NotFound):
        await waiting
    assert await tree.names() == []


async def test_fences_hold(tree: UxTree) -> None:
    old, new = Fence("name/elect", 1), Fence("name/elect", 2)
    await put(tree.root, "f", b"", fence=new)
    with pytest.raises(serr.Stale):
        await tree.root.create(ME, "pipe", OpenHow(OREAD, DMNAMEDPIPE | 0o644, fence=old))
    pipe = await make_pipe(tree.root, "pipe")
    reading = asyncio.ensure_future(pipe.open(ME, OpenHow(OREAD)))
    writer = await pipe.open(ME, OpenHow(OWRITE))
    with pytest.raises(serr.Stale):
        await writer.write(NO_OFFSET, b"old", old)
    await writer.write(NO_OFFSET, b"new", new)
    assert await (await reading).read(0, 10) == b"new"


async def test_pipes_of_others_are_not_shown(tree: UxTree) -> None:
    """Be they of the host's programs or of another server of the same tree."""
    other = open_tree(tree.host)
    await make_pipe(other.root, "other")
    os.mkfifo(tree.host / "host")
    await put(tree.root, "file", b"x")
    await make_pipe(tree.root, "pipe")
    assert await tree.names() == ["file", "pipe"]
    for name in ("host", "other"):
        for call in (
            tree.root.lookup(ME, name),
            put(tree.root, name, b"x"),
            put(tree.root, name, b"x", OWRITE),
            rename(await tree.file("file"), tree.root, name),
        ):
            with pytest.raises(serr.Perm):
                await call
        with pytest.raises(serr.Exists):
            await make_pipe(tree.root, name)
    other.store.close()
    assert not (tree.host / "other").exists()
    assert (tree.host / "host").exists()


async def test_a_directory_with_a_pipe_is_not_empty(tree: UxTree) -> None:
    directory = await make_dir(tree.root, "dir")
    pipe = await make_pipe(directory, "pipe")
    with pytest.raises(serr.NotEmpty):
        await remove(directory)
    await remove(pipe)
    await remove(directory)
