"""Fences: who lost the leadership changes nothing any more (L-20 to L-25)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sigmaos_ray import serr
from sigmaos_ray.sigmap import OAPPEND, OTRUNC, OWRITE, Fence
from sigmaos_ray.testing.conformance.base import Suite, Tree, all_raise
from sigmaos_ray.testing.conformance.refusals import needs

if TYPE_CHECKING:
    from sigmaos_ray.fslib import AsyncFsLib


def fence(tree: Tree, epoch: int, seqno: int = 0, of: str = "lead") -> Fence:
    """A fence that no other test has."""
    return Fence(f"{tree.root}/{of}", epoch, seqno)


async def leaders(tree: Tree) -> tuple[AsyncFsLib, AsyncFsLib]:
    """An old leader, and the new one, who has told the server of itself."""
    old, new = await tree.client(), await tree.client()
    await old.fence_dir(tree.root, fence(tree, 1))
    await old.put_file(tree / "f", b"old")
    await old.mkdir(tree / "d")
    await new.fence_dir(tree.root, fence(tree, 2))
    await new.put_file(tree / "f", b"new")
    return old, new


class FenceTests(Suite):
    """Changes under a fence that a newer one has overtaken are Stale."""

    @needs("fences")
    async def test_an_old_leader_changes_nothing(self, tree: Tree) -> None:
        """L-21, L-25: create, mkdir, put, set, remove, open with OTRUNC."""
        old, _ = await leaders(tree)
        await all_raise(
            serr.Stale,
            old.create(tree / "g"),
            old.mkdir(tree / "e"),
            old.put_file(tree / "f", b"x"),
            old.put_file(tree / "g", b"x"),
            old.set_file(tree / "f", b"x"),
            old.remove(tree / "f"),
            old.remove(tree / "d"),
            old.rmdir(tree / "d"),
            old.open(tree / "f", OWRITE | OTRUNC),
        )
        assert await tree.names() == ["d", "f"]
        assert await tree.sc.get_file(tree / "f") == b"new"

    @needs("fences", "rename")
    async def test_an_old_leader_renames_nothing(self, tree: Tree) -> None:
        """L-21, L-22: in place and across directories."""
        old, _ = await leaders(tree)
        for new in ("g", "d/g"):
            with pytest.raises(serr.Stale):
                await old.rename(tree / "f", tree / new)
        with pytest.raises(serr.Stale):
            await old.rename(tree / "d", tree / "e")
        assert await tree.names() == ["d", "f"]
        assert await tree.names("d") == []

    @needs("fences", "rename")
    async def test_a_rename_between_two_fenced_directories(self, tree: Tree) -> None:
        """L-21: who lost one of them moves nothing into it or out of it, and neither fence is remembered for it."""
        for name in ("a", "b"):
            await tree.sc.mkdir(tree / name)
            await tree.sc.put_file(tree / f"{name}/f", name.encode())
        old, new = await tree.client(), await tree.client()
        for clnt, epoch in ((old, 1), (new, 2)):
            await clnt.fence_dir(tree / "a", fence(tree, epoch, of="a"))
        await old.fence_dir(tree / "b", fence(tree, 7, of="b"))
        await new.put_file(tree / "a/f", b"a")
        for here, there in (("a", "b"), ("b", "a")):
            with pytest.raises(serr.Stale):
                await old.rename(tree / f"{here}/f", tree / f"{there}/g")
        assert (await tree.names("a"), await tree.names("b")) == (["f"], ["f"])
        await new.rename(tree / "a/f", tree / "b/g")
        assert await tree.names("b") == ["f", "g"]

    @needs("fences", "append")
    async def test_an_old_leader_appends_nothing(self, tree: Tree) -> None:
        """L-21."""
        old, _ = await leaders(tree)
        with pytest.raises(serr.Stale):
            await old.put_file(tree / "f", b"x", mode=OWRITE | OAPPEND)
        assert await tree.sc.get_file(tree / "f") == b"new"

    @needs("fences", "links")
    async def test_an_old_leader_makes_no_links(self, tree: Tree) -> None:
        """L-21."""
        old, _ = await leaders(tree)
        with pytest.raises(serr.Stale):
            await old.symlink(tree / "f", tree / "l")
        assert await tree.names() == ["d", "f"]

    @needs("fences", "pipes")
    async def test_an_old_leader_makes_no_pipes(self, tree: Tree) -> None:
        """L-21."""
        old, _ = await leaders(tree)
        with pytest.raises(serr.Stale):
            await old.new_pipe(tree / "p")
        assert await tree.names() == ["d", "f"]

    @needs("fences", "leases")
    async def test_an_old_leader_makes_no_leased_files(self, tree: Tree) -> None:
        """L-25: neither by a put nor by a create."""
        old, _ = await leaders(tree)
        lease = await tree.lease(old)
        await all_raise(
            serr.Stale,
            old.put_leased_file(tree / "g", b"", lease),
            old.create_leased(tree / "g", 0o777, OWRITE, lease),
        )
        assert await tree.names() == ["d", "f"]

    @needs("fences", "links")
    async def test_a_fence_is_the_directorys_whichever_way_it_is_come_to(self, tree: Tree) -> None:
        """L-24: through a link or not; the newer one counts, whichever name it was given by."""
        await tree.sc.mkdir(tree / "d")
        await tree.sc.symlink(tree / "d", tree / "l")
        await tree.sc.symlink(tree.root, tree / "up")
        one, other = await tree.client(), await tree.client()
        await one.fence_dir(tree / "l/", fence(tree, 1))
        await one.put_file(tree / "d/f", b"1")
        await other.fence_dir(tree / "d", fence(tree, 2))
        await other.put_file(tree / "d/f", b"2")
        ways = [tree / "d/f", tree / "l/f", tree / "up/d/f", tree / "up/l/f"]
        await all_raise(serr.Stale, *(one.put_file(way, b"x") for way in ways))
        fd = await one.open(tree / "up/l/f", OWRITE)
        await all_raise(serr.Stale, one.write(fd, b"x"))
        await one.close_fd(fd)
        await one.fence_dir(tree / "d", fence(tree, 3))
        for way in ways:
            await one.put_file(way, b"3")
        await all_raise(serr.Stale, *(other.put_file(way, b"x") for way in ways))
        await one.fence_dir(tree / "d", Fence())
        await one.put_file(tree / "l/f", b"no leader's")

    @needs("fences", "shows_fences")
    async def test_fences_whose_names_are_alike(self, tree: Tree) -> None:
        """L-24: in ``/`` and ``-`` only: each is shown, and can be forgotten."""
        alike = [fence(tree, epoch, of=name) for epoch, name in ((5, "a-b"), (6, "a/b"), (7, "a%2Db"))]
        for each in alike:
            await tree.sc.fence_dir(tree.root, each)
            await tree.sc.put_file(tree / "f", b"")
        await tree.sc.fence_dir(tree.root, Fence())
        assert set(alike) <= set(await tree.sc.get_fences(tree.root))
        await tree.sc.remove_fence([tree.root])
        assert not set(alike) & set(await tree.sc.get_fences(tree.root))

    @needs("fences")
    async def test_descriptors_that_were_open_before(self, tree: Tree) -> None:
        """L-21: a fence holds for them too. Where a file appears at its close, the close says so."""
        old, new = await tree.client(), await tree.client()
        await old.fence_dir(tree.root, fence(tree, 1))
        await tree.sc.put_file(tree / "f", b"data")
        fd = await old.open(tree / "f", OWRITE)
        await old.write(fd, b"DA")
        await new.fence_dir(tree.root, fence(tree, 2))
        await new.mkdir(tree / "new-leader")
        with pytest.raises(serr.Stale):
            await old.write(fd, b"XX")
        if tree.can.writes_in_place:
            await old.close_fd(fd)
        else:
            with pytest.raises(serr.Stale):
                await old.close_fd(fd)
        assert await tree.sc.get_file(tree / "f") == (b"DAta" if tree.can.writes_in_place else b"data")

    @needs("fences")
    async def test_a_fence_for_one_write(self, tree: Tree) -> None:
        """L-21: of the write alone."""
        await tree.sc.put_file(tree / "f", b"data")
        await leaders(tree)
        fd = await tree.sc.open(tree / "f", OWRITE)
        with pytest.raises(serr.Stale):
            await tree.sc.write_fence(fd, b"x", fence(tree, 1))
        assert await tree.sc.write_fence(fd, b"X", fence(tree, 2)) == 1
        await tree.sc.close_fd(fd)

    @needs("fences")
    async def test_a_fence_for_one_removal(self, tree: Tree) -> None:
        """L-21: of the call alone."""
        await leaders(tree)
        with pytest.raises(serr.Stale) as caught:
            await tree.sc.remove(tree / "f", fence(tree, 1))
        assert caught.value.obj == tree / "f"
        await tree.sc.remove(tree / "f", fence(tree, 2))
        assert await tree.names() == ["d"]

    @needs("fences")
    async def test_reads_pass(self, tree: Tree) -> None:
        """L-21, L-25."""
        old, _ = await leaders(tree)
        assert await old.get_file(tree / "f") == b"new"
        assert [stat.name for stat in await old.get_dir(tree.root)] == ["d", "f"]
        fd = await old.open(tree / "f")
        assert await old.read(fd, 10) == b"new"
        await old.close_fd(fd)
        assert (await old.stat(tree / "f")).length == 3

    @needs("fences")
    async def test_equal_and_newer_fences_pass(self, tree: Tree) -> None:
        """L-20, L-21: by epoch, then by number; a newer one is remembered."""
        order = [(1, 0), (1, 0), (1, 5), (2, 0), (2, 1), (10, 3)]
        sc = await tree.client()
        for epoch, seqno in order:
            await sc.fence_dir(tree.root, fence(tree, epoch, seqno))
            await sc.put_file(tree / "f", f"{epoch}.{seqno}".encode())
        for epoch, seqno in ((10, 2), (9, 99), (2, 1), (0, 0)):
            await sc.fence_dir(tree.root, fence(tree, epoch, seqno))
            with pytest.raises(serr.Stale):
                await sc.put_file(tree / "f", b"x")
        await sc.fence_dir(tree.root, fence(tree, 10, 3))
        await sc.put_file(tree / "f", b"equal")
        assert await tree.sc.get_file(tree / "f") == b"equal"

    @needs("fences")
    async def test_no_fence_passes(self, tree: Tree) -> None:
        """L-20: a fence binds only those who carry it."""
        old, _ = await leaders(tree)
        await tree.sc.put_file(tree / "f", b"anybody")
        await old.fence_dir(tree.root, Fence())
        await old.put_file(tree / "f", b"no longer fenced")

    @needs("fences")
    async def test_fences_of_other_pathnames_are_independent(self, tree: Tree) -> None:
        """L-21: the newest is kept per pathname."""
        await leaders(tree)
        sc = await tree.client()
        await sc.fence_dir(tree.root, fence(tree, 1, of="other"))
        await sc.put_file(tree / "g", b"x")
        assert await tree.sc.get_file(tree / "g") == b"x"

    @needs("fences")
    async def test_a_fenced_directory_and_what_is_beside_it(self, tree: Tree) -> None:
        """L-24: a prefix match, component by component; the longest counts."""
        for name in ("d", "dd"):
            await tree.sc.mkdir(tree / name)
        await tree.sc.put_file(tree / "mark", b"")
        await tree.sc.remove(tree / "mark", fence(tree, 5))
        sc = await tree.client()
        await sc.fence_dir(tree / "d", fence(tree, 1))
        with pytest.raises(serr.Stale):
            await sc.put_file(tree / "d/f", b"")
        await sc.put_file(tree / "dd/f", b"")
        await sc.put_file(tree / "f", b"")
        await sc.mkdir(tree / "d2")
        await tree.sc.mkdir(tree / "d/inner")
        await sc.fence_dir(tree / "d/inner", fence(tree, 6))
        await sc.put_file(tree / "d/inner/f", b"")  # under the fence of ``d`` it would be Stale

    @needs("fences")
    async def test_a_failed_change_is_no_leadership(self, tree: Tree) -> None:
        """L-21: what is refused for another reason says that reason, and changes nothing."""
        sc = await tree.client()
        await sc.fence_dir(tree.root, fence(tree, 1))
        with pytest.raises(serr.NotFound):
            await sc.remove(tree / "no")
        await sc.mkdir(tree / "d")
        with pytest.raises(serr.Exists):
            await sc.mkdir(tree / "d")
        assert await tree.names() == ["d"]

    @needs("fences", "shows_fences")
    async def test_fences_are_shown_and_removed(self, tree: Tree) -> None:
        """L-24: who was shut out is let in again."""
        old, _ = await leaders(tree)
        assert fence(tree, 2) in await tree.sc.get_fences(tree.root)
        assert fence(tree, 1) not in await tree.sc.get_fences(tree.root)
        await tree.sc.remove_fence([tree.root])
        assert await tree.sc.get_fences(tree.root) == []
        await old.put_file(tree / "f", b"back again")
        assert await tree.sc.get_fences(tree.root) == [fence(tree, 1)]
        await tree.sc.remove_fence([tree.root])
