"""What cannot be asked for, and the names that are allowed."""

from __future__ import annotations

import pytest

from sigmaos_ray import serr
from sigmaos_ray.sigmap import ORDWR, OREAD, OWRITE
from sigmaos_ray.testing.conformance.base import Suite, Tree, all_raise
from sigmaos_ray.testing.conformance.refusals import needs

ODD_NAMES = (
    "a b",
    "é" * 127,
    "日本語",
    "~",
    "~x",
    "x" * 255,
    "*",
    "-",
    "\n",
    ".hidden",
    "a\\b",
    "...",
    "%2F",
    "'\"",
    "#?",
)


class LimitTests(Suite):
    """A clear error that names what was wrong, and nothing has changed."""

    async def test_odd_names(self, tree: Tree) -> None:
        """Any text without '/' and NUL up to 255 bytes."""
        for name in tree.can.names_refused:
            with pytest.raises(serr.SigmaError):
                await tree.sc.put_file(tree / name, b"")
        odd_names = sorted(set(ODD_NAMES).difference(tree.can.names_refused))
        for name in odd_names:
            await tree.sc.put_file(tree / name, name.encode())
        assert await tree.names() == odd_names
        for name in odd_names:
            assert await tree.sc.get_file(tree / name) == name.encode()
            assert (await tree.sc.stat(tree / name)).name == name
            await tree.sc.remove(tree / name)
        assert await tree.names() == []

    async def test_odd_names_of_directories(self, tree: Tree) -> None:
        """Directories take what files take."""
        for name in ODD_NAMES[:6]:
            await tree.sc.mkdir(tree / name)
            await tree.sc.put_file(tree / f"{name}/f", b"x")
            assert await tree.sc.get_file(tree / f"{name}/f") == b"x"
        assert await tree.names() == sorted(ODD_NAMES[:6])

    @pytest.mark.parametrize("name", ["x" * 256, "é" * 128, "a\0b", "\0"], ids=["long", "long-utf8", "nul", "just-nul"])
    async def test_names_that_cannot_be(self, tree: Tree, name: str) -> None:
        """Inval, for whoever makes it."""
        await tree.sc.put_file(tree / "f", b"")
        await all_raise(
            serr.Inval, tree.sc.put_file(tree / name, b""), tree.sc.create(tree / name), tree.sc.mkdir(tree / name)
        )
        assert await tree.names() == ["f"]

    async def test_an_empty_pathname(self, tree: Tree) -> None:
        """N-1: Inval."""
        await all_raise(
            serr.Inval,
            tree.sc.get_file(""),
            tree.sc.put_file("", b""),
            tree.sc.open("/"),
            tree.sc.remove(""),
            tree.sc.stat("//"),
            tree.sc.rename("", tree / "f"),
            tree.sc.rename(tree / "f", ""),
        )

    async def test_what_is_no_text(self, tree: Tree) -> None:
        """Pathnames are text, of Unicode's."""
        for bad in (b"name/f", None, 3):
            with pytest.raises(serr.Inval):
                await tree.sc.get_file(bad)  # type: ignore[arg-type]
        with pytest.raises(serr.Inval):
            await tree.sc.put_file(tree / "\ud800", b"")

    async def test_the_root_itself(self, tree: Tree) -> None:
        """N-1: it is neither removed nor renamed nor written."""
        root = tree.root.partition("/")[0]
        await all_raise(
            (serr.Inval, serr.IsDir),
            tree.sc.remove(root),
            tree.sc.put_file(root, b""),
            tree.sc.rename(root, tree / "x"),
            tree.sc.create(root),
        )

    async def test_deep_trees(self, tree: Tree) -> None:
        """N-7: a way of many components is one walk."""
        rel = "/".join(f"d{number}" for number in range(30))
        await tree.sc.mkdir_path(tree.root, rel)
        await tree.sc.put_file(tree / f"{rel}/f", b"deep")
        assert await tree.sc.get_file(tree / f"{rel}/f") == b"deep"
        await tree.sc.rmdir(tree / "d0")
        assert await tree.names() == []

    async def test_a_way_of_too_many_components(self, tree: Tree) -> None:
        """Inval: told, not cut."""
        for count in (300, 5000):
            with pytest.raises(serr.Inval):
                await tree.sc.get_file(tree / "/".join(["d"] * count))

    @needs("writes_in_place", "read_write")
    async def test_offsets_that_no_file_has(self, tree: Tree) -> None:
        """Inval, and no gap is filled."""
        fd = await tree.sc.create(tree / "f", mode=ORDWR)
        for offset in ((1 << 63) - 1, 1 << 63, (1 << 64) - 2):
            await tree.sc.seek(fd, offset)
            with pytest.raises(serr.Inval):
                await tree.sc.write(fd, b"xx")
        await tree.sc.close_fd(fd)
        await all_raise(
            serr.Inval,
            tree.sc.set_file(tree / "f", b"x", offset=-1),
            tree.sc.set_file(tree / "f", b"x", offset=1 << 63),
        )
        assert await tree.sc.get_file(tree / "f") == b""

    async def test_a_file_that_is_too_large(self, tree: Tree) -> None:
        """Inval with the limit in the message, at once, and what was there stays."""
        if tree.can.file_bytes_max is None:
            return
        too_large = bytes(tree.can.file_bytes_max + 1)
        limit = str(tree.can.file_bytes_max)
        await tree.sc.put_file(tree / "f", b"small")
        with pytest.raises(serr.Inval, match=limit):
            await tree.sc.put_file_atomic(tree / "f", too_large)
        with pytest.raises(serr.Inval, match=limit):
            await tree.sc.set_file(tree / "f", b"x", offset=tree.can.file_bytes_max)
        assert await tree.sc.get_file(tree / "f") == b"small"
        assert await tree.names() == ["f"]
        fd = await tree.sc.create(tree / "g")
        await tree.sc.write(fd, too_large[:-1])
        with pytest.raises(serr.Inval, match=limit):
            await tree.sc.write(fd, b"x")
        await tree.sc.close_fd(fd)
        assert (await tree.sc.stat(tree / "g")).length == tree.can.file_bytes_max

    async def test_a_read_returns_no_more_than_a_message(self, tree: Tree) -> None:
        """P-3: a request that asks for more gets what fits."""
        limit = tree.sc.read_bytes_max
        size = limit + 100 if tree.can.file_bytes_max is None else min(limit + 100, tree.can.file_bytes_max)
        await tree.sc.put_file(tree / "f", bytes(size))
        fid = await tree.sc.core.open_fid(tree / "f", OREAD)
        assert 0 < len(await fid.read(0, 1 << 30)) <= limit
        await fid.clunk()

    async def test_data_that_is_no_bytes(self, tree: Tree) -> None:
        """Data is bytes-like, of any sort."""
        for data in (bytearray(b"abc"), memoryview(b"xabcx")[1:4]):
            await tree.sc.put_file(tree / "f", data)
            assert await tree.sc.get_file(tree / "f") == b"abc"
        fd = await tree.sc.open(tree / "f", OWRITE)
        with pytest.raises(TypeError):
            await tree.sc.write(fd, "text")  # type: ignore[arg-type]
        await tree.sc.close_fd(fd)
