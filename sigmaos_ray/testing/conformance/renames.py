"""Renames: what may take whose place (N-12, P-11)."""

from __future__ import annotations

import asyncio

import pytest

from sigmaos_ray import serr
from sigmaos_ray.sigmap import OREAD
from sigmaos_ray.testing.conformance.base import Suite, Tree, all_raise, outcomes
from sigmaos_ray.testing.conformance.refusals import needs


class RenameTests(Suite):
    """One moment, one winner, nothing lost."""

    @needs("rename")
    async def test_in_a_directory(self, tree: Tree) -> None:
        """N-12: a new name, the same object."""
        await tree.sc.put_file(tree / "f", b"x")
        before = await tree.sc.stat(tree / "f")
        await tree.sc.rename(tree / "f", tree / "g")
        after = await tree.sc.stat(tree / "g")
        assert await tree.names() == ["g"]
        assert await tree.sc.get_file(tree / "g") == b"x"
        assert (after.name, after.qid.path, after.length) == ("g", before.qid.path, 1)

    @needs("rename")
    async def test_across_directories(self, tree: Tree) -> None:
        """N-12: files, and directories with all below them."""
        await tree.sc.mkdir(tree / "a")
        await tree.sc.mkdir(tree / "b")
        await tree.sc.put_file(tree / "a/f", b"x")
        await tree.sc.rename(tree / "a/f", tree / "b/g")
        assert await tree.names("a") == []
        assert await tree.sc.get_file(tree / "b/g") == b"x"
        await tree.sc.put_file(tree / "a/inside", b"y")
        await tree.sc.rename(tree / "a", tree / "b/a")
        assert await tree.sc.get_file(tree / "b/a/inside") == b"y"
        await tree.sc.rename(tree / "b/a/inside", tree / "up")
        assert await tree.names() == ["b", "up"]

    @needs("rename")
    async def test_missing_ends(self, tree: Tree) -> None:
        """P-11: source missing, or the directory that it is to go to."""
        await tree.sc.put_file(tree / "f", b"x")
        await tree.sc.mkdir(tree / "d")
        for old, new in (("no", "g"), ("no", "d/g"), ("f", "no/g"), ("no/f", "d/g")):
            with pytest.raises(serr.NotFound):
                await tree.sc.rename(tree / old, tree / new)
        with pytest.raises(serr.NotDir):
            await tree.sc.rename(tree / "d", tree / "f/d")
        assert await tree.names() == ["d", "f"]

    @needs("rename")
    @pytest.mark.parametrize("across", [False, True], ids=["in-place", "across"])
    async def test_what_takes_whose_place(self, tree: Tree, across: bool) -> None:
        """P-11: a file replaces a file, a directory an empty one; nothing else is replaced, as in Unix."""
        await tree.sc.mkdir(tree / "from")
        to = "to" if across else "from"
        if across:
            await tree.sc.mkdir(tree / "to")
        await tree.sc.put_file(tree / "from/file", b"new")
        await tree.sc.put_file(tree / f"{to}/victim", b"longer, old")
        await tree.sc.mkdir(tree / "from/dir")
        await tree.sc.put_file(tree / "from/dir/inside", b"")
        await tree.sc.mkdir(tree / f"{to}/empty")
        await tree.sc.mkdir_path(tree.root, f"{to}/full/x")
        refused = (
            ("file", "empty", serr.IsDir),
            ("file", "full", serr.IsDir),
            ("dir", "victim", serr.NotDir),
            ("dir", "full", serr.NotEmpty),
        )
        for old, new, kind in refused:
            with pytest.raises(kind):
                await tree.sc.rename(tree / f"from/{old}", tree / f"{to}/{new}")
        assert await tree.sc.get_file(tree / f"{to}/victim") == b"longer, old"
        await tree.sc.rename(tree / "from/file", tree / f"{to}/victim")
        assert await tree.sc.get_file(tree / f"{to}/victim") == b"new"
        await tree.sc.rename(tree / "from/dir", tree / f"{to}/empty")
        assert await tree.names(f"{to}/empty") == ["inside"]
        assert await tree.names(to) == ["empty", "full", "victim"]

    @needs("rename")
    async def test_onto_itself(self, tree: Tree) -> None:
        """P-11: nothing happens, to a file or to a directory."""
        await tree.sc.put_file(tree / "f", b"x")
        await tree.sc.mkdir(tree / "d")
        await tree.sc.put_file(tree / "d/f", b"y")
        for name in ("f", "d"):
            await tree.sc.rename(tree / name, tree / name)
        assert await tree.names() == ["d", "f"]
        assert await tree.sc.get_file(tree / "f") == b"x"
        assert await tree.names("d") == ["f"]

    @needs("rename")
    async def test_into_itself(self, tree: Tree) -> None:
        """P-11: a directory cannot move into its own subtree."""
        await tree.sc.mkdir_path(tree.root, "d/e")
        for new in ("d/d", "d/e/d", "d/e"):
            with pytest.raises((serr.Inval, serr.NotEmpty)):
                await tree.sc.rename(tree / "d", tree / new)
        assert await tree.names("d") == ["e"]

    @needs("rename")
    async def test_onto_what_is_above(self, tree: Tree) -> None:
        """P-11: that one is full."""
        await tree.sc.mkdir_path(tree.root, "d/e")
        with pytest.raises(serr.NotEmpty):
            await tree.sc.rename(tree / "d/e", tree / "d")
        assert await tree.names("d") == ["e"]

    @needs("rename")
    async def test_bad_names(self, tree: Tree) -> None:
        """N-9: names that no entry has, and those that clients resolve."""
        await tree.sc.put_file(tree / "f", b"x")
        await tree.sc.mkdir(tree / "d")
        for name in ("x" * 256, "a\0b", "~any", "d/~local"):
            with pytest.raises(serr.Inval):
                await tree.sc.rename(tree / "f", tree / name)
        with pytest.raises(serr.Inval):
            await tree.sc.rename(tree.root.partition("/")[0], tree / "x")
        assert await tree.names() == ["d", "f"]

    @needs("rename")
    async def test_what_is_open_stays_open(self, tree: Tree) -> None:
        """P-11: descriptors follow the file, not the name; a replaced one stays readable."""
        await tree.sc.put_file(tree / "f", b"data")
        await tree.sc.put_file(tree / "g", b"old")
        moved, replaced = await tree.sc.open(tree / "f"), await tree.sc.open(tree / "g")
        await tree.sc.rename(tree / "f", tree / "g")
        assert await tree.sc.read(moved, 10) == b"data"
        assert await tree.sc.read(replaced, 10) == b"old"
        for fd in (moved, replaced):
            await tree.sc.close_fd(fd)

    @needs("rename")
    async def test_what_is_below_a_renamed_directory(self, tree: Tree) -> None:
        """P-11: found under the new name at once, and no more under the old one."""
        await tree.sc.mkdir_path(tree.root, "d/e")
        await tree.sc.put_file(tree / "d/e/f", b"x")
        await tree.sc.get_file(tree / "d/e/f")
        await tree.sc.rename(tree / "d", tree / "moved")
        assert await tree.sc.get_file(tree / "moved/e/f") == b"x"
        await all_raise(serr.NotFound, tree.sc.get_file(tree / "d/e/f"), tree.sc.put_file(tree / "d/e/g", b""))

    @needs("rename")
    async def test_readers_see_the_old_or_the_new(self, tree: Tree) -> None:
        """P-11: atomic for observers: a name that is replaced is there all along."""
        await tree.sc.put_file(tree / "f", b"0")
        reader = await tree.client()

        async def replace() -> None:
            for number in range(30):
                await tree.sc.put_file(tree / "tmp", str(number).encode())
                await tree.sc.rename(tree / "tmp", tree / "f")

        replacing = tree.start(replace())
        contents: list[int] = []
        while not replacing.done():
            contents.append(int(await reader.get_file(tree / "f")))
            assert "f" in [stat.name for stat in await reader.get_dir(tree.root)]
        await replacing
        assert contents == sorted(contents)

    @needs("rename")
    async def test_a_rename_claims_once(self, tree: Tree) -> None:
        """P-11: of n clients that race to rename one name, one succeeds and the rest get NotFound."""
        await tree.sc.mkdir(tree / "mine")
        clients = await tree.clients(4)
        for turn in range(3):
            await tree.sc.put_file(tree / "task", b"")
            claims = [
                clients[number % len(clients)].rename(tree / "task", tree / f"mine/{turn}-{number}")
                for number in range(tree.can.racers_count)
            ]
            won = await outcomes(claims, serr.NotFound)
            assert won.count(True) == 1
            assert f"{turn}-{won.index(True)}" in await tree.names("mine")
        assert len(await tree.names("mine")) == 3

    @needs("rename")
    async def test_renames_of_many_onto_one_name(self, tree: Tree) -> None:
        """P-11, P-15: all succeed, one after the other; one file is left."""
        names = [f"f{number}" for number in range(10)]
        for name in names:
            await tree.sc.put_file(tree / name, name.encode())
        assert all(await outcomes(tree.sc.rename(tree / name, tree / "one") for name in names))
        assert await tree.names() == ["one"]
        assert (await tree.sc.get_file(tree / "one")).decode() in names

    @needs("rename")
    async def test_directories_that_swap_make_no_ring(self, tree: Tree) -> None:
        """P-15: of two moves into each other at most one succeeds."""
        for turn in range(5):
            a, b = f"a{turn}", f"b{turn}"
            await tree.sc.mkdir(tree / a)
            await tree.sc.mkdir(tree / b)
            moves = [tree.sc.rename(tree / old, tree / f"{new}/in") for old, new in ((a, b), (b, a))]
            won = await outcomes(moves, serr.NotFound, serr.Inval)
            assert won.count(True) == 1
            assert len([name for name in await tree.names() if name in (a, b)]) == 1

    @needs("rename")
    async def test_entries_moved_one_by_one(self, tree: Tree) -> None:
        """Each is a rename; it stops at the first failure."""
        await tree.sc.mkdir_path(tree.root, "a/d")
        await tree.sc.mkdir(tree / "b")
        for name in ("f", "g"):
            await tree.sc.put_file(tree / f"a/{name}", b"")
        assert await tree.sc.move_dir_entries(tree / "a", tree / "b") == 3
        assert (await tree.names("a"), await tree.names("b")) == ([], ["d", "f", "g"])
        with pytest.raises(serr.NotFound):
            await tree.sc.move_dir_entries(tree / "b", tree / "no")

    @needs("rename")
    async def test_between_servers(self, tree: Tree) -> None:
        """N-12: different servers are Inval."""
        await tree.sc.mount_endpoint(tree / "there", await tree.elsewhere())
        await tree.sc.put_file(tree / "f", b"x")
        await tree.sc.put_file(tree / "there/f", b"y")
        for old, new in (("f", "there/g"), ("there/f", "g")):
            with pytest.raises(serr.Inval):
                await tree.sc.rename(tree / old, tree / new)
        assert await tree.names() == ["f"]

    @needs("rename")
    async def test_renames_and_removes_race(self, tree: Tree) -> None:
        """P-11: a name is renamed or removed, not both."""
        for turn in range(5):
            await tree.sc.put_file(tree / f"f{turn}", b"")
            won = await outcomes(
                (tree.sc.rename(tree / f"f{turn}", tree / f"g{turn}"), tree.sc.remove(tree / f"f{turn}")),
                serr.NotFound,
            )
            assert won.count(True) == 1
            assert (f"g{turn}" in await tree.names()) == won[0]

    @needs("rename")
    async def test_many_at_once_lose_nothing(self, tree: Tree) -> None:
        """P-15: every file is somewhere, under one name."""
        for name in ("a", "b"):
            await tree.sc.mkdir(tree / name)
        numbers = range(20)
        for number in numbers:
            await tree.sc.put_file(tree / f"a/{number}", str(number).encode())

        async def wander(number: int) -> None:
            for here, there in (("a", "b"), ("b", "a"), ("a", "b")):
                await tree.sc.rename(tree / f"{here}/{number}", tree / f"{there}/{number}")

        await asyncio.gather(*(wander(number) for number in numbers))
        assert (await tree.names("a"), await tree.names("b")) == ([], sorted(str(number) for number in numbers))

    @needs("rename")
    async def test_messages_that_name_no_rename(self, tree: Tree) -> None:
        """P-3: a wstat changes a name alone; a renameat within one directory is Inval."""
        await tree.sc.put_file(tree / "f", b"")
        fid = await tree.sc.core.open_fid(tree.root, OREAD)
        file, _ = await fid.walk(["f"])
        with pytest.raises(serr.Inval):
            await file.rename_to("")
        with pytest.raises(serr.Inval):
            await fid.rename_at("f", fid, "g")
        for each in (file, fid):
            await each.clunk()
        assert await tree.names() == ["f"]
