"""Open modes (P-4), as descriptors keep them."""

from __future__ import annotations

import pytest

from sigmaos_ray import serr
from sigmaos_ray.sigmap import OAPPEND, OEXEC, ORDWR, OREAD, OTRUNC, OWRITE
from sigmaos_ray.testing.conformance.base import Suite, Tree
from sigmaos_ray.testing.conformance.refusals import needs


class OpenModeTests(Suite):
    """Descriptors do what their mode allows, and no more."""

    @pytest.mark.parametrize("mode", [OREAD, OEXEC], ids=["read", "exec"])
    async def test_what_is_open_for_reading_is_not_written(self, tree: Tree, mode: int) -> None:
        """P-4: Perm."""
        await tree.sc.put_file(tree / "f", b"data")
        fd = await tree.sc.open(tree / "f", mode)
        assert await tree.sc.read(fd, 10) == b"data"
        with pytest.raises(serr.Perm) as caught:
            await tree.sc.write(fd, b"x")
        assert caught.value.obj == tree / "f"
        await tree.sc.close_fd(fd)
        assert await tree.sc.get_file(tree / "f") == b"data"

    async def test_what_is_open_for_writing_is_not_read(self, tree: Tree) -> None:
        """P-4: Perm."""
        await tree.sc.put_file(tree / "f", b"data")
        fd = await tree.sc.open(tree / "f", OWRITE)
        with pytest.raises(serr.Perm):
            await tree.sc.read(fd, 1)
        await tree.sc.close_fd(fd)
        assert await tree.sc.get_file(tree / "f") == b"data"

    @needs("read_write")
    async def test_both(self, tree: Tree) -> None:
        """P-4 ORDWR, of an open and of a create."""
        fd = await tree.sc.create(tree / "f", mode=ORDWR)
        await tree.sc.write(fd, b"abc")
        assert await tree.sc.pread(fd, 10, 0) == b"abc"
        await tree.sc.close_fd(fd)
        fd = await tree.sc.open(tree / "f", ORDWR)
        await tree.sc.write(fd, b"X")
        assert await tree.sc.read(fd, 10) == b"bc"
        await tree.sc.close_fd(fd)

    async def test_a_created_file_keeps_its_mode(self, tree: Tree) -> None:
        """P-4: create opens too."""
        fd = await tree.sc.create(tree / "f", mode=OWRITE)
        with pytest.raises(serr.Perm):
            await tree.sc.read(fd, 1)
        await tree.sc.close_fd(fd)

    async def test_truncation(self, tree: Tree) -> None:
        """P-4 OTRUNC: nothing stays, whatever is written then."""
        await tree.sc.put_file(tree / "f", b"data")
        for data in (b"", b"ab"):
            fd = await tree.sc.open(tree / "f", OWRITE | OTRUNC)
            if data:
                await tree.sc.write(fd, data)
            await tree.sc.close_fd(fd)
            assert await tree.sc.get_file(tree / "f") == data
            assert (await tree.sc.stat(tree / "f")).length == len(data)

    async def test_truncation_of_a_missing_file(self, tree: Tree) -> None:
        """An open makes nothing."""
        with pytest.raises(serr.NotFound):
            await tree.sc.open(tree / "f", OWRITE | OTRUNC)
        assert await tree.names() == []

    @needs("writes_in_place")
    async def test_without_truncation_the_rest_stays(self, tree: Tree) -> None:
        """P-4: an open for writing changes nothing by itself."""
        await tree.sc.put_file(tree / "f", b"12345")
        fd = await tree.sc.open(tree / "f", OWRITE)
        await tree.sc.write(fd, b"ab")
        await tree.sc.close_fd(fd)
        assert await tree.sc.get_file(tree / "f") == b"ab345"

    async def test_an_open_for_writing_that_writes_nothing(self, tree: Tree) -> None:
        """P-4, also where the whole file is replaced (B-2): contents, time and version stay."""
        await tree.sc.put_file(tree / "f", b"data")
        before = await tree.sc.stat(tree / "f")
        await tree.sc.close_fd(await tree.sc.open(tree / "f", OWRITE))
        after = await tree.sc.stat(tree / "f")
        assert (after.qid, after.mtime, after.length) == (before.qid, before.mtime, before.length)

    @needs("append")
    async def test_appending_goes_to_the_end(self, tree: Tree) -> None:
        """P-4, B-4: whatever the offset, and whoever else wrote meanwhile."""
        await tree.sc.put_file(tree / "f", b"1")
        fd = await tree.sc.open(tree / "f", OWRITE | OAPPEND)
        await tree.sc.put_file(tree / "f", b"22", mode=OWRITE | OAPPEND)
        await tree.sc.write(fd, b"3")
        await tree.sc.seek(fd, 0)
        await tree.sc.write(fd, b"4")
        await tree.sc.close_fd(fd)
        fid = await tree.sc.core.open_fid(tree / "f", OWRITE | OAPPEND)
        await fid.write(0, b"5")  # the server sees to it, whatever the client sends
        await fid.clunk()
        assert await tree.sc.get_file(tree / "f") == b"122345"

    @needs("append", "read_write")
    async def test_an_appending_descriptor_reads_anywhere(self, tree: Tree) -> None:
        """P-4."""
        await tree.sc.put_file(tree / "f", b"12")
        fd = await tree.sc.open(tree / "f", ORDWR | OAPPEND)
        await tree.sc.write(fd, b"34")
        assert await tree.sc.pread(fd, 10, 1) == b"234"
        await tree.sc.close_fd(fd)

    async def test_a_directory_is_opened_for_reading_alone(self, tree: Tree) -> None:
        """IsDir, and through the descriptor nothing can be written either."""
        await tree.sc.mkdir(tree / "d")
        for mode in (OWRITE, ORDWR, OWRITE | OTRUNC):
            with pytest.raises(serr.IsDir):
                await tree.sc.open(tree / "d", mode)
        fd = await tree.sc.open(tree / "d", OREAD)
        with pytest.raises(serr.SigmaError):
            await tree.sc.write(fd, b"x")
        await tree.sc.close_fd(fd)

    async def test_modes_that_are_none(self, tree: Tree) -> None:
        """P-4: other bits are Inval."""
        await tree.sc.put_file(tree / "f", b"data")
        for mode in (0x100, 0x1_0000 | OWRITE, 0x08):
            with pytest.raises(serr.Inval):
                await tree.sc.open(tree / "f", mode)
            with pytest.raises(serr.Inval):
                await tree.sc.create(tree / "g", mode=mode)
        assert await tree.names() == ["f"]
