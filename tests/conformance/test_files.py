"""Files, directories and renames, as every server must do them (sections F and P). Rules are named at the tests."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from sigmaos_ray import serr
from sigmaos_ray.sigmap import DMDIR, OAPPEND, OEXCL, ORDWR, OREAD, OTRUNC, OWRITE

if TYPE_CHECKING:
    from conftest import Tree

MIB = 1 << 20


async def names(tree: Tree, pn: str | None = None) -> list[str]:
    return [stat.name for stat in await tree.sc.get_dir(pn or tree.root)]


# -- creating and opening


async def test_create_never_opens_what_exists(tree: Tree) -> None:
    fd = await tree.sc.create(tree / "f")
    await tree.sc.close_fd(fd)
    with pytest.raises(serr.Exists) as caught:
        await tree.sc.create(tree / "f")
    assert caught.value.obj == tree / "f"


async def test_create_in_a_missing_directory_or_a_file(tree: Tree) -> None:
    with pytest.raises(serr.NotFound):
        await tree.sc.create(tree / "no/f")
    await tree.sc.put_file(tree / "f", b"")
    with pytest.raises(serr.NotDir):
        await tree.sc.create(tree / "f/g")


async def test_fds_respect_their_mode(tree: Tree) -> None:
    await tree.sc.put_file(tree / "f", b"data")
    reader = await tree.sc.open(tree / "f", OREAD)
    with pytest.raises(serr.Perm):
        await tree.sc.write(reader, b"x")
    writer = await tree.sc.open(tree / "f", OWRITE)
    with pytest.raises(serr.Perm):
        await tree.sc.read(writer, 1)
    assert await tree.sc.get_file(tree / "f") == b"data"


async def test_descriptors_are_reused_and_unknown_ones_not_found(tree: Tree) -> None:
    first, second = await tree.sc.create(tree / "a"), await tree.sc.create(tree / "b")
    await tree.sc.close_fd(first)
    assert await tree.sc.create(tree / "c") == first
    await tree.sc.close_fd(second)
    for call in (tree.sc.close_fd(second), tree.sc.read(second, 1), tree.sc.write(second, b"x"), tree.sc.seek(99, 0)):
        with pytest.raises(serr.NotFound):
            await call


async def test_read_write_seek_pread(tree: Tree) -> None:
    """F: reads and writes move the offset, pread does not; past the end there is nothing (F-3)."""
    fd = await tree.sc.create(tree / "f", mode=ORDWR)
    assert await tree.sc.write(fd, b"hello ") == 6
    assert await tree.sc.write(fd, memoryview(b"world")) == 5
    assert await tree.sc.read(fd, 10) == b""
    await tree.sc.seek(fd, 6)
    assert await tree.sc.pread(fd, 5, 0) == b"hello"
    assert await tree.sc.read(fd, 3) == b"wor"
    assert await tree.sc.read(fd, 100) == b"ld"
    await tree.sc.close_fd(fd)


async def test_a_write_past_the_end_fills_with_zeros(tree: Tree) -> None:
    """P-10 (R)."""
    await tree.sc.set_file(tree / "f", b"x", offset=3)
    assert await tree.sc.get_file(tree / "f") == b"\0\0\0x"


async def test_open_with_truncation(tree: Tree) -> None:
    await tree.sc.put_file(tree / "f", b"data")
    fd = await tree.sc.open(tree / "f", OWRITE | OTRUNC)
    await tree.sc.close_fd(fd)
    assert await tree.sc.get_file(tree / "f") == b""


async def test_append_mode_goes_to_the_end(tree: Tree) -> None:
    await tree.sc.put_file(tree / "f", b"1")
    fd = await tree.sc.open(tree / "f", OWRITE | OAPPEND)
    await tree.sc.put_file(tree / "f", b"2", mode=OWRITE | OAPPEND)
    await tree.sc.write(fd, b"3")
    await tree.sc.close_fd(fd)
    assert await tree.sc.get_file(tree / "f") == b"123"


async def test_a_file_removed_while_open_stays_readable(tree: Tree) -> None:
    """P-11."""
    await tree.sc.put_file(tree / "f", b"data")
    fd = await tree.sc.open(tree / "f")
    await tree.sc.remove(tree / "f")
    assert await tree.sc.read(fd, 10) == b"data"
    await tree.sc.close_fd(fd)


# -- whole files


async def test_put_file_replaces_and_set_file_writes_in_place(tree: Tree) -> None:
    """Design 12.1."""
    assert await tree.sc.put_file(tree / "f", b"12345") == 5
    await tree.sc.put_file(tree / "f", b"abc")
    assert await tree.sc.get_file(tree / "f") == b"abc"
    await tree.sc.set_file(tree / "f", b"X", offset=1)
    assert await tree.sc.get_file(tree / "f") == b"aXc"


async def test_put_file_exclusive_and_appending(tree: Tree) -> None:
    await tree.sc.put_file(tree / "f", b"1", mode=OWRITE | OEXCL)
    with pytest.raises(serr.Exists):
        await tree.sc.put_file(tree / "f", b"2", mode=OWRITE | OEXCL)
    await tree.sc.put_file(tree / "f", b"3", mode=OWRITE | OAPPEND)
    assert await tree.sc.get_file(tree / "f") == b"13"


async def test_an_exclusive_put_has_one_winner(tree: Tree) -> None:
    async def claim(number: int) -> bool:
        try:
            await tree.sc.put_file(tree / "lock", str(number).encode(), mode=OWRITE | OEXCL)
        except serr.Exists:
            return False
        return True

    won = await asyncio.gather(*(claim(number) for number in range(20)))
    assert won.count(True) == 1
    assert await tree.sc.get_file(tree / "lock") == str(won.index(True)).encode()


async def test_puts_of_one_message_are_seen_whole(tree: Tree) -> None:
    """Design 13: readers see the old or the new contents, never a mix, never an empty file."""
    values = {letter.encode() * 100_000 for letter in "abcd"}
    await tree.sc.put_file(tree / "f", b"a" * 100_000)

    async def write(value: bytes) -> None:
        for _ in range(15):
            await tree.sc.put_file(tree / "f", value)

    writers = asyncio.gather(*(write(value) for value in values))
    while not writers.done():
        assert await tree.sc.get_file(tree / "f") in values
    await writers


async def test_put_file_on_a_directory(tree: Tree) -> None:
    await tree.sc.mkdir(tree / "d")
    with pytest.raises(serr.IsDir):
        await tree.sc.put_file(tree / "d", b"x")
    with pytest.raises(serr.IsDir):
        await tree.sc.get_file(tree / "d")


async def test_missing_files_say_their_pathname(tree: Tree) -> None:
    for call in (
        tree.sc.get_file(tree / "no"),
        tree.sc.open(tree / "no"),
        tree.sc.stat(tree / "no"),
        tree.sc.remove(tree / "no"),
        tree.sc.get_dir(tree / "no"),
    ):
        with pytest.raises(FileNotFoundError) as caught:
            await call
        assert isinstance(caught.value, serr.NotFound)
        assert caught.value.obj == tree / "no"


async def test_a_pathname_through_a_file_is_not_a_directory(tree: Tree) -> None:
    await tree.sc.put_file(tree / "f", b"")
    start = time.monotonic()
    for call in (tree.sc.get_file(tree / "f/x"), tree.sc.open(tree / "f/x"), tree.sc.put_file(tree / "f/x", b"")):
        with pytest.raises(serr.NotDir):
            await call
    assert time.monotonic() - start < 3, "a plain mistake is not retried"


async def test_odd_names(tree: Tree) -> None:
    """Design 13: any text without '/' and NUL up to 255 bytes."""
    odd = ["a b", "é" * 127, "日本語", "~", "x" * 255, "*", "-", "\n", ".hidden", "a\\b"]
    for name in odd:
        await tree.sc.put_file(tree / name, name.encode())
    assert sorted(await names(tree)) == sorted(odd)
    for name in odd:
        assert await tree.sc.get_file(tree / name) == name.encode()
    for bad in ("x" * 256, "é" * 128):
        with pytest.raises(serr.Inval):
            await tree.sc.put_file(tree / bad, b"")
    with pytest.raises(serr.Inval):
        await tree.sc.put_file(tree / "a\0b", b"")


# -- stat, qid


async def test_stat(tree: Tree) -> None:
    before = time.time() - 2
    await tree.sc.put_file(tree / "f", b"12345", perm=0o640)
    stat = await tree.sc.stat(tree / "f")
    assert (stat.name, stat.length, stat.is_dir, stat.is_symlink, stat.is_endpoint) == ("f", 5, False, False, False)
    assert before < stat.mtime < time.time() + 2
    assert (await tree.sc.stat(tree.root)).is_dir
    assert await tree.sc.is_dir(tree.root)
    assert not await tree.sc.is_dir(tree / "f")


async def test_qids_tell_objects_apart_and_versions_move(tree: Tree) -> None:
    """P-7, design 13: a file's version moves with each write, a directory's with its entries."""
    await tree.sc.put_file(tree / "f", b"1")
    await tree.sc.put_file(tree / "g", b"1")
    f, g = await tree.sc.stat(tree / "f"), await tree.sc.stat(tree / "g")
    assert f.qid.path != g.qid.path
    await tree.sc.set_file(tree / "f", b"2")
    after = await tree.sc.stat(tree / "f")
    assert after.qid.path == f.qid.path
    assert after.qid.version > f.qid.version
    for change in (
        tree.sc.put_file(tree / "h", b""),
        tree.sc.rename(tree / "h", tree / "i"),
        tree.sc.remove(tree / "i"),
    ):
        version = (await tree.sc.stat(tree.root)).qid.version
        await change
        assert (await tree.sc.stat(tree.root)).qid.version > version


# -- directories


async def test_mkdir_rmdir(tree: Tree) -> None:
    await tree.sc.mkdir(tree / "d")
    with pytest.raises(serr.Exists):
        await tree.sc.mkdir(tree / "d")
    with pytest.raises(serr.NotFound):
        await tree.sc.mkdir(tree / "x/y")
    await tree.sc.put_file(tree / "d/f", b"")
    with pytest.raises(serr.NotEmpty):
        await tree.sc.remove(tree / "d")
    await tree.sc.mkdir(tree / "d/e")
    await tree.sc.put_file(tree / "d/e/g", b"")
    await tree.sc.rmdir(tree / "d")
    assert await names(tree) == []


async def test_listings_are_sorted_and_complete_over_pages(tree: Tree) -> None:
    """P-12: 1000 entries come back complete and sorted."""
    wanted = [f"{number:04}" for number in range(1000)]
    await asyncio.gather(*(tree.sc.put_file(tree / name, b"") for name in wanted))
    assert await names(tree) == wanted
    fd = await tree.sc.open(tree.root)
    pages = 0
    while await tree.sc.read(fd, 2000):
        pages += 1
    assert pages > 5
    await tree.sc.close_fd(fd)


async def test_entries_that_stay_are_listed_once_while_others_come_and_go(tree: Tree) -> None:
    """P-12."""
    stay = [f"s{number:03}" for number in range(0, 300, 2)]
    await asyncio.gather(*(tree.sc.put_file(tree / name, b"") for name in stay))
    fid = await tree.sc.open_fid(tree.root, OREAD)
    seen: list[str] = []
    number = 1
    from sigmaos_ray.sessp import wire

    while data := await fid.read(0, 1000):
        seen += [stat.name for stat in wire.unpack_dir(data)]
        await tree.sc.put_file(tree / f"s{number:03}", b"")
        number += 2
    await fid.clunk()
    assert [name for name in seen if name in stay] == stay


async def test_dot(tree: Tree) -> None:
    """N-14: '.' can be looked at, is never listed, and is neither made nor removed."""
    assert (await tree.sc.stat(tree / ".")).is_dir
    assert await tree.sc.is_dir(tree / ".")
    assert "." not in await names(tree)
    for call in (tree.sc.remove(tree / "."), tree.sc.create(tree / "."), tree.sc.mkdir(tree / ".")):
        with pytest.raises(serr.SigmaError):
            await call
    assert await tree.sc.is_dir(tree.root)


async def test_climbing_stays_within_the_root(tree: Tree) -> None:
    await tree.sc.put_file(tree / "f", b"x")
    assert await tree.sc.get_file("name/../../" + (tree / "d/../f").removeprefix("/")[len("name/") :]) == b"x"
    fid = await tree.sc.open_fid(tree.root, OREAD)
    with pytest.raises(serr.Inval):
        await fid.walk([".."])
    await fid.clunk()


# -- remove and rename


async def test_rename_in_a_directory(tree: Tree) -> None:
    await tree.sc.put_file(tree / "f", b"x")
    await tree.sc.rename(tree / "f", tree / "g")
    assert await names(tree) == ["g"]
    assert await tree.sc.get_file(tree / "g") == b"x"
    with pytest.raises(serr.NotFound):
        await tree.sc.rename(tree / "f", tree / "h")


async def test_rename_across_directories(tree: Tree) -> None:
    await tree.sc.mkdir(tree / "a")
    await tree.sc.mkdir(tree / "b")
    await tree.sc.put_file(tree / "a/f", b"x")
    await tree.sc.rename(tree / "a/f", tree / "b/g")
    assert await names(tree, tree / "a") == []
    assert await tree.sc.get_file(tree / "b/g") == b"x"
    await tree.sc.put_file(tree / "a/inside", b"y")
    await tree.sc.rename(tree / "a", tree / "b/a")
    assert await tree.sc.get_file(tree / "b/a/inside") == b"y"


async def test_rename_replaces_files_and_empty_directories_only(tree: Tree) -> None:
    """P-11, design 13."""
    await tree.sc.put_file(tree / "f", b"new")
    await tree.sc.put_file(tree / "g", b"old")
    await tree.sc.rename(tree / "f", tree / "g")
    assert await tree.sc.get_file(tree / "g") == b"new"
    for directory in ("d", "empty", "full"):
        await tree.sc.mkdir(tree / directory)
    await tree.sc.put_file(tree / "full/x", b"")
    await tree.sc.rename(tree / "d", tree / "empty")
    with pytest.raises(serr.NotEmpty):
        await tree.sc.rename(tree / "empty", tree / "full")
    assert await names(tree) == ["empty", "full", "g"]


async def test_a_directory_cannot_move_into_itself(tree: Tree) -> None:
    await tree.sc.mkdir(tree / "d")
    await tree.sc.mkdir(tree / "d/e")
    with pytest.raises(serr.Inval):
        await tree.sc.rename(tree / "d", tree / "d/e/d")
    assert await tree.sc.is_dir(tree / "d/e")


async def test_a_rename_claims_once(tree: Tree) -> None:
    """P-11: of many that rename one name, one succeeds and the rest get NotFound."""
    await tree.sc.put_file(tree / "task", b"")
    await tree.sc.mkdir(tree / "mine")

    async def claim(number: int) -> bool:
        try:
            await tree.sc.rename(tree / "task", tree / f"mine/{number}")
        except serr.NotFound:
            return False
        return True

    won = await asyncio.gather(*(claim(number) for number in range(20)))
    assert won.count(True) == 1
    assert await names(tree, tree / "mine") == [str(won.index(True))]


async def test_concurrent_creates_and_removes_in_one_directory(tree: Tree) -> None:
    """F TestDirConcur."""

    async def work(number: int) -> None:
        for turn in range(5):
            await tree.sc.put_file(tree / f"{number}-{turn}", b"")
            await tree.sc.remove(tree / f"{number}-{turn}")
        await tree.sc.put_file(tree / f"{number}", b"")

    await asyncio.gather(*(work(number) for number in range(20)))
    assert await names(tree) == sorted(str(number) for number in range(20))


async def test_create_kinds_that_a_server_does_not_have(tree: Tree) -> None:
    fid = await tree.sc.open_fid(tree.root, OREAD)
    clone, _ = await fid.walk([])
    with pytest.raises((serr.Inval, serr.NotSupported)):
        await clone.create("socket", 0x00100000 | 0o777, OREAD)
    await clone.clunk()
    await fid.clunk()
    assert (await tree.sc.stat(tree.root)).mode & DMDIR
