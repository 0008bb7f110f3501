"""A call on a name is one moment, also if it takes several messages: what others do between two of them comes before it
or after it (P-11, P-15)."""

from __future__ import annotations

from sigmaos_ray import serr
from sigmaos_ray.testing.conformance.base import Suite, Tree, outcomes
from sigmaos_ray.testing.conformance.between import between_messages
from sigmaos_ray.testing.conformance.refusals import needs


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
