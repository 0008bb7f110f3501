"""Whole files in one call: put and set (P-9)."""

from __future__ import annotations

import asyncio

import pytest

from sigmaos_ray import serr
from sigmaos_ray.sigmap import DMDIR, NO_OFFSET, OAPPEND, OEXCL, OREAD, OTRUNC, OWRITE
from sigmaos_ray.testing.conformance.base import Suite, Tree, all_raise, outcomes
from sigmaos_ray.testing.conformance.refusals import needs


class PutTests(Suite):
    """put_file replaces, set_file writes in place; both make what is absent."""

    async def test_put_replaces_the_whole(self, tree: Tree) -> None:
        """P-9: of whatever length."""
        assert await tree.sc.put_file(tree / "f", b"12345") == 5
        assert await tree.sc.put_file(tree / "f", b"abc") == 3
        assert await tree.sc.get_file(tree / "f") == b"abc"
        assert (await tree.sc.stat(tree / "f")).length == 3
        assert await tree.sc.put_file(tree / "f", b"") == 0
        assert await tree.sc.get_file(tree / "f") == b""

    @needs("writes_in_place")
    async def test_set_writes_in_place(self, tree: Tree) -> None:
        """P-9: without truncation, at an offset."""
        await tree.sc.put_file(tree / "f", b"12345")
        assert await tree.sc.set_file(tree / "f", b"ab") == 2
        assert await tree.sc.get_file(tree / "f") == b"ab345"
        await tree.sc.set_file(tree / "f", b"X", offset=4)
        assert await tree.sc.get_file(tree / "f") == b"ab34X"
        await tree.sc.set_file(tree / "f", b"Q", OWRITE | OTRUNC)
        assert await tree.sc.get_file(tree / "f") == b"Q"

    async def test_set_makes_the_file(self, tree: Tree) -> None:
        """P-9: one that is absent is made."""
        await tree.sc.set_file(tree / "f", b"abc")
        assert await tree.sc.get_file(tree / "f") == b"abc"

    async def test_exclusive(self, tree: Tree) -> None:
        """P-9 OEXCL: of a file and of a directory, and nothing changes."""
        await tree.sc.put_file(tree / "f", b"1", mode=OWRITE | OEXCL)
        await tree.sc.mkdir(tree / "d")
        for name in ("f", "d"):
            with pytest.raises(serr.Exists) as caught:
                await tree.sc.put_file(tree / name, b"2", mode=OWRITE | OEXCL)
            assert caught.value.obj == tree / name
        assert await tree.sc.get_file(tree / "f") == b"1"

    async def test_an_exclusive_put_has_one_winner(self, tree: Tree) -> None:
        """P-9, P-15."""
        won = await outcomes(
            (
                tree.sc.put_file(tree / "lock", str(number).encode(), mode=OWRITE | OEXCL)
                for number in range(tree.can.racers_count)
            ),
            serr.Exists,
        )
        assert won.count(True) == 1
        assert await tree.sc.get_file(tree / "lock") == str(won.index(True)).encode()

    @needs("append")
    async def test_appending_puts(self, tree: Tree) -> None:
        """P-9 OAPPEND: at the end, in one piece, whoever else appends; the file is made."""
        lines = [f"line {number:03}\n".encode() for number in range(tree.can.racers_count)]
        await asyncio.gather(*(tree.sc.put_file(tree / "log", line, mode=OWRITE | OAPPEND) for line in lines))
        assert sorted((await tree.sc.get_file(tree / "log")).splitlines(keepends=True)) == lines

    async def test_appending_and_the_offset_go_together(self, tree: Tree) -> None:
        """P-9: OAPPEND and the offset of an append, both or none."""
        await tree.sc.put_file(tree / "f", b"1")
        fid = await tree.sc.core.open_fid(tree.root, OREAD)
        for mode, offset in ((OWRITE | OAPPEND, 0), (OWRITE, NO_OFFSET)):
            with pytest.raises(serr.Inval):
                await fid.put_file(["f"], b"2", perm=0o777, mode=mode, offset=offset, resolve=False)
        await fid.clunk()
        assert await tree.sc.get_file(tree / "f") == b"1"

    async def test_an_existing_file_keeps_its_permissions(self, tree: Tree) -> None:
        """P-9: perm of an existing file is ignored."""
        await tree.sc.put_file(tree / "f", b"1", perm=0o640)
        before = (await tree.sc.stat(tree / "f")).perm
        await tree.sc.put_file(tree / "f", b"2", perm=0o600)
        assert (await tree.sc.stat(tree / "f")).perm == before

    async def test_a_large_put_that_is_seen_whole_keeps_permissions(self, tree: Tree) -> None:
        """P-9: and there is no name that is too long for it."""
        if tree.can.file_bytes_max is not None:
            return
        name, data = "n" * 240, bytes(range(256)) * 5000
        await tree.sc.put_file(tree / name, b"1", perm=0o640)
        before = (await tree.sc.stat(tree / name)).mode
        assert await tree.sc.put_file_atomic(tree / name, data) == len(data)
        assert await tree.sc.get_file(tree / name) == data
        assert (await tree.sc.stat(tree / name)).mode == before
        assert await tree.names() == [name]
        assert await tree.sc.put_file_atomic(f"{tree / 'fresh'}/", data) == len(data)
        assert await tree.sc.get_file(tree / "fresh") == data
        await tree.sc.mkdir(tree / "d")
        await all_raise(serr.IsDir, tree.sc.put_file_atomic(tree / "d", data))

    @needs("leases", "rename")
    async def test_a_large_put_leaves_a_leased_file_on_its_lease(self, tree: Tree) -> None:
        """L-2: it is refused where another file would take its place."""
        if tree.can.file_bytes_max is not None:
            return
        lease = await tree.lease()
        await tree.sc.put_leased_file(tree / "f", b"1", lease)
        await all_raise(serr.NotSupported, tree.sc.put_file_atomic(tree / "f", bytes(2 << 20)))
        assert (await tree.names(), await tree.sc.get_file(tree / "f")) == (["f"], b"1")
        await lease.end()
        assert await tree.names() == []

    async def test_a_put_makes_no_directory(self, tree: Tree) -> None:
        """P-9: with a directory's permissions it is a mistake."""
        with pytest.raises(serr.Inval):
            await tree.sc.put_file(tree / "f", b"", perm=DMDIR | 0o777)
        assert await tree.names() == []

    async def test_what_is_no_bytes(self, tree: Tree) -> None:
        """A number is not so many zeros: TypeError, and nothing is made."""
        for data in (5, "text", [1, 2], None):
            for put in (tree.sc.put_file, tree.sc.set_file, tree.sc.put_file_atomic):
                with pytest.raises(TypeError):
                    await put(tree / "f", data)  # type: ignore[arg-type]
        assert await tree.names() == []

    async def test_a_put_below_what_is_missing(self, tree: Tree) -> None:
        """N-10, N-11: parents are not made, or come with it."""
        if tree.can.parents_come:
            await tree.sc.put_file(tree / "no/deep/f", b"x")
            assert (await tree.names(), await tree.names("no")) == (["no"], ["deep"])
            async with tree.sc.create_writer(tree / "not/yet/f") as writer:
                await writer.write(b"y")
            assert await tree.sc.get_file(tree / "not/yet/f") == b"y"
            fd = await tree.sc.create(tree / "nor/this/f")
            await tree.sc.write(fd, b"z")
            await tree.sc.close_fd(fd)
            assert await tree.sc.get_file(tree / "nor/this/f") == b"z"
            return
        await all_raise(
            serr.NotFound,
            tree.sc.put_file(tree / "no/f", b""),
            tree.sc.set_file(tree / "no/f", b""),
            tree.sc.create(tree / "no/f"),
        )
        assert await tree.names() == []

    async def test_puts_of_one_message_are_seen_whole(self, tree: Tree) -> None:
        """P-15: readers see the old or the new contents, never a mix, never an empty file."""
        values = {letter.encode() * 100_000 for letter in "abcd"}
        await tree.sc.put_file(tree / "f", b"a" * 100_000)
        turns = 10 if tree.can.writes_in_place else 3
        reader = await tree.client()

        async def write(value: bytes) -> None:
            for _ in range(turns):
                await tree.sc.put_file(tree / "f", value)

        writers = tree.start(_all(*(write(value) for value in values)))
        while not writers.done():
            assert await reader.get_file(tree / "f") in values
        await writers

    @needs("writes_in_place")
    async def test_puts_into_one_file_do_not_mix(self, tree: Tree) -> None:
        """P-9: two puts never interleave bytes, also where they do not truncate."""
        values = [bytes([65 + number]) * 50_000 for number in range(6)]
        await asyncio.gather(*(tree.sc.set_file(tree / "f", value) for value in values))
        assert await tree.sc.get_file(tree / "f") in values


async def _all(*calls: object) -> None:
    await asyncio.gather(*calls)  # type: ignore[call-overload]
