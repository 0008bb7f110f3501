"""A call on a name is one moment, also if it takes several messages: what others do between two of them comes before it
or after it (P-11, P-15)."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from typing import TYPE_CHECKING

import pytest

from sigmaos_ray import serr
from sigmaos_ray.testing.conformance.base import Suite, Tree, outcomes
from sigmaos_ray.testing.conformance.between import between_messages
from sigmaos_ray.testing.conformance.refusals import needs

if TYPE_CHECKING:
    from sigmaos_ray.fslib import AsyncFsLib
    from sigmaos_ray.pb.sessp_pb2 import Request

LARGE_BYTES = (3 << 20) + 5
"""More than a message, so that it is read in several."""


class MomentTests(Suite):
    """Two clients and one name; what one of them does comes between the other one's messages."""

    @needs("rename")
    async def test_a_claim_in_place(self, tree: Tree) -> None:
        """P-11: of two that rename one name within its directory one succeeds."""
        other = await tree.client()

        async def prepare() -> None:
            await tree.sc.rmdir_entries(tree.root)
            await tree.sc.put_file(tree / "task", b"x")

        async for met in between_messages(
            tree.sc,
            prepare,
            lambda: tree.sc.rename(tree / "task", tree / "mine"),
            lambda: other.rename(tree / "task", tree / "theirs"),
        ):
            assert await tree.names() == [met.winner("mine", "theirs")]

    @needs("rename")
    async def test_a_claim_into_another_directory(self, tree: Tree) -> None:
        """P-11."""
        other = await tree.client()

        async def prepare() -> None:
            await tree.sc.rmdir_entries(tree.root)
            await tree.sc.mkdir(tree / "d")
            await tree.sc.put_file(tree / "task", b"x")

        async for met in between_messages(
            tree.sc,
            prepare,
            lambda: tree.sc.rename(tree / "task", tree / "d/mine"),
            lambda: other.rename(tree / "task", tree / "d/theirs"),
        ):
            assert await tree.names("d") == [met.winner("mine", "theirs")]

    @needs("rename")
    async def test_many_claim_in_place(self, tree: Tree) -> None:
        """P-11: of many that rename one name within its directory one succeeds, the others get NotFound."""
        clients = await tree.clients(4)
        for turn in range(tree.can.rounds_count):
            await tree.sc.put_file(tree / "task", b"")
            claims = [
                clients[number % len(clients)].rename(tree / "task", tree / f"{turn}-{number}") for number in range(8)
            ]
            won = await outcomes(claims, serr.NotFound)
            assert await tree.names() == [f"{turn}-{won.index(True)}"]
            assert won.count(True) == 1
            await tree.sc.rmdir_entries(tree.root)

    @needs("rename")
    async def test_a_removal_of_what_is_renamed(self, tree: Tree) -> None:
        """P-15: it removes what has the name, and nothing that had it."""
        other = await tree.client()

        async def prepare() -> None:
            await tree.sc.rmdir_entries(tree.root)
            await tree.sc.put_file(tree / "f", b"precious")

        async for met in between_messages(
            tree.sc, prepare, lambda: tree.sc.remove(tree / "f"), lambda: other.rename(tree / "f", tree / "kept")
        ):
            assert await tree.names() == met.winner([], ["kept"])

    @needs("rename", "links")
    async def test_a_removal_through_a_link_of_what_is_renamed(self, tree: Tree) -> None:
        """P-15: the same behind a link, where it takes more messages."""
        other = await tree.client()
        await tree.sc.mkdir(tree / "d")
        await tree.sc.symlink(tree / "d", tree / "l")

        async def prepare() -> None:
            await tree.sc.rmdir_entries(tree / "d")
            await tree.sc.put_file(tree / "d/f", b"precious")

        async for met in between_messages(
            tree.sc, prepare, lambda: tree.sc.remove(tree / "l/f"), lambda: other.rename(tree / "d/f", tree / "d/kept")
        ):
            assert await tree.names("d") == met.winner([], ["kept"])

    @needs("rename")
    async def test_removals_and_renames_at_once(self, tree: Tree) -> None:
        """P-15: one of the two has the file."""
        clients = await tree.clients(2)
        for _ in range(tree.can.rounds_count):
            await tree.sc.put_file(tree / "f", b"x")
            removed, renamed = await outcomes(
                [clients[0].remove(tree / "f"), clients[1].rename(tree / "f", tree / "g")], serr.NotFound
            )
            assert removed is not renamed
            assert await tree.names() == (["g"] if renamed else [])
            await tree.sc.rmdir_entries(tree.root)

    @needs("rename")
    async def test_what_is_always_there_is_always_found(self, tree: Tree) -> None:
        """P-15: opened, looked at and read while another file is renamed over it."""
        other = await tree.client()
        await self._always_found(tree, tree / "f", other)

    @needs("rename", "links")
    async def test_what_is_always_there_is_found_behind_a_link(self, tree: Tree) -> None:
        """P-15: on the way, and at the end."""
        other = await tree.client()
        await tree.sc.symlink(tree.root, tree / "l")
        await tree.sc.symlink(tree / "f", tree / "m")
        for pn in (tree / "l/f", tree / "m/"):
            await self._always_found(tree, pn, other)

    async def _always_found(self, tree: Tree, pn: str, other: AsyncFsLib) -> None:
        async def replace() -> None:
            await other.put_file(tree / "new", b"new")
            await other.rename(tree / "new", tree / "f")

        async def opened() -> bytes:
            fd = await tree.sc.open(pn)
            try:
                return await tree.sc.read(fd, 10)
            finally:
                await tree.sc.close_fd(fd)

        async def looked_at() -> bytes:
            return b"old" if (await tree.sc.stat(pn)).length == 3 else b""

        for call in (opened, looked_at, lambda: tree.sc.get_file(pn)):
            async for met in between_messages(tree.sc, lambda: tree.sc.put_file(tree / "f", b"old"), call, replace):
                assert met.call in (b"old", b"new"), met

    @needs("rename", "links")
    async def test_a_link_that_is_replaced_while_it_is_followed(self, tree: Tree) -> None:
        """P-15: what is put goes to one of the targets, and to no link."""
        other = await tree.client()

        async def prepare() -> None:
            await tree.sc.rmdir_entries(tree.root)
            for name in ("a", "b"):
                await tree.sc.put_file(tree / name, b"")
            await tree.sc.symlink(tree / "a", tree / "l")
            await tree.sc.symlink(tree / "b", tree / "m")

        async for met in between_messages(
            tree.sc,
            prepare,
            lambda: tree.sc.put_file(tree / "l/", b"x"),
            lambda: other.rename(tree / "m", tree / "l"),
        ):
            assert met.call == 1, met
            assert await tree.sc.get_file(tree / "l") == (tree / "b").encode()
            assert sorted([await tree.sc.get_file(tree / name) for name in ("a", "b")]) == [b"", b"x"]

    @needs("rename")
    async def test_a_listing_of_what_is_renamed(self, tree: Tree) -> None:
        """P-12: the file is listed under one of its names, and under one only."""
        other = await tree.client()
        for old, new in (("a", "z"), ("z", "a")):
            await tree.sc.rmdir_entries(tree.root)
            await tree.sc.put_file(tree / "m", b"")
            async for met in between_messages(
                tree.sc,
                partial(_only_one, tree, old, new),
                tree.names,
                partial(other.rename, tree / old, tree / new),
            ):
                assert met.call in (sorted(["m", old]), sorted(["m", new])), met

    @needs("rename")
    async def test_listings_while_a_file_is_renamed_again_and_again(self, tree: Tree) -> None:
        """P-12: of more entries than a server may list in one go without a thread, say."""
        await asyncio.gather(*(tree.sc.put_file(tree / f"k{number:03}", b"") for number in range(100)))
        await tree.sc.put_file(tree / "a", b"")
        other = await tree.client()

        async def rename() -> None:
            for _ in range(10 * tree.can.rounds_count):
                for old, new in (("a", "z"), ("z", "a")):
                    await other.rename(tree / old, tree / new)

        renaming = tree.start(rename())
        while not renaming.done():
            names = await tree.names()
            assert len(names) == 101, sorted({"a", "z"} & set(names))
        await renaming

    async def test_a_listing_of_many_messages(self, tree: Tree) -> None:
        """P-12: it shows the directory as it was at one moment."""
        sc = await tree.client_of_short_messages()
        stay = [f"k{number:03}" for number in range(min(tree.can.entries_count, 60))]
        await asyncio.gather(*(tree.sc.put_file(tree / name, b"") for name in stay))

        async def prepare() -> None:
            await _only_one(tree, "a", "z")

        async def move() -> None:
            await tree.sc.remove(tree / "a")
            await tree.sc.put_file(tree / "z", b"")

        async for met in between_messages(sc, prepare, lambda: sc.get_dir(tree.root), move):
            assert isinstance(met.call, list), met
            assert [stat.name for stat in met.call] in (["a", *stay], [*stay, "z"]), f"a mixture, at step {met.step}"
        assert met.step > 2

    async def test_a_listing_of_what_changes_all_the_time(self, tree: Tree) -> None:
        """P-12: Version, if it takes many messages; read one by one, what stays is there once."""
        sc = await tree.client_of_short_messages()
        stay = [f"k{number:03}" for number in range(min(tree.can.entries_count, 60))]
        await asyncio.gather(*(tree.sc.put_file(tree / name, b"") for name in stay))
        number = 0

        async def change(request: Request) -> None:
            nonlocal number
            if request.HasField("read"):
                await tree.sc.put_file(tree / f"a{number}", b"")
                number += 1

        sc.core.fids.before_sending = change
        with pytest.raises(serr.Version):
            await sc.get_dir(tree.root)
        assert [stat.name async for stat in sc.scan_dir(tree.root) if stat.name.startswith("k")] == stay

    @needs("rename")
    async def test_a_directory_that_is_saved_while_it_is_removed(self, tree: Tree) -> None:
        """P-15: what stands under its name by then stays, with all that is below."""
        other = await tree.client()

        async def prepare() -> None:
            await tree.sc.rmdir_entries(tree.root)
            await tree.sc.mkdir_path(tree.root, "d/e")
            for name in ("d/f", "d/e/g"):
                await tree.sc.put_file(tree / name, b"old")

        async def save() -> None:
            with contextlib.suppress(serr.NotFound):
                await other.rename(tree / "d", tree / "saved")
            await other.mkdir_path(tree.root, "d/e")
            for name in ("d/f", "d/e/g"):
                await other.put_file(tree / name, b"new")

        async for met in between_messages(tree.sc, prepare, lambda: tree.sc.rmdir(tree / "d"), save):
            if met.step:  # before the first message it is the new one that is removed
                assert [await tree.sc.get_file(tree / name) for name in ("d/f", "d/e/g")] == [b"new"] * 2, met

    @needs("rename")
    async def test_a_file_that_is_replaced_while_its_directory_is_removed(self, tree: Tree) -> None:
        """P-15: what was not below when it was listed stays, and the directory with it: NotEmpty."""
        other = await tree.client()

        async def prepare() -> None:
            await tree.sc.rmdir_entries(tree.root)
            await tree.sc.mkdir(tree / "d")
            await tree.sc.put_file(tree / "d/f", b"old")

        async def replace() -> None:
            await other.put_file(tree / "new", b"new")
            await other.rename(tree / "new", tree / "d/f")

        async for met in between_messages(tree.sc, prepare, lambda: tree.sc.rmdir(tree / "d"), replace):
            if met.step < 2:  # before it is opened, and before it is listed
                assert met.call is None, met
                assert await tree.names() == []
            else:
                assert isinstance(met.call, serr.NotEmpty), met
                assert await tree.sc.get_file(tree / "d/f") == b"new"
        assert met.step >= 2

    async def test_a_large_file_that_is_replaced_while_it_is_read(self, tree: Tree) -> None:
        """P-15: what is read in several messages is one of the two contents."""
        if tree.can.file_bytes_max is not None:
            return
        other = await tree.client()
        old, new = b"o" * LARGE_BYTES, b"n" * (LARGE_BYTES - 7)

        async def prepare() -> None:
            await tree.sc.put_file_atomic(tree / "f", old)

        async for met in between_messages(
            tree.sc, prepare, lambda: tree.sc.get_file(tree / "f"), lambda: other.put_file_atomic(tree / "f", new)
        ):
            assert met.call in (old, new), f"a mixture, at step {met.step}"

    async def test_a_large_file_that_is_put_small_while_it_is_read(self, tree: Tree) -> None:
        """P-15: by a put of one message, which takes the place of the contents."""
        if tree.can.file_bytes_max is not None:
            return
        other = await tree.client()
        old, new = b"o" * LARGE_BYTES, b"n" * 100

        async def prepare() -> None:
            await tree.sc.put_file_atomic(tree / "f", old)

        async for met in between_messages(
            tree.sc, prepare, lambda: tree.sc.get_file(tree / "f"), lambda: other.put_file(tree / "f", new)
        ):
            assert met.call in (old, new), f"a mixture, at step {met.step}"

    async def test_a_copy_of_what_is_replaced(self, tree: Tree) -> None:
        """P-15: it is of one of the two contents, or Version."""
        if tree.can.file_bytes_max is not None:
            return
        other = await tree.client()
        old, new = b"o" * LARGE_BYTES, b"n" * 100

        async def prepare() -> None:
            await tree.sc.rmdir_entries(tree.root)
            await tree.sc.put_file_atomic(tree / "f", old)

        async for met in between_messages(
            tree.sc,
            prepare,
            lambda: tree.sc.copy_file(tree / "f", tree / "copy"),
            lambda: other.put_file(tree / "f", new),
        ):
            if isinstance(met.call, serr.SigmaError):
                assert isinstance(met.call, serr.Version), met
            else:
                assert await tree.sc.get_file(tree / "copy") in (old, new), f"a mixture, at step {met.step}"


async def _only_one(tree: Tree, there: str, not_there: str) -> None:
    await tree.sc.put_file(tree / there, b"")
    with contextlib.suppress(serr.NotFound):
        await tree.sc.remove(tree / not_there)
