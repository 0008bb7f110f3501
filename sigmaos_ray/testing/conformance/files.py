"""Making and naming files, descriptors, and the errors of what is not there."""

from __future__ import annotations

import pickle

import pytest

from sigmaos_ray import serr
from sigmaos_ray.sigmap import ORDWR, OREAD, OWRITE
from sigmaos_ray.testing.conformance.base import Suite, Tree, all_raise
from sigmaos_ray.testing.conformance.refusals import needs


class FileTests(Suite):
    """Files by name."""

    async def test_create_never_opens_what_exists(self, tree: Tree) -> None:
        """Exists, of a file and of a directory, and nothing changes."""
        await tree.sc.put_file(tree / "f", b"1")
        await tree.sc.mkdir(tree / "d")
        for name in ("f", "d"):
            with pytest.raises(serr.Exists) as caught:
                await tree.sc.create(tree / name)
            assert caught.value.obj == tree / name
        assert await tree.sc.get_file(tree / "f") == b"1"

    async def test_what_was_created_can_be_written_and_read(self, tree: Tree) -> None:
        """The descriptor is of the new file, open in the mode that was asked for."""
        fd = await tree.sc.create(tree / "f", 0o777, OWRITE)
        assert await tree.sc.write(fd, b"hi") == 2
        await tree.sc.close_fd(fd)
        assert await tree.sc.get_file(tree / "f") == b"hi"

    async def test_create_below_what_is_missing_or_a_file(self, tree: Tree) -> None:
        """N-11: NotFound, unless it comes with what is below it; NotDir."""
        await tree.sc.put_file(tree / "f", b"")
        for make in (tree.sc.create, tree.sc.mkdir):
            if not tree.can.parents_come:
                with pytest.raises(serr.NotFound):
                    await make(tree / "no/g")
            with pytest.raises(serr.NotDir):
                await make(tree / "f/g")
        assert await tree.names() == ["f"]

    async def test_missing_files_say_their_pathname(self, tree: Tree) -> None:
        """E-1: errors have their class, Python's too, their code, and the pathname."""
        missing = tree / "no"
        errors = await all_raise(
            serr.NotFound,
            tree.sc.get_file(missing),
            tree.sc.open(missing),
            tree.sc.stat(missing),
            tree.sc.remove(missing),
            tree.sc.get_dir(missing),
            tree.sc.get_file(f"{missing}/deeper"),
        )
        for error in errors:
            assert isinstance(error, FileNotFoundError)
            assert error.code == serr.Code.NOTFOUND
            assert error.obj.startswith(missing)

    async def test_a_servers_error_travels_whole(self, tree: Tree) -> None:
        """E-1 to E-3: code, object and cause; and on, through pickle."""
        await tree.sc.put_file(tree / "f", b"")
        with pytest.raises(serr.Exists) as caught:
            await tree.sc.mkdir(tree / "f")
        again = pickle.loads(pickle.dumps(caught.value))
        assert (type(again), again.obj, again.msg) == (serr.Exists, tree / "f", caught.value.msg)
        assert isinstance(again, FileExistsError)

    async def test_a_pathname_through_a_file(self, tree: Tree) -> None:
        """N-7: NotDir, a plain mistake, which is told at once."""
        await tree.sc.put_file(tree / "f", b"")
        retries_before = tree.sc.stats()["path"].get("NwalkPath", 0)
        await all_raise(
            serr.NotDir,
            tree.sc.get_file(tree / "f/x"),
            tree.sc.open(tree / "f/x"),
            tree.sc.put_file(tree / "f/x", b""),
            tree.sc.stat(tree / "f/x/y"),
            tree.sc.remove(tree / "f/x"),
        )
        assert tree.sc.stats()["path"].get("NwalkPath", 0) - retries_before <= 10, "tried again and again"

    async def test_whole_file_calls_on_a_directory(self, tree: Tree) -> None:
        """IsDir, and it stays as it was."""
        await tree.sc.mkdir(tree / "d")
        await all_raise(
            serr.IsDir,
            tree.sc.put_file(tree / "d", b"x"),
            tree.sc.set_file(tree / "d", b"x"),
            tree.sc.get_file(tree / "d"),
            tree.sc.open(tree / "d", OWRITE),
        )
        assert await tree.names("d") == []

    async def test_listing_a_file(self, tree: Tree) -> None:
        """What is no directory has no entries to list."""
        await tree.sc.put_file(tree / "f", b"x")
        await all_raise(
            serr.NotDir, tree.sc.get_dir(tree / "f"), tree.sc.rmdir(tree / "f"), tree.sc.get_dir(tree / "f/")
        )
        assert await tree.sc.get_file(tree / "f") == b"x"

    async def test_descriptors_are_small_and_used_again(self, tree: Tree) -> None:
        """The lowest free number."""
        for name in "abc":
            await tree.sc.put_file(tree / name, b"")
        first, second = await tree.sc.open(tree / "a"), await tree.sc.open(tree / "b")
        await tree.sc.close_fd(first)
        assert await tree.sc.open(tree / "c") == first
        await tree.sc.close_fd(first)
        await tree.sc.close_fd(second)

    async def test_descriptors_that_are_not_open(self, tree: Tree) -> None:
        """NotFound."""
        await tree.sc.put_file(tree / "f", b"")
        fd = await tree.sc.open(tree / "f")
        await tree.sc.close_fd(fd)
        await all_raise(
            serr.NotFound,
            tree.sc.close_fd(fd),
            tree.sc.read(fd, 1),
            tree.sc.write(fd, b"x"),
            tree.sc.seek(fd, 0),
            tree.sc.pread(999, 1, 0),
        )

    async def test_two_descriptors_of_one_file_have_two_offsets(self, tree: Tree) -> None:
        """The offset is the descriptor's."""
        await tree.sc.put_file(tree / "f", b"abcdef")
        one, two = await tree.sc.open(tree / "f"), await tree.sc.open(tree / "f")
        assert await tree.sc.read(one, 3) == b"abc"
        assert await tree.sc.read(two, 2) == b"ab"
        assert await tree.sc.read(one, 3) == b"def"
        for fd in (one, two):
            await tree.sc.close_fd(fd)

    async def test_slashes_that_change_nothing(self, tree: Tree) -> None:
        """N-1: repeated slashes collapse; of a file, one at the end drops out."""
        await tree.sc.mkdir(tree / "d")
        await tree.sc.put_file(tree / "d/f", b"x")
        assert await tree.sc.get_file(tree / "d//f") == b"x"
        assert await tree.sc.get_file(f"/{tree.root}///d/f/") == b"x"

    async def test_a_first_component_that_nobody_serves(self, tree: Tree) -> None:
        """N-2."""
        with pytest.raises(serr.NotFound):
            await tree.sc.get_file("no-such-root/f")

    async def test_climbing_stays_within_the_root(self, tree: Tree) -> None:
        """N-1: ``..`` never leaves a root."""
        await tree.sc.put_file(tree / "f", b"x")
        first, _, below = tree.root.partition("/")
        assert await tree.sc.get_file(f"{first}/../../{below}/d/../f") == b"x"
        fid = await tree.sc.core.open_fid(tree.root, OREAD)
        with pytest.raises(serr.Inval):
            await fid.walk([".."])
        await fid.clunk()

    @pytest.mark.parametrize("size_bytes", [0, 1, 1000])
    async def test_what_one_client_wrote_another_one_reads(self, tree: Tree, size_bytes: int) -> None:
        """P-15: a change that was acknowledged is seen by everybody."""
        other = await tree.client()
        await tree.sc.put_file(tree / "f", b"x" * size_bytes)
        assert await other.get_file(tree / "f") == b"x" * size_bytes
        await other.remove(tree / "f")
        with pytest.raises(serr.NotFound):
            await tree.sc.get_file(tree / "f")

    @needs("keeps_removed")
    async def test_a_file_removed_while_open_stays_readable(self, tree: Tree) -> None:
        """P-11: also for another client, and when its name was given to a new file."""
        await tree.sc.put_file(tree / "f", b"data")
        other = await tree.client()
        fds = [(sc, await sc.open(tree / "f")) for sc in (tree.sc, other)]
        await tree.sc.remove(tree / "f")
        await tree.sc.put_file(tree / "f", b"new")
        for sc, fd in fds:
            assert await sc.read(fd, 10) == b"data"
            await sc.close_fd(fd)

    @needs("keeps_removed", "read_write")
    async def test_a_file_removed_while_open_stays_writable(self, tree: Tree) -> None:
        """P-11: what is written there is nobody else's."""
        fd = await tree.sc.create(tree / "f", mode=ORDWR)
        await tree.sc.remove(tree / "f")
        await tree.sc.write(fd, b"data")
        assert await tree.sc.pread(fd, 10, 0) == b"data"
        await tree.sc.close_fd(fd)
        assert await tree.names() == []
