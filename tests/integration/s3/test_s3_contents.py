"""Reading and writing objects (B-2)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from s3tree import ME, S3Tree, put, read_all, requests_of, until

from kernel.s3.store import Account
from sigmaos_ray import serr
from sigmaos_ray.protsrv.node import OpenHow
from sigmaos_ray.sigmap import DMDIR, NO_OFFSET, OAPPEND, OEXCL, OEXEC, ORDWR, OREAD, OTRUNC, OWRITE, Fence, Mode

if TYPE_CHECKING:
    from sigmaos_ray.protsrv.node import OpenFile

MIB = 1 << 20


def pattern(size: int) -> bytes:
    return (bytes(range(251)) * (size // 251 + 1))[:size]


async def writer_of(tree: S3Tree, name: str, mode: Mode = OWRITE) -> OpenFile:
    _, file = await tree.top.create(ME, name, OpenHow(mode, 0o777))
    assert file is not None
    return file


# -- reading


async def test_reads_at_any_offset(tree: S3Tree) -> None:
    data = pattern(3 * MIB + 17)
    tree.upload("file", data=data)
    file = await (await tree.top.lookup(ME, "file")).open(ME, OpenHow(OREAD))
    for offset, count in ((0, 10), (5, MIB), (MIB - 1, 2), (3 * MIB, 100), (7, 0), (3 * MIB + 17, 5), (1 << 60, 5)):
        assert await file.read(offset, count) == data[offset : offset + count]
    assert await file.read(0, 1 << 30) == data
    await file.close()


async def test_a_sequential_reader_does_not_pay_a_request_for_each_piece(tree: S3Tree) -> None:
    data = pattern(4 * MIB)
    tree.upload("file", data=data)
    file = await (await tree.top.lookup(ME, "file")).open(ME, OpenHow(OREAD))
    requests = requests_of(tree)
    pieces = [await file.read(offset, 4096) for offset in range(0, len(data), 4096)]
    assert b"".join(pieces) == data
    assert len(requests) <= 6
    await file.close()


async def test_large_reads_go_side_by_side(tree: S3Tree) -> None:
    data = pattern(4 * MIB)
    tree.upload("file", data=data)
    file = await (await tree.top.lookup(ME, "file")).open(ME, OpenHow(OREAD))
    parts = await asyncio.gather(*(file.read(offset, MIB) for offset in range(0, len(data), MIB)))
    assert b"".join(parts) == data
    await file.close()


async def test_a_reader_never_gets_a_mix(tree: S3Tree) -> None:
    tree.upload("file", data=b"a" * MIB)
    file = await (await tree.top.lookup(ME, "file")).open(ME, OpenHow(OREAD))
    assert await file.read(0, 600_000) == b"a" * 600_000
    tree.upload("file", data=b"b" * MIB)
    with pytest.raises(serr.Version):
        await file.read(600_000, 600_000)
    assert await file.read(0, 600_000) == b"b" * 600_000
    assert await file.read(600_000, 600_000) == b"b" * (MIB - 600_000)
    await (await tree.top.lookup(ME, "file")).remove(ME)
    with pytest.raises(serr.NotFound):
        await file.read(0, MIB)
    await file.close()


async def test_what_was_read_ahead_goes_when_the_object_is_another(tree: S3Tree) -> None:
    tree.upload("file", data=b"a" * MIB)
    file = await (await tree.top.lookup(ME, "file")).open(ME, OpenHow(OREAD))
    assert await file.read(0, 10) == b"a" * 10
    tree.upload("file", data=b"b" * MIB)
    assert await file.read(5, 5) == b"a" * 5
    assert await file.read(0, MIB) == b"b" * MIB
    assert await file.read(5, 5) == b"b" * 5
    await file.close()


async def test_to_execute_is_to_read(tree: S3Tree) -> None:
    tree.upload("file", data=b"data")
    file = await (await tree.top.lookup(ME, "file")).open(ME, OpenHow(OEXEC))
    assert await file.read(0, 10) == b"data"
    with pytest.raises(serr.NoWrite):
        await file.write(0, b"x")
    await file.close()


# -- writing


@pytest.mark.parametrize("size", [0, 1, 5 * MIB - 1, 5 * MIB, 5 * MIB + 1, 11 * MIB])
async def test_an_object_appears_at_the_close(tree: S3Tree, size: int) -> None:
    data = pattern(size)
    file = await writer_of(tree, "file")
    for offset in range(0, size, MIB):
        assert await file.write(offset, data[offset : offset + MIB]) == len(data[offset : offset + MIB])
        assert tree.keys() == []
    await file.close()
    assert tree.contents("file") == data
    assert tree.uploads_under_way() == 0


async def test_one_request_for_a_small_object_parts_for_a_large_one(tree: S3Tree) -> None:
    file = await writer_of(tree, "small")
    await file.write(0, b"x")
    requests = requests_of(tree)
    await file.close()
    assert requests.count("PutObject") == 1
    assert "CreateMultipartUpload" not in requests
    file = await writer_of(tree, "large")
    requests.clear()
    for offset in range(0, 6 * MIB, MIB):
        await file.write(offset, bytes(MIB))
    await until(lambda: requests == ["CreateMultipartUpload", "UploadPart"])  # begun when the first part was full
    await file.close()
    assert "PutObject" not in requests
    assert requests[-1] == "CompleteMultipartUpload"


async def test_writes_under_way_at_once_keep_their_order(tree: S3Tree) -> None:
    data = pattern(12 * MIB)
    file = await writer_of(tree, "file")
    await asyncio.gather(*(file.write(offset, data[offset : offset + MIB]) for offset in range(0, len(data), MIB)))
    await file.close()
    assert tree.contents("file") == data


async def test_writes_are_sequential_from_0(tree: S3Tree) -> None:
    file = await writer_of(tree, "file")
    with pytest.raises(serr.Inval):
        await file.write(1, b"x")
    await file.write(0, b"ab")
    for offset, error in ((0, serr.Inval), (1, serr.Inval), (3, serr.Inval), (NO_OFFSET, serr.NotSupported)):
        with pytest.raises(error):
            await file.write(offset, b"x")
    await file.write(2, b"c")
    await file.close()
    assert tree.contents("file") == b"abc"
    with pytest.raises(serr.Inval):
        await tree.top.put(ME, "file", b"x", OpenHow(OWRITE), 3)


@pytest.mark.parametrize("mode", [OWRITE | OAPPEND, ORDWR])
async def test_modes_that_s3_does_not_have(tree: S3Tree, mode: Mode) -> None:
    tree.upload("file")
    with pytest.raises(serr.NotSupported):
        await (await tree.top.lookup(ME, "file")).open(ME, OpenHow(mode))
    with pytest.raises(serr.NotSupported):
        await tree.top.create(ME, "new", OpenHow(mode, 0o777))
    with pytest.raises(serr.NotSupported):
        await tree.top.put(ME, "file", b"x", OpenHow(mode), NO_OFFSET if mode & OAPPEND else 0)
    assert tree.contents("file") == b"file"


async def test_an_aborted_writer_leaves_nothing(tree: S3Tree) -> None:
    for size in (10, 6 * MIB):
        file = await writer_of(tree, "file")
        await file.write(0, bytes(size))
        await file.abort()
        assert tree.keys() == []
        assert tree.uploads_under_way() == 0


async def test_an_error_while_writing_is_told_at_the_close(tree: S3Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    file = await writer_of(tree, "file")
    await file.write(0, bytes(5 * MIB))

    async def broken(*_: object) -> str:
        raise serr.IOErr("file", "connection lost")

    monkeypatch.setattr(Account, "put_part", broken)

    async def write_on() -> None:
        for offset in range(5 * MIB, 50 * MIB, 5 * MIB):
            await file.write(offset, bytes(5 * MIB))

    with pytest.raises(serr.IOErr):  # not at once: parts go up behind the writer's back
        await write_on()
    with pytest.raises(serr.IOErr):
        await file.close()
    assert tree.keys() == []
    assert tree.uploads_under_way() == 0


async def test_a_failed_close_leaves_nothing(tree: S3Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    file = await writer_of(tree, "file")
    await file.write(0, bytes(6 * MIB))

    async def refused(*_: object, **__: object) -> str:
        raise serr.Perm("file")

    monkeypatch.setattr(Account, "finish_parts", refused)
    with pytest.raises(serr.Perm):
        await file.close()
    assert tree.keys() == []
    assert tree.uploads_under_way() == 0


async def test_an_open_for_writing_replaces_what_is_there(tree: S3Tree) -> None:
    tree.upload("file", data=b"long old contents")
    node = await tree.top.lookup(ME, "file")
    untouched = await node.open(ME, OpenHow(OWRITE))
    await untouched.close()
    assert tree.contents("file") == b"long old contents"
    file = await node.open(ME, OpenHow(OWRITE))
    await file.write(0, b"new")
    assert tree.contents("file") == b"long old contents"
    await file.close()
    assert tree.contents("file") == b"new"
    emptied = await node.open(ME, OpenHow(OWRITE | OTRUNC))
    await emptied.close()
    assert tree.contents("file") == b""


# -- puts


@pytest.mark.parametrize("mode", [OWRITE, OWRITE | OTRUNC])
async def test_put_always_replaces_the_whole(tree: S3Tree, mode: Mode) -> None:
    assert await put(tree.top, "file", b"12345", mode) == 5
    await put(tree.top, "file", b"abc", mode)
    node = await tree.top.lookup(ME, "file")
    assert await read_all(node) == b"abc"
    assert (await node.stat(ME)).length == 3


async def test_exclusive_puts_and_creates(tree: S3Tree) -> None:
    async def claim(number: int) -> bool:
        try:
            await put(tree.top, "lock", str(number).encode(), OWRITE | OEXCL)
        except serr.Exists:
            return False
        return True

    won = await asyncio.gather(*(claim(number) for number in range(6)))
    assert won.count(True) == 1
    assert tree.contents("lock") == str(won.index(True)).encode()
    with pytest.raises(serr.Exists):
        await tree.top.create(ME, "lock", OpenHow(OWRITE, 0o777))


@pytest.mark.parametrize("size", [1, 6 * MIB])
async def test_an_exclusive_writer_loses_to_what_appeared_meanwhile(tree: S3Tree, size: int) -> None:
    file = await writer_of(tree, "file", OWRITE | OEXCL)
    await file.write(0, bytes(size))
    tree.upload("file", data=b"first")
    with pytest.raises(serr.Exists):
        await file.close()
    assert tree.contents("file") == b"first"
    assert tree.uploads_under_way() == 0


async def test_s3_itself_refuses_an_exclusive_put(tree: S3Tree) -> None:
    """Between our look and our write another proxy may have been there."""
    tree.upload("file", data=b"first")
    with pytest.raises(serr.Exists):
        await tree.fs.shared.store.own().put(tree.bucket, "file", [b"second"], exclusive=True)
    assert tree.contents("file") == b"first"


async def test_a_store_that_minds_no_conditions(tree: S3Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    tree.upload("file", data=b"first")

    async def put_anyway(self: Account, bucket: str, key: str, chunks: list[bytes], *, exclusive: bool) -> str:
        tree.upload(key, data=b"".join(chunks))
        return str(exclusive)

    monkeypatch.setattr(Account, "put", put_anyway)
    with pytest.raises(serr.Exists):
        await put(tree.top, "file", b"second", OWRITE | OEXCL)
    assert tree.contents("file") == b"first"


async def test_a_directory_is_not_written(tree: S3Tree) -> None:
    tree.upload("dir/file")
    with pytest.raises(serr.IsDir):
        await put(tree.top, "dir", b"x")
    with pytest.raises(serr.Exists):
        await put(tree.top, "dir", b"x", OWRITE | OEXCL)
    with pytest.raises(serr.Exists):
        await tree.top.create(ME, "dir", OpenHow(OWRITE, 0o777))
    with pytest.raises(serr.IsDir):
        await (await tree.top.lookup(ME, "dir")).open(ME, OpenHow(OREAD))
    assert tree.keys() == ["dir/file"]


# -- fences


async def test_an_older_fence_is_stale(tree: S3Tree) -> None:
    old, new = Fence("name/elect", 1), Fence("name/elect", 2)
    file = await writer_of(tree, "slow")
    await file.write(0, b"x", old)
    await tree.top.put(ME, "file", b"new", OpenHow(OWRITE, 0o777, fence=new))
    directory, _ = await tree.top.create(ME, "dir", OpenHow(OREAD, DMDIR | 0o777))
    node = await tree.top.lookup(ME, "file")
    for call in (
        tree.top.put(ME, "file", b"old", OpenHow(OWRITE, 0o777, fence=old)),
        tree.top.create(ME, "made", OpenHow(OWRITE, 0o777, fence=old)),
        tree.top.create(ME, "made", OpenHow(OREAD, DMDIR | 0o777, fence=old)),
        node.remove(ME, old),
        directory.remove(ME, old),
        file.write(1, b"y", old),
        file.close(),  # carries the fence of its last write
    ):
        with pytest.raises(serr.Stale):
            await call
    assert tree.keys() == ["dir/_._", "file"]
    assert await read_all(node) == b"new"
