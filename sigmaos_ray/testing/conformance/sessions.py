"""Sessions as a client sees them: what is whose, and what ends with it (S-1 to S-9, P-14)."""

from __future__ import annotations

import time

import pytest

from sigmaos_ray import serr
from sigmaos_ray.sigmap import OREAD, OWRITE
from sigmaos_ray.testing.conformance.base import PATIENCE_S, Suite, Tree, all_raise
from sigmaos_ray.testing.conformance.refusals import needs


async def fid_count(tree: Tree) -> int:
    """Of all sessions of the server."""
    counts = await tree.sc.read_srv_stats(await tree.sc.server_of(tree / "x"))
    return int(counts["fid_count"])


async def fids_left(tree: Tree, count_before: int) -> int:
    """How many there are more than before, once those that are about to be clunked are."""
    deadline_s = time.monotonic() + PATIENCE_S
    while (more := await fid_count(tree) - count_before) > 0 and time.monotonic() < deadline_s:
        continue
    return max(more, 0)


class SessionTests(Suite):
    """Fids belong to a client; files do not."""

    async def test_a_client_that_was_closed(self, tree: Tree) -> None:
        """S-8: every operation is Unreachable, none hangs; closing twice is fine."""
        sc = await tree.client()
        await sc.put_file(tree / "f", b"stays")
        fd = await sc.open(tree / "f")
        await sc.close_fs()
        await all_raise(
            serr.Unreachable,
            sc.get_file(tree / "f"),
            sc.put_file(tree / "f", b"x"),
            sc.open(tree / "f"),
            sc.create(tree / "g"),
            sc.stat(tree / "f"),
            sc.get_dir(tree.root),
            sc.remove(tree / "f"),
            sc.rename(tree / "f", tree / "g"),
        )
        with pytest.raises(serr.SESSION_ERRORS):
            await sc.read(fd, 1)
        await sc.close_fs()
        assert await tree.sc.get_file(tree / "f") == b"stays"

    async def test_a_client_that_was_disconnected(self, tree: Tree) -> None:
        """S-8 Disconnect: for good, for what is open and for pathnames; others go on."""
        sc = await tree.client()
        await sc.put_file(tree / "f", b"x")
        fd = await sc.open(tree / "f", OWRITE)
        await sc.disconnect(tree / "f")
        assert await sc.disconnected()
        await all_raise(
            serr.Unreachable, sc.write(fd, b"y"), sc.open(tree / "f"), sc.get_file(tree / "f"), sc.close_fd(fd)
        )
        assert await tree.sc.get_file(tree / "f") == b"x"

    async def test_descriptors_are_the_clients_own(self, tree: Tree) -> None:
        """S-1, P-14: closing one client leaves what another one has open."""
        await tree.sc.put_file(tree / "f", b"data")
        one, two = await tree.clients(2)
        await one.open(tree / "f")
        fd = await two.open(tree / "f")
        await one.close_fs()
        assert await two.read(fd, 10) == b"data"
        await two.close_fd(fd)

    @needs("reports")
    async def test_the_end_of_a_session_frees_its_fids(self, tree: Tree) -> None:
        """P-14, S-5."""
        await tree.sc.put_file(tree / "f", b"data")
        sc = await tree.client()
        for _ in range(10):
            await sc.open(tree / "f")
        opened = await fid_count(tree)  # with those of sessions that are ending
        await sc.close_fs()
        assert await fid_count(tree) <= opened - 10

    @needs("reports")
    async def test_calls_leave_no_fids_behind(self, tree: Tree) -> None:
        """Whether they work or fail."""
        await tree.sc.mkdir(tree / "d")
        await tree.sc.put_file(tree / "d/f", b"data")
        before = await fid_count(tree)
        for call in (
            tree.sc.get_dir(tree / "d"),
            tree.sc.get_file(tree / "d/f"),
            tree.sc.stat(tree / "d/f"),
            tree.sc.put_file(tree / "d/g", b""),
            tree.sc.copy_file(tree / "d/f", tree / "d/h"),
            tree.sc.rmdir(tree / "d"),
            tree.sc.get_file(tree / "no"),
            tree.sc.open(tree / "no"),
            tree.sc.create(tree / "no/x"),
            tree.sc.get_dir(tree / "no"),
            tree.sc.rename(tree / "no", tree / "x"),
            tree.sc.mkdir(tree / "d"),
            tree.sc.mkdir(tree / "d"),
            tree.sc.remove(tree / "d"),
        ):
            try:
                await call
            except serr.SigmaError:
                continue
        assert await fids_left(tree, before) == 0

    async def test_what_a_listing_costs(self, tree: Tree) -> None:
        """One message opens, and one frees."""
        await tree.sc.put_file(tree / "f", b"")
        before = tree.sc.stats()["sp"]
        await tree.sc.get_dir(tree.root)
        after = tree.sc.stats()["sp"]
        spent = {kind: after[kind] - before.get(kind, 0) for kind in after if after[kind] != before.get(kind, 0)}
        reads_count = spent.pop("read")
        assert reads_count <= 2
        assert spent == {"openfile": 1, "clunk": 1}

    async def test_whole_files_cost_one_request(self, tree: Tree) -> None:
        """N-10."""
        await tree.sc.put_file(tree / "f", b"x")
        before = tree.sc.stats()["sp"]
        await tree.sc.get_file(tree / "f")
        await tree.sc.put_file(tree / "f", b"y")
        await tree.sc.stat(tree / "f")
        await tree.sc.remove(tree / "f")
        after = tree.sc.stats()["sp"]
        assert sum(after.values()) == sum(before.values()) + 4

    async def test_detaching(self, tree: Tree) -> None:
        """P-3: drops what the client has open; a later walk attaches anew."""
        sc = await tree.client()
        await sc.put_file(tree / "f", b"x")
        fd = await sc.open(tree / "f")
        server = await sc.server_of(tree / "f")
        assert server in await sc.mounts()
        await sc.detach(server)
        with pytest.raises((serr.UnknownFid, *serr.SESSION_ERRORS)):
            await sc.read(fd, 1)
        assert await sc.get_file(tree / "f") == b"x"
        with pytest.raises(serr.NotFound):
            await sc.detach(tree / "nothing")

    async def test_another_way_to_the_same_tree(self, tree: Tree) -> None:
        """A subtree that is mounted by hand: for this client alone."""
        await tree.sc.mkdir_path(tree.root, "d/e")
        await tree.sc.put_file(tree / "d/e/f", b"x")
        endpoint, rest = await tree.sc.copy_endpoint(tree / "d")
        sc = await tree.client()
        await sc.mount_tree(endpoint, rest, tree / "mounted")
        assert await sc.get_file(tree / "mounted/e/f") == b"x"
        assert await sc.path_last_mount(tree / "mounted/e/f") == (tree / "mounted", "e/f")
        with pytest.raises(serr.NotFound):
            await tree.sc.get_file(tree / "mounted/e/f")
        with pytest.raises(serr.NotFound):
            await sc.mount_tree(endpoint, f"{rest}/no", tree / "other")
        await sc.detach(tree / "mounted")
        with pytest.raises(serr.NotFound):
            await sc.get_file(tree / "mounted/e/f")

    async def test_an_unfinished_write_of_a_client_that_goes(self, tree: Tree) -> None:
        """S-5: what was acknowledged stays; what appears at the close does not appear."""
        sc = await tree.client()
        fd = await sc.create(tree / "f")
        await sc.write(fd, b"data")
        await sc.close_fs()
        if tree.can.writes_in_place:
            assert await tree.sc.get_file(tree / "f") == b"data"
        else:
            assert await tree.names() == []

    async def test_a_directory_that_a_client_reads_when_it_goes(self, tree: Tree) -> None:
        """P-14: is nobody's any more: it can be removed."""
        sc = await tree.client()
        await tree.sc.mkdir(tree / "d")
        await sc.open(tree / "d", OREAD)
        await sc.close_fs()
        await tree.sc.remove(tree / "d")
        assert await tree.names() == []
