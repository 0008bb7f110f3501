"""Symlinks and endpoint files: what a slash at the end changes (N-3, N-4, N-7)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from sigmaos_ray import serr
from sigmaos_ray.sigmap import OEXCL, OREAD, OWRITE, Endpoint
from sigmaos_ray.testing.conformance.base import Suite, Tree, all_raise
from sigmaos_ray.testing.conformance.refusals import needs

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sigmaos_ray.fslib import AsyncFsLib


class LinkTests(Suite):
    """``a/b`` is the link, ``a/b/`` what it leads to."""

    @needs("links")
    async def test_a_link_to_a_file(self, tree: Tree) -> None:
        """N-3: get, stat, open of the link, and of its target."""
        await tree.sc.put_file(tree / "f", b"contents")
        await tree.sc.symlink(tree / "f", tree / "l")
        link, target = await tree.sc.stat(tree / "l"), await tree.sc.stat(tree / "l/")
        assert (link.name, link.is_symlink, link.is_endpoint, link.is_dir) == ("l", True, False, False)
        assert (target.is_symlink, target.qid.path) == (False, (await tree.sc.stat(tree / "f")).qid.path)
        assert await tree.sc.get_file(tree / "l") == (tree / "f").encode()
        assert await tree.sc.get_file(tree / "l/") == b"contents"
        for pn, contents in ((tree / "l", (tree / "f").encode()), (tree / "l/", b"contents")):
            fd = await tree.sc.open(pn)
            assert await tree.sc.read(fd, 1000) == contents
            await tree.sc.close_fd(fd)

    @needs("links")
    async def test_writing_a_link_and_its_target(self, tree: Tree) -> None:
        """N-3: a put overwrites the bytes of the link itself, with a slash those of the target."""
        await tree.sc.put_file(tree / "f", b"contents")
        await tree.sc.put_file(tree / "g", b"of g")
        await tree.sc.symlink(tree / "f", tree / "l")
        await tree.sc.put_file(tree / "l/", b"new")
        assert await tree.sc.get_file(tree / "f") == b"new"
        await tree.sc.set_file(tree / "l/", b"N")
        assert await tree.sc.get_file(tree / "f") == b"New"
        await tree.sc.put_file(tree / "l", (tree / "g").encode())
        assert (await tree.sc.stat(tree / "l")).is_symlink
        assert await tree.sc.get_file(tree / "l/") == b"of g"
        assert await tree.sc.get_file(tree / "f") == b"New"
        fd = await tree.sc.open(tree / "l/", OWRITE)
        await tree.sc.write(fd, b"OF")
        await tree.sc.close_fd(fd)
        assert await tree.sc.get_file(tree / "g") == b"OF g"

    @needs("links")
    async def test_removing_a_link_and_its_target(self, tree: Tree) -> None:
        """N-3: a removal takes the link and leaves the target; with a slash the other way round."""
        await tree.sc.put_file(tree / "f", b"1")
        await tree.sc.symlink(tree / "f", tree / "l")
        await tree.sc.remove(tree / "l")
        assert await tree.names() == ["f"]
        await tree.sc.symlink(tree / "f", tree / "l")
        await tree.sc.remove(tree / "l/")
        assert await tree.names() == ["l"]
        with pytest.raises(serr.NotFound):
            await tree.sc.get_file(tree / "l/")

    @needs("links")
    async def test_a_link_to_a_directory(self, tree: Tree) -> None:
        """N-3, N-7: listing needs the slash; components in the middle are always resolved."""
        await tree.sc.mkdir_path(tree.root, "d/e")
        await tree.sc.put_file(tree / "d/f", b"x")
        await tree.sc.symlink(tree / "d", tree / "l")
        with pytest.raises(serr.NotDir):
            await tree.sc.get_dir(tree / "l")
        assert [stat.name for stat in await tree.sc.get_dir(tree / "l/")] == ["e", "f"]
        assert await tree.sc.get_file(tree / "l/f") == b"x"
        await tree.sc.put_file(tree / "l/g", b"y")
        await tree.sc.mkdir(tree / "l/e/deep")
        await tree.sc.create(tree / "l/e/h")
        assert await tree.names("d/e") == ["deep", "h"]
        await tree.sc.remove(tree / "l/g")
        assert await tree.names("d") == ["e", "f"]
        assert await tree.sc.is_dir(tree / "l/")

    @needs("links")
    async def test_links_to_links(self, tree: Tree) -> None:
        """N-7: followed one after the other."""
        await tree.sc.put_file(tree / "f", b"x")
        await tree.sc.mkdir(tree / "d")
        await tree.sc.symlink(tree / "f", tree / "l1")
        await tree.sc.symlink(tree / "l1/", tree / "d/l2")
        await tree.sc.symlink(tree / "d", tree / "l3")
        assert await tree.sc.get_file(tree / "l3/l2/") == b"x"

    @needs("links")
    async def test_a_link_that_leads_nowhere(self, tree: Tree) -> None:
        """The target need not exist; it is missed when it is wanted."""
        await tree.sc.symlink(tree / "later", tree / "l")
        assert await tree.names() == ["l"]
        await all_raise(
            serr.NotFound, tree.sc.get_file(tree / "l/"), tree.sc.open(tree / "l/"), tree.sc.get_file(tree / "l/deeper")
        )
        await tree.sc.put_file(tree / "later", b"now")
        assert await tree.sc.get_file(tree / "l/") == b"now"

    @needs("links")
    async def test_a_slash_behind_a_link_that_leads_nowhere(self, tree: Tree) -> None:
        """N-3: what is put is the target; the link stays what it is."""
        puts: list[Callable[[str], Awaitable[object]]] = [
            partial(tree.sc.put_file, data=b"x"),
            partial(tree.sc.put_file, data=b"x", mode=OWRITE | OEXCL),
            partial(tree.sc.put_file_atomic, data=b"x"),
            partial(_written, tree.sc, data=b"x"),
        ]
        for number, put in enumerate(puts):
            await tree.sc.symlink(tree / f"t{number}", tree / f"l{number}")
            await put(tree / f"l{number}/")
            assert await tree.sc.get_file(tree / f"t{number}") == b"x"
            assert await tree.sc.get_file(tree / f"l{number}") == (tree / f"t{number}").encode()

    @needs("links")
    async def test_a_slash_behind_a_link_and_what_must_not_be_there(self, tree: Tree) -> None:
        """N-3: OEXCL is about the target, of puts, links, copies and writers; nothing is written."""
        await tree.sc.put_file(tree / "t", b"old")
        await tree.sc.put_file(tree / "src", b"new")
        await tree.sc.symlink(tree / "t", tree / "l")
        await all_raise(
            serr.Exists,
            tree.sc.put_file(tree / "l/", b"new", mode=OWRITE | OEXCL),
            tree.sc.symlink("name/x", tree / "l/"),
            tree.sc.copy_file(tree / "src", tree / "l/"),
        )
        assert await tree.sc.get_file(tree / "t") == b"old"
        assert await tree.sc.get_file(tree / "l") == (tree / "t").encode()

    @needs("links", "leases")
    async def test_a_leased_file_behind_a_link(self, tree: Tree) -> None:
        """N-3, L-2: the lease is the target's."""
        lease = await tree.lease()
        await tree.sc.symlink(tree / "t", tree / "l")
        await tree.sc.put_leased_file(tree / "l/", b"x", lease)
        await all_raise(serr.Exists, tree.sc.put_leased_file(tree / "l/", b"x", lease))
        await lease.end()
        assert await tree.names() == ["l"]

    @needs("links")
    async def test_links_in_circles(self, tree: Tree) -> None:
        """N-7: more than 8 restarts are Unreachable."""
        await tree.sc.symlink(tree / "b", tree / "a")
        await tree.sc.symlink(tree / "a", tree / "b")
        errors = await all_raise(
            serr.Unreachable, tree.sc.get_file(tree / "a/"), tree.sc.open(tree / "b/x"), tree.sc.stat(tree / "a/")
        )
        assert all("symlink" in str(error) for error in errors)
        await tree.sc.remove(tree / "a")
        assert await tree.names() == ["b"]

    @needs("links")
    async def test_names_that_are_taken(self, tree: Tree) -> None:
        """Exists, whatever is to be made."""
        await tree.sc.put_file(tree / "f", b"x")
        await tree.sc.symlink(tree / "f", tree / "l")
        for name in ("f", "l"):
            await all_raise(
                serr.Exists,
                tree.sc.symlink(tree.root, tree / name),
                tree.sc.mk_endpoint_file(tree / name, Endpoint(addrs=("127.0.0.1:1",))),
                tree.sc.create(tree / name),
                tree.sc.mkdir(tree / name),
            )
        assert await tree.sc.get_file(tree / "l/") == b"x"

    @needs("links")
    async def test_a_directory_with_links_is_removed_without_following(self, tree: Tree) -> None:
        """Links inside are removed, never followed."""
        await tree.sc.mkdir_path(tree.root, "keep/below")
        await tree.sc.put_file(tree / "keep/f", b"x")
        await tree.sc.mkdir(tree / "d")
        await tree.sc.symlink(tree / "keep", tree / "d/l")
        await tree.sc.symlink(tree / "d", tree / "d/itself")
        await tree.sc.rmdir(tree / "d")
        assert await tree.names("keep") == ["below", "f"]
        assert await tree.names() == ["keep"]

    @needs("links", "rename")
    async def test_a_rename_moves_the_link(self, tree: Tree) -> None:
        """N-3: the link itself; and over a link, which goes, while its target stays."""
        await tree.sc.put_file(tree / "f", b"x")
        await tree.sc.put_file(tree / "g", b"y")
        await tree.sc.mkdir(tree / "d")
        await tree.sc.symlink(tree / "f", tree / "l")
        await tree.sc.rename(tree / "l", tree / "d/l")
        assert await tree.sc.get_file(tree / "d/l/") == b"x"
        await tree.sc.rename(tree / "g", tree / "d/l")
        assert await tree.sc.get_file(tree / "d/l") == b"y"
        assert not (await tree.sc.stat(tree / "d/l")).is_symlink
        assert await tree.sc.get_file(tree / "f") == b"x"

    @needs("links", "rename")
    async def test_parents_of_a_rename_are_resolved(self, tree: Tree) -> None:
        """N-3: both parents, whether they are links or not; also where both lead to one directory."""
        await tree.sc.mkdir(tree / "d")
        await tree.sc.symlink(tree / "d", tree / "l")
        await tree.sc.put_file(tree / "f", b"x")
        for old, new in (("f", "l/f"), ("l/f", "d/g"), ("d/g", "l/h"), ("l/h", "back")):
            await tree.sc.rename(tree / old, tree / new)
            assert await tree.sc.get_file(tree / new) == b"x"

    @needs("links")
    async def test_an_endpoint_leads_to_its_server(self, tree: Tree) -> None:
        """N-3, N-4: contents of the file, and what is in the server's root."""
        endpoint = await tree.elsewhere()
        await tree.sc.mk_endpoint_file(tree / "m", endpoint)
        stat = await tree.sc.stat(tree / "m")
        assert (stat.is_endpoint, stat.is_symlink) == (True, False)
        assert Endpoint.from_bytes(await tree.sc.get_file(tree / "m")) == endpoint
        assert await tree.sc.read_endpoint(tree / "m") == endpoint
        await tree.sc.put_file(tree / "m/f", b"there")
        assert await tree.sc.get_file(tree / "m/f") == b"there"
        assert "f" in [stat.name for stat in await tree.sc.get_dir(tree / "m/")]
        assert await tree.sc.is_dir(tree / "m/")
        assert await tree.sc.path_last_mount(tree / "m/f") == (tree / "m", "f")
        assert await tree.names() == ["m"]

    @needs("links")
    async def test_an_endpoint_file_after_it_was_used(self, tree: Tree) -> None:
        """N-5: though it is mounted it can be looked at, overwritten and removed; the server stays."""
        first, second = await tree.elsewhere(), await tree.elsewhere()
        await tree.sc.mk_endpoint_file(tree / "m", first)
        await tree.sc.put_file(tree / "m/f", b"1")
        assert (await tree.sc.stat(tree / "m")).is_endpoint
        assert await tree.sc.read_endpoint(tree / "m") == first
        await tree.sc.write_endpoint_file(tree / "m", second)
        assert await tree.sc.read_endpoint(tree / "m") == second
        other = await tree.client()
        with pytest.raises(serr.NotFound):
            await other.get_file(tree / "m/f")
        await tree.sc.remove(tree / "m")
        assert await tree.names() == []

    @needs("links")
    async def test_an_endpoint_of_a_subtree(self, tree: Tree) -> None:
        """N-4, N-7: attaches to the root that the endpoint names."""
        endpoint = await tree.elsewhere()
        await tree.sc.mk_endpoint_file(tree / "m", endpoint)
        await tree.sc.mkdir_path(tree / "m", "a/b")
        await tree.sc.put_file(tree / "m/a/b/f", b"deep")
        below = Endpoint(addrs=endpoint.addrs, root="a/b", realm=endpoint.realm)
        await tree.sc.mk_endpoint_file(tree / "below", below)
        assert await tree.sc.get_file(tree / "below/f") == b"deep"
        assert [stat.name for stat in await tree.sc.get_dir(tree / "below/")] == ["f"]

    @needs("links")
    async def test_links_between_servers(self, tree: Tree) -> None:
        """N-7: a symlink there may lead back here, and on."""
        await tree.sc.put_file(tree / "f", b"home")
        await tree.sc.mk_endpoint_file(tree / "m", await tree.elsewhere())
        await tree.sc.symlink(tree / "f", tree / "m/back")
        await tree.sc.symlink(tree / "m", tree / "there")
        assert await tree.sc.get_file(tree / "m/back/") == b"home"
        assert await tree.sc.get_file(tree / "there/back/") == b"home"

    @needs("links")
    async def test_what_is_no_endpoint_file(self, tree: Tree) -> None:
        """Inval for a file of another sort."""
        await tree.sc.put_file(tree / "f", b"x")
        with pytest.raises(serr.Inval):
            await tree.sc.read_endpoint(tree / "f")
        with pytest.raises(serr.NotFound):
            await tree.sc.read_endpoint(tree / "no")

    @needs("links")
    async def test_the_second_call_needs_no_walk(self, tree: Tree) -> None:
        """N-10: one request through a mount that is known."""
        await tree.sc.mk_endpoint_file(tree / "m", await tree.elsewhere())
        await tree.sc.put_file(tree / "m/f", b"x")
        await tree.sc.get_file(tree / "m/f")
        before = tree.sc.stats()
        await tree.sc.get_file(tree / "m/f")
        after = tree.sc.stats()
        assert after["path"].get("NwalkPath") == before["path"].get("NwalkPath")
        assert sum(after["sp"].values()) == sum(before["sp"].values()) + 1

    @needs("links")
    async def test_a_walk_stops_at_a_link(self, tree: Tree) -> None:
        """N-7: without error, with the qids of the way up to it."""
        await tree.sc.mkdir(tree / "d")
        await tree.sc.symlink(tree.root, tree / "d/l")
        fid = await tree.sc.core.open_fid(tree.root, OREAD)
        end, qids = await fid.walk(["d", "l", "f"])
        assert [qid.is_symlink for qid in qids] == [False, True]
        for each in (end, fid):
            await each.clunk()


async def _written(sc: AsyncFsLib, pn: str, data: bytes) -> None:
    async with sc.create_writer(pn) as writer:
        await writer.write(data)
