"""Leased files: they go with their lease (L-1 to L-6)."""

from __future__ import annotations

import asyncio

import pytest

from sigmaos_ray import serr
from sigmaos_ray.leaseclnt import AsyncLeaseClnt
from sigmaos_ray.sigmap import DMTMP, OEXCL, OWRITE
from sigmaos_ray.testing.conformance.base import PATIENCE_S, Suite, Tree, all_raise
from sigmaos_ray.testing.conformance.refusals import needs

TTL_S = 2.0
"""Long enough that a machine with other work to do extends it in time."""
LATE_S = 10.0
"""An expiry is seen within so long, at the slowest."""


class LeaseTests(Suite):
    """Leases that are ended, lost, and kept."""

    @needs("leases")
    async def test_the_files_of_a_lease_go_when_it_is_ended(self, tree: Tree) -> None:
        """L-1, L-2: all of them, and at once for those who ask afterwards; others stay."""
        lease = await tree.lease()
        for name in ("a", "b"):
            await tree.sc.put_leased_file(tree / name, b"data", lease)
        await tree.sc.put_file(tree / "stays", b"")
        assert await tree.sc.get_file(tree / "a") == b"data"
        assert (await tree.sc.stat(tree / "a")).mode & DMTMP
        assert not (await tree.sc.stat(tree / "stays")).mode & DMTMP
        await lease.end()
        await tree.sc.wait_remove(tree / "a", PATIENCE_S)
        await tree.sc.wait_remove(tree / "b", PATIENCE_S)
        assert await tree.names() == ["stays"]
        await all_raise(
            serr.NotFound, tree.sc.open(tree / "a"), tree.sc.remove(tree / "a"), tree.sc.get_file(tree / "a")
        )
        await tree.sc.put_file(tree / "a", b"new", mode=OWRITE | OEXCL)

    @needs("leases", "watches")
    async def test_watchers_hear_of_the_end(self, tree: Tree) -> None:
        """L-2, W-12: a REMOVE event like that of an explicit removal."""
        lease = await tree.lease()
        async with tree.sc.watch_dir(tree.root) as watch:
            await tree.sc.put_leased_file(tree / "f", b"", lease)
            await lease.end()
            events = [await watch.next_event(PATIENCE_S) for _ in range(2)]
        assert [(event.kind, event.name) for event in events] == [("created", "f"), ("removed", "f")]

    @needs("leases")
    async def test_one_lease_per_client_and_server(self, tree: Tree) -> None:
        """L-1: asking again returns it; another client has another one."""
        clnt = AsyncLeaseClnt(tree.sc)
        first = await clnt.ask_lease(tree / "a", 30)
        assert await clnt.ask_lease(tree / "b", 30) is first
        other = await tree.lease(await tree.client())
        assert other.id != first.id
        await clnt.end_leases()

    @needs("leases")
    async def test_a_lease_that_is_over(self, tree: Tree) -> None:
        """L-1: extending is NotFound, ending twice is fine, and no file is made under it."""
        lease = await tree.lease()
        await lease.extend()
        await lease.end()
        await lease.end()
        with pytest.raises(serr.NotFound):
            await lease.extend()
        for lease_id in (lease.id, 12345):
            with pytest.raises(serr.NotFound):
                await tree.sc.put_leased_file(tree / "f", b"", lease_id)
        assert await tree.names() == []

    @needs("leases")
    async def test_leased_files_are_exclusive(self, tree: Tree) -> None:
        """Exists if the name is taken."""
        lease = await tree.lease()
        await tree.sc.put_file(tree / "f", b"1")
        await all_raise(
            serr.Exists,
            tree.sc.put_leased_file(tree / "f", b"", lease),
            tree.sc.create_leased(tree / "f", 0o777, OWRITE, lease),
        )
        fd = await tree.sc.create_leased(tree / "g", 0o777, OWRITE, lease)
        await tree.sc.write(fd, b"data")
        await tree.sc.close_fd(fd)
        assert await tree.sc.get_file(tree / "g") == b"data"
        for none in (None, "1", True, 0):
            with pytest.raises(serr.Inval):
                await tree.sc.put_leased_file(tree / "h", b"", none)
        assert await tree.names() == ["f", "g"]

    @needs("leases")
    async def test_an_open_leased_file(self, tree: Tree) -> None:
        """L-2, P-11: for those who have it open it is a removed file."""
        lease = await tree.lease()
        await tree.sc.put_leased_file(tree / "f", b"data", lease)
        fd = await tree.sc.open(tree / "f")
        await lease.end()
        await tree.sc.wait_remove(tree / "f", PATIENCE_S)
        assert await tree.sc.read(fd, 10) == b"data"
        await tree.sc.close_fd(fd)

    @needs("leases", "rename")
    async def test_a_rename_keeps_the_lease(self, tree: Tree) -> None:
        """L-3: under the new name, also in another directory; the old name is free for files that stay."""
        lease = await tree.lease()
        await tree.sc.mkdir(tree / "d")
        for name in ("f", "g"):
            await tree.sc.put_leased_file(tree / name, b"", lease)
        await tree.sc.rename(tree / "f", tree / "f2")
        await tree.sc.rename(tree / "g", tree / "d/g2")
        for name in ("f", "g"):
            await tree.sc.put_file(tree / name, b"stays")
        await lease.end()
        await tree.sc.wait_remove(tree / "f2", PATIENCE_S)
        await tree.sc.wait_remove(tree / "d/g2", PATIENCE_S)
        assert (await tree.names(), await tree.names("d")) == (["d", "f", "g"], [])

    @needs("leases")
    async def test_removing_ends_the_tie(self, tree: Tree) -> None:
        """L-3: a new ordinary file of the same name survives the old lease."""
        lease = await tree.lease()
        for name in ("f", "last"):
            await tree.sc.put_leased_file(tree / name, b"", lease)
        await tree.sc.remove(tree / "f")
        await tree.sc.put_file(tree / "f", b"stays")
        await lease.end()
        await tree.sc.wait_remove(tree / "last", PATIENCE_S)
        assert await tree.sc.get_file(tree / "f") == b"stays"

    @needs("leases", "rename")
    async def test_a_file_that_replaces_a_leased_one(self, tree: Tree) -> None:
        """L-3: what it was tied to went with it."""
        lease = await tree.lease()
        for name in ("f", "last"):
            await tree.sc.put_leased_file(tree / name, b"", lease)
        await tree.sc.put_file(tree / "new", b"stays")
        await tree.sc.rename(tree / "new", tree / "f")
        await lease.end()
        await tree.sc.wait_remove(tree / "last", PATIENCE_S)
        assert await tree.sc.get_file(tree / "f") == b"stays"

    @needs("leases")
    async def test_a_client_that_goes_leaves_its_files(self, tree: Tree) -> None:
        """L-2, S-5: not removed by the end of a session."""
        sc = await tree.client()
        lease = await AsyncLeaseClnt(sc).ask_lease(tree / "x", 30)
        await sc.put_leased_file(tree / "f", b"data", lease)
        await lease.stop_extending()
        await sc.close_fs()
        assert await tree.sc.get_file(tree / "f") == b"data"

    @needs("leases", "watches")
    async def test_time(self, tree: Tree) -> None:
        """L-1, L-2, L-4: what is extended stays; what is not expires, is told to watchers, and frees its name."""
        extended, lapsing = await asyncio.gather(
            tree.lease(await tree.client(), TTL_S), tree.lease(await tree.client(), TTL_S)
        )
        await tree.sc.put_leased_file(tree / "kept", b"", extended)
        await tree.sc.put_leased_file(tree / "goes", b"", lapsing)
        extended.keep_extending()
        async with tree.sc.watch_dir(tree.root) as watch:
            event = await watch.next_event(lapsing.ttl_s + LATE_S)
        assert (event.kind, event.name) == ("removed", "goes")
        assert lapsing.is_lost
        await all_raise(serr.NotFound, lapsing.extend(), tree.sc.open(tree / "goes"), tree.sc.remove(tree / "goes"))
        await tree.sc.put_file(tree / "goes", b"new")
        await extended.extend()
        assert not extended.is_lost
        assert await tree.names() == ["goes", "kept"]
