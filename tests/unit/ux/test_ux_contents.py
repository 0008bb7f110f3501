"""Contents of files: reading, writing, puts."""

from __future__ import annotations

import asyncio
import errno
import os
from typing import TYPE_CHECKING

import msgspec
import pytest
from uxtree import ME, UxTree, make_dir, make_file, open_tree, put, remove

from kernel.ux import hostdir, hostfile
from kernel.ux.hostdir import host_stat as really
from kernel.ux.store import INLINE_BYTES_MAX
from sigmaos_ray import serr
from sigmaos_ray.protsrv.node import OpenHow
from sigmaos_ray.sigmap import NO_OFFSET, OAPPEND, OEXCL, ORDWR, OREAD, OTRUNC, OWRITE, Mode

if TYPE_CHECKING:
    from pathlib import Path

    from sigmaos_ray.protsrv.node import OpenFile

SIZES = [0, 1, INLINE_BYTES_MAX, INLINE_BYTES_MAX + 1, 1 << 20]


async def open_file(tree: UxTree, name: str, mode: Mode = OREAD) -> OpenFile:
    return await (await tree.file(name)).open(ME, OpenHow(mode))


def append(host_file: Path, data: bytes) -> None:
    with host_file.open("ab") as host:
        host.write(data)


@pytest.mark.parametrize("size", SIZES)
async def test_contents_of_any_size(tree: UxTree, size: int) -> None:
    data = os.urandom(size)
    file = await make_file(tree.root, "file")
    assert await file.write(0, data) == size
    assert await file.read(0, size + 1) == data
    assert await file.read(size // 2, size) == data[size // 2 :]
    for offset in (size, size + 1, NO_OFFSET, 1 << 63):
        assert await file.read(offset, 1 << 20) == b""
    await file.close()
    await put(tree.root, "put", data)
    assert (tree.host / "put").read_bytes() == (tree.host / "file").read_bytes() == data


@pytest.mark.parametrize("size", SIZES[1:])
async def test_a_write_past_the_end_fills_with_zeros(tree: UxTree, size: int) -> None:
    """P-10."""
    file = await make_file(tree.root, "file")
    await file.write(3, b"x" * size)
    await file.close()
    await put(tree.root, "put", b"x" * size, OWRITE, offset=3)
    for name in ("file", "put"):
        assert (tree.host / name).read_bytes() == b"\0\0\0" + b"x" * size
    await put(tree.root, "put", b"y", OWRITE, offset=1)
    assert (tree.host / "put").read_bytes()[:4] == b"\0y\0x"


async def test_offsets_that_no_file_has(tree: UxTree) -> None:
    file = await make_file(tree.root, "file")
    for offset in ((1 << 63) - 1, 1 << 63, NO_OFFSET - 1):
        with pytest.raises(serr.Inval):
            await file.write(offset, b"xx")
        with pytest.raises(serr.Inval):
            await put(tree.root, "put", b"xx", OWRITE, offset=offset)
    await file.close()
    assert await tree.names() == ["file"]


async def test_appends_do_not_overwrite_each_other(tree: UxTree) -> None:
    files = [await make_file(tree.root, "log")] + [await open_file(tree, "log", OWRITE | OAPPEND) for _ in range(3)]
    lines = [b"%d:%s\n" % (number, bytes([97 + number]) * size) for number in range(4) for size in (10, 100_000)]
    await asyncio.gather(
        *(files[line[0] - 48].write(NO_OFFSET, line) for line in lines),
        asyncio.to_thread(append, tree.host / "log", b"host\n"),
    )
    await put(tree.root, "log", b"put\n", OWRITE | OAPPEND, offset=NO_OFFSET)
    for file in files:
        await file.close()
    assert sorted((tree.host / "log").read_bytes().splitlines(True)) == sorted([*lines, b"host\n", b"put\n"])


async def test_truncation_at_open(tree: UxTree) -> None:
    await put(tree.root, "file", b"data")
    before = (await tree.file("file")).qid().version
    await (await open_file(tree, "file", OWRITE)).close()
    assert (tree.host / "file").read_bytes() == b"data"
    await (await open_file(tree, "file", OWRITE | OTRUNC)).close()
    assert (tree.host / "file").read_bytes() == b""
    assert (await tree.file("file")).qid().version > before


async def test_versions_move_with_each_write(tree: UxTree) -> None:
    node = None
    await put(tree.root, "file", b"")
    node = await tree.file("file")
    versions = [node.qid().version]
    file = await node.open(ME, OpenHow(ORDWR))
    for data in (b"1", b"1", b"1"):
        await file.write(0, data)
        versions.append((await node.stat(ME)).qid.version)
    await put(tree.root, "file", b"2")
    versions.append((await node.stat(ME)).qid.version)
    assert versions == sorted(set(versions))
    assert await file.read(0, 10) == b"2"
    assert (await node.stat(ME)).qid.version == versions[-1], "reading changes nothing"
    await file.close()


async def test_versions_move_where_the_hosts_clock_stands_still(tree: UxTree, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (hostdir, hostfile):
        monkeypatch.setattr(module, "host_stat", lambda status: msgspec.structs.replace(really(status), ctime_ns=1))
    await put(tree.root, "file", b"1")
    node = await tree.file("file")
    versions = [(await node.stat(ME)).qid.version]
    for mode in (OWRITE, OWRITE | OTRUNC):
        await put(tree.root, "file", b"2", mode)
        versions.append((await node.stat(ME)).qid.version)
    assert versions == sorted(set(versions))
    del node
    await put(tree.root, "file", b"3")
    assert (await tree.file("file")).qid().version > versions[-1], "also while nobody holds it"


async def test_what_the_host_writes_shows_at_the_next_look(tree: UxTree) -> None:
    await put(tree.root, "file", b"ours")
    node = await tree.file("file")
    before = await node.stat(ME)
    append(tree.host / "file", b" and theirs")
    os.utime(tree.host / "file", ns=(0, 0))
    after = await node.stat(ME)
    assert after.length == 15
    assert after.mtime == 0
    assert before.qid.path == after.qid.path
    assert after.qid.version > before.qid.version


async def test_a_file_removed_while_open_stays_readable(tree: UxTree) -> None:
    await put(tree.root, "file", b"data")
    node = await tree.file("file")
    file = await node.open(ME, OpenHow(ORDWR))
    await remove(node)
    await file.write(NO_OFFSET, b" more")
    assert await file.read(0, 100) == b"data more"
    assert (await node.stat(ME)).length == 9
    await file.close()
    assert await tree.names() == []


async def test_a_replaced_file_takes_its_readers_and_writers_along(tree: UxTree) -> None:
    """A put that replaces makes a new inode; whoever has the file open must not write into the old one."""
    await put(tree.root, "file", b"old contents")
    reader, writer = await open_file(tree, "file"), await open_file(tree, "file", OWRITE)
    await put(tree.root, "file", b"new")
    assert await reader.read(0, 100) == b"new"
    await writer.write(NO_OFFSET, b"er")
    assert (tree.host / "file").read_bytes() == b"newer"
    await reader.close()
    await writer.write(NO_OFFSET, b"!")
    await writer.close()
    assert (tree.host / "file").read_bytes() == b"newer!"
    with pytest.raises(serr.Closed):
        await writer.read(0, 1)


async def test_open_for_writing_beside_an_open_for_reading(tree: UxTree) -> None:
    await put(tree.root, "file", b"data")
    reader = await open_file(tree, "file")
    writer = await open_file(tree, "file", OWRITE)
    await writer.write(0, b"D")
    assert await reader.read(0, 10) == b"Data"
    await writer.close()
    await reader.close()


# -- puts


async def test_put_modes(tree: UxTree) -> None:
    """P-9."""
    await put(tree.root, "file", b"12345", OWRITE | OEXCL)
    with pytest.raises(serr.Exists):
        await put(tree.root, "file", b"x", OWRITE | OEXCL)
    await put(tree.root, "file", b"abc", OWRITE)
    assert (tree.host / "file").read_bytes() == b"abc45"
    await put(tree.root, "file", b"abc")
    assert (tree.host / "file").read_bytes() == b"abc"
    await put(tree.root, "new", b"x", OWRITE | OAPPEND, offset=NO_OFFSET)
    assert (tree.host / "new").read_bytes() == b"x"
    await make_dir(tree.root, "dir")
    for mode in (OWRITE, OWRITE | OTRUNC):
        with pytest.raises(serr.IsDir):
            await put(tree.root, "dir", b"x", mode)
    with pytest.raises(serr.Inval):
        await put(tree.root, "d", b"", perm=0x80000000 | 0o755)


async def test_an_exclusive_put_has_one_winner(tree: UxTree) -> None:
    async def claim(number: int, size: int) -> bool:
        try:
            await put(tree.root, f"lock-{size}", bytes([number]) * size, OWRITE | OEXCL)
        except serr.Exists:
            return False
        return True

    for size in (10, 200_000):
        won = await asyncio.gather(*(claim(number, size) for number in range(8)))
        assert won.count(True) == 1
        assert (tree.host / f"lock-{size}").read_bytes() == bytes([won.index(True)]) * size


@pytest.mark.parametrize("refusal", [errno.EPERM, errno.EOPNOTSUPP])
async def test_puts_where_the_host_has_no_hard_links(
    tree: UxTree, monkeypatch: pytest.MonkeyPatch, refusal: int
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(refusal, os.strerror(refusal))

    monkeypatch.setattr(os, "link", refuse)
    await put(tree.root, "file", b"x", OWRITE | OEXCL)
    with pytest.raises(serr.Exists):
        await put(tree.root, "file", b"y", OWRITE | OEXCL)
    piece = await tree.store.prepare(b"z", 0, 0o644, "file")
    with tree.root.open_dir() as directory, pytest.raises(serr.Exists):
        tree.store.workshop.place_new(piece, directory, "file")
    tree.store.workshop.drop(piece)
    assert (tree.host / "file").read_bytes() == b"x"


async def test_a_replacing_put_is_seen_whole_by_the_host_too(tree: UxTree) -> None:
    values = [bytes([letter]) * 300_000 for letter in b"abcd"]
    await put(tree.root, "file", values[0])
    done = asyncio.Event()

    def look() -> bytes:
        return (tree.host / "file").read_bytes()

    async def watch() -> None:
        while not done.is_set():
            assert await asyncio.to_thread(look) in values

    watching = asyncio.create_task(watch())
    await asyncio.gather(*(put(tree.root, "file", value) for _ in range(5) for value in values))
    done.set()
    await watching


async def test_a_failed_put_leaves_what_was_there(tree: UxTree, monkeypatch: pytest.MonkeyPatch) -> None:
    await put(tree.root, "file", b"old")

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    for name in ("file", "new"):
        with pytest.raises(serr.Error, match="No space"):
            await put(tree.root, name, b"new contents")
    assert await tree.names() == ["file"]
    assert (tree.host / "file").read_bytes() == b"old"


def test_a_failed_write_does_not_leave_a_longer_file(tree: UxTree, monkeypatch: pytest.MonkeyPatch) -> None:
    fd = os.open(tree.host / "file", os.O_RDWR | os.O_CREAT)
    os.write(fd, b"old")
    really = os.pwritev
    calls: list[int] = []

    def short(fd: int, buffers: list[memoryview], offset: int, flags: int) -> int:
        calls.append(offset)
        if len(calls) > 1:
            raise OSError(28, "No space left on device")
        return really(fd, [buffers[0][:2]], offset, flags)

    monkeypatch.setattr(os, "pwritev", short)
    with pytest.raises(serr.Error):
        hostfile.write(fd, NO_OFFSET, b"more", "file")
    assert os.pread(fd, 100, 0) == b"old"
    os.close(fd)


async def test_large_writes_of_one_file_do_not_mix(tree: UxTree) -> None:
    size = 1 << 20
    files = [await make_file(tree.root, "file")] + [await open_file(tree, "file", ORDWR) for _ in range(3)]
    writes = [file.write(0, bytes([97 + number]) * size) for number, file in enumerate(files)]
    reads = [files[0].read(0, size) for _ in range(4)]
    results = await asyncio.gather(*writes, *reads)
    assert all(len(set(read)) <= 1 for read in results[4:] if isinstance(read, bytes))
    assert len(set((tree.host / "file").read_bytes())) == 1
    for file in files:
        await file.close()


async def test_a_cancelled_transfer_frees_everything(tree: UxTree) -> None:
    """The fixture counts descriptors and prepared files."""
    file = await make_file(tree.root, "file")
    await file.write(0, bytes(1 << 20))
    tasks = [
        asyncio.create_task(file.read(0, 1 << 20)),
        asyncio.create_task(file.write(0, bytes(1 << 20))),
        asyncio.create_task(put(tree.root, "put", bytes(1 << 20))),
    ]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert any(isinstance(result, asyncio.CancelledError) for result in results)
    await file.close()


async def test_what_a_dead_process_prepared_is_cleared(tree: UxTree) -> None:
    hidden = tree.host / ".sigmaos-ux"
    (dead := hidden / "1234-dead").mkdir()
    (dead / "leftover").write_text("x")
    (alive,) = [entry for entry in hidden.iterdir() if entry != dead]
    again = open_tree(tree.host)
    assert not dead.exists()
    assert alive.exists(), "that process lives"
    await put(tree.root, "file", b"x")
    again.store.close()
    assert alive.exists()


async def test_the_root_is_made_and_may_be_reached_by_a_link(tree: UxTree) -> None:
    (tree.host.parent / "link").symlink_to(tree.host)
    again = open_tree(tree.host.parent / "link")
    await put(again.root, "file", b"x")
    again.store.close()
    assert await tree.names() == ["file"]
    with pytest.raises(serr.Exists):
        open_tree(tree.host / "file")
