"""Directories: making, listing, removing."""

from __future__ import annotations

import asyncio

import pytest

from sigmaos_ray import serr
from sigmaos_ray.fslib import present
from sigmaos_ray.sessp import wire
from sigmaos_ray.sigmap import OREAD, Stat
from sigmaos_ray.testing.conformance.base import Suite, Tree, all_raise
from sigmaos_ray.testing.conformance.refusals import needs

FILES_IN_FLIGHT = 64


async def make_files(tree: Tree, names: list[str]) -> None:
    """Many empty files, some at a time."""
    for start in range(0, len(names), FILES_IN_FLIGHT):
        await asyncio.gather(*(tree.sc.put_file(tree / name, b"") for name in names[start : start + FILES_IN_FLIGHT]))


class DirTests(Suite):
    """Calls on directories, and ``.`` (N-14)."""

    async def test_mkdir(self, tree: Tree) -> None:
        """Exists if present, be it a file; the parent is not made, except where it comes with what is below it."""
        await tree.sc.mkdir(tree / "d")
        await tree.sc.put_file(tree / "f", b"")
        assert await tree.sc.is_dir(tree / "d")
        assert not await tree.sc.is_dir(tree / "f")
        assert await tree.names("d") == []
        for name in ("d", "f"):
            with pytest.raises(serr.Exists):
                await tree.sc.mkdir(tree / name)
        with pytest.raises(serr.NotFound):
            await tree.sc.is_dir(tree / "x")
        if tree.can.parents_come:
            await tree.sc.mkdir(tree / "x/y")
            assert (await tree.names(), await tree.names("x")) == (["d", "f", "x"], ["y"])
            return
        with pytest.raises(serr.NotFound):
            await tree.sc.mkdir(tree / "x/y")
        assert await tree.names() == ["d", "f"]

    async def test_a_file_is_in_the_way(self, tree: Tree) -> None:
        """N-10: NotDir, whatever is to be made below it."""
        await tree.sc.put_file(tree / "f", b"here")
        await all_raise(
            serr.NotDir,
            tree.sc.mkdir(tree / "f/d"),
            tree.sc.mkdir(tree / "f/d/e"),
            tree.sc.create(tree / "f/g"),
            tree.sc.put_file(tree / "f/g", b""),
            tree.sc.makedirs(tree / "f/d"),
        )
        assert (await tree.names(), await tree.sc.get_file(tree / "f")) == (["f"], b"here")

    async def test_mkdir_path(self, tree: Tree) -> None:
        """Existing ones are fine, except the last."""
        await tree.sc.mkdir_path(tree.root, "a/b/c")
        await tree.sc.mkdir_path(tree.root, "a/b/d")
        assert await tree.names("a/b") == ["c", "d"]
        with pytest.raises(serr.Exists):
            await tree.sc.mkdir_path(tree.root, "a/b")

    async def test_makedirs(self, tree: Tree) -> None:
        """What is there is fine, what is missing is made; Exists or NotDir if something else stands in the way."""
        for _ in range(2):
            await tree.sc.makedirs(tree / "a/b/c")
        await tree.sc.makedirs(tree / "a/b/d/e")
        await tree.sc.makedirs(tree / "a")
        assert await tree.names("a/b") == ["c", "d"]
        assert await tree.names("a/b/d") == ["e"]
        await tree.sc.put_file(tree / "a/f", b"here")
        with pytest.raises(serr.Exists) as caught:
            await tree.sc.makedirs(tree / "a/f")
        assert caught.value.obj == tree / "a/f"
        await all_raise(serr.NotDir, tree.sc.makedirs(tree / "a/f/g"), tree.sc.makedirs(tree / "a/f/g/h"))
        assert await tree.sc.get_file(tree / "a/f") == b"here"

    async def test_many_make_the_same_directories(self, tree: Tree) -> None:
        """None of them fails."""
        await asyncio.gather(*(tree.sc.makedirs(tree / f"x/y/z/{number % 2}") for number in range(16)))
        assert await tree.names("x/y/z") == ["0", "1"]

    async def test_remove(self, tree: Tree) -> None:
        """P-11: an empty directory goes, a full one stays as it is."""
        await tree.sc.mkdir_path(tree.root, "d/e")
        await tree.sc.put_file(tree / "d/f", b"")
        with pytest.raises(serr.NotEmpty) as caught:
            await tree.sc.remove(tree / "d")
        assert caught.value.obj == tree / "d"
        assert await tree.names("d") == ["e", "f"]
        await tree.sc.remove(tree / "d/e")
        await tree.sc.remove(tree / "d/f")
        await tree.sc.remove(tree / "d")
        assert await tree.names() == []

    async def test_rmdir_is_recursive(self, tree: Tree) -> None:
        """With all that is below; what is beside it stays."""
        await tree.sc.mkdir_path(tree.root, "d/e/deep")
        for name in ("d/f", "d/e/g", "d/e/deep/h"):
            await tree.sc.put_file(tree / name, b"x")
        await tree.sc.put_file(tree / "d-beside", b"")
        await tree.sc.rmdir(tree / "d")
        assert await tree.names() == ["d-beside"]
        await tree.sc.mkdir(tree / "d")
        await tree.sc.put_file(tree / "d/f", b"")
        await tree.sc.rmdir_entries(tree / "d")
        assert await tree.names("d") == []
        await all_raise(serr.NotFound, tree.sc.rmdir(tree / "x"), tree.sc.rmdir_entries(tree / "x"))

    async def test_what_rmdir_cannot_remove_it_leaves(self, tree: Tree) -> None:
        """N-14: Inval for ``.``, for a root, and for a server behind a link, before anything below is removed."""
        await tree.sc.mkdir(tree / "d")
        await tree.sc.put_file(tree / "d/f", b"x")
        server = await tree.sc.server_of(tree / "x")
        await all_raise(
            serr.Inval,
            tree.sc.rmdir(tree / "d/."),
            tree.sc.rmdir(tree / "d/./"),
            tree.sc.rmdir(tree.root.partition("/")[0]),
            tree.sc.rmdir(tree.root.partition("/")[0] + "/"),
            tree.sc.rmdir(f"{server}/"),
            tree.sc.rmdir(f"{server}/."),
        )
        assert await tree.sc.get_file(tree / "d/f") == b"x"

    async def test_a_new_directory_of_an_old_name_is_empty(self, tree: Tree) -> None:
        """P-11: nothing is left of the one before."""
        for _ in range(2):
            await tree.sc.mkdir(tree / "d")
            assert await tree.names("d") == []
            await tree.sc.put_file(tree / "d/f", b"")
            await tree.sc.rmdir(tree / "d")

    async def test_listings_are_sorted(self, tree: Tree) -> None:
        """P-12: by name, whatever sort of entry; with what stat tells of each."""
        for name in ("b", "a-file", "Z", "10", "9", "é", "a"):
            await tree.sc.put_file(tree / name, name.encode())
        await tree.sc.mkdir(tree / "aa")
        await tree.sc.mkdir(tree / "a.d")
        entries = await tree.sc.get_dir(tree.root)
        names = [stat.name for stat in entries]
        assert names == sorted([*("b", "a-file", "Z", "10", "9", "é", "a"), "aa", "a.d"])
        assert [stat.name for stat in entries if stat.is_dir] == ["a.d", "aa"]
        assert {stat.name: stat.length for stat in entries if not stat.is_dir}["a-file"] == 6
        assert present(entries, ["a", "Z"])
        assert not present(entries, ["a", "no"])

    async def test_a_large_directory_is_listed_whole(self, tree: Tree) -> None:
        """P-12: complete and sorted, in any number of pages."""
        file_names = [f"{number:07}" for number in range(tree.can.entries_count)]
        await make_files(tree, file_names)
        assert await tree.names() == file_names
        fd = await tree.sc.open(tree.root)
        listed: list[str] = []
        page_count = 0
        while data := await tree.sc.read(fd, 500 + 2 * len(file_names)):
            listed += [stat.name for stat in wire.unpack_dir(data)]
            page_count += 1
        assert listed == file_names
        assert page_count > 3
        await tree.sc.close_fd(fd)

    async def test_entries_that_stay_are_listed_once_while_others_come_and_go(self, tree: Tree) -> None:
        """P-12."""
        count = min(tree.can.entries_count, 200)
        stay = [f"s{number:04}" for number in range(0, 2 * count, 2)]
        go = [f"s{number:04}" for number in range(1, 2 * count, 20)]
        await make_files(tree, stay + go)
        fid = await tree.sc.core.open_fid(tree.root, OREAD)
        listed: list[str] = []
        number = 3
        while data := await fid.read(0, 1500):
            listed += [stat.name for stat in wire.unpack_dir(data)]
            await tree.sc.put_file(tree / f"s{number:04}", b"")
            if go:
                await tree.sc.remove(tree / go.pop())
            number += 20
        await fid.clunk()
        assert [name for name in listed if int(name[1:]) % 2 == 0] == stay
        assert len(set(listed)) == len(listed)

    async def test_the_offset_of_a_directory_read_means_nothing(self, tree: Tree) -> None:
        """P-12: a descriptor has a cursor; who opens anew begins anew."""
        await make_files(tree, ["a", "b"])
        for _ in range(2):
            fid = await tree.sc.core.open_fid(tree.root, OREAD)
            assert [stat.name for stat in wire.unpack_dir(await fid.read(999, 10_000))] == ["a", "b"]
            assert await fid.read(0, 10_000) == b""
            await fid.clunk()

    async def test_a_read_that_holds_no_entry(self, tree: Tree) -> None:
        """P-12: count must hold one entry."""
        await tree.sc.put_file(tree / "f", b"")
        fid = await tree.sc.core.open_fid(tree.root, OREAD)
        with pytest.raises(serr.Inval):
            await fid.read(0, 3)
        assert [stat.name for stat in wire.unpack_dir(await fid.read(0, 10_000))] == ["f"]
        await fid.clunk()

    async def test_dot(self, tree: Tree) -> None:
        """N-14: '.' can be looked at, is never listed, and is neither made nor removed nor renamed."""
        await tree.sc.put_file(tree / "f", b"x")
        await tree.sc.mkdir(tree / "d")
        assert (await tree.sc.stat(tree / ".")).qid.path == (await tree.sc.stat(tree.root)).qid.path
        assert await tree.sc.is_dir(tree / ".")
        assert await tree.sc.get_file(tree / "./f") == b"x"
        assert await tree.names() == ["d", "f"]
        await all_raise(
            serr.SigmaError,
            tree.sc.remove(tree / "."),
            tree.sc.remove(tree / "d/."),
            tree.sc.create(tree / "."),
            tree.sc.mkdir(tree / "."),
            tree.sc.put_file(tree / ".", b""),
            tree.sc.rename(tree / ".", tree / "x"),
            tree.sc.rename(tree / "f", tree / "."),
        )
        assert await tree.names() == ["d", "f"]

    async def test_process_dir(self, tree: Tree) -> None:
        """F-4: in order of name, until it is told to stop or an error ends it."""
        await make_files(tree, ["b", "a", "c"])
        scanned: list[str] = []

        def note(stat: Stat) -> bool:
            scanned.append(stat.name)
            return False

        assert not await tree.sc.process_dir(tree.root, note)
        assert scanned == ["a", "b", "c"]
        assert await tree.sc.process_dir(tree.root, lambda stat: stat.name == "b")
        with pytest.raises(ZeroDivisionError):
            await tree.sc.process_dir(tree.root, lambda _: bool(1 // 0))

    async def test_scan_dir(self, tree: Tree) -> None:
        """The same entries, one by one."""
        await make_files(tree, ["a", "b", "c"])
        assert [stat.name async for stat in tree.sc.scan_dir(tree.root)] == ["a", "b", "c"]

    async def test_copy_dir(self, tree: Tree) -> None:
        """Files of one level."""
        await tree.sc.mkdir_path(tree.root, "a/below")
        await tree.sc.mkdir(tree / "b")
        await tree.sc.put_file(tree / "a/f", b"1")
        await tree.sc.put_file(tree / "a/g", b"2")
        assert await tree.sc.copy_dir(tree / "a", tree / "b") == 2
        assert await tree.names("b") == ["f", "g"]
        assert await tree.sc.get_file(tree / "b/g") == b"2"

    async def test_sprint_dir(self, tree: Tree) -> None:
        """What is below, indented."""
        await tree.sc.mkdir(tree / "d")
        await tree.sc.put_file(tree / "d/f", b"123")
        assert await tree.sc.sprint_dir(tree.root) == f"{tree.root}\n  d/\n    f 3\n"

    @needs("keeps_removed")
    async def test_a_removed_directory_takes_no_entries(self, tree: Tree) -> None:
        """P-11, P-15: also not from those who had walked there before."""
        await tree.sc.mkdir(tree / "d")
        fid = await tree.sc.core.open_fid(tree.root, OREAD)
        inside, _ = await fid.walk(["d"])
        await tree.sc.remove(tree / "d")
        with pytest.raises(serr.NotFound):
            await inside.create("f", 0o777, OREAD)
        for each in (inside, fid):
            await each.clunk()
        assert await tree.names() == []
