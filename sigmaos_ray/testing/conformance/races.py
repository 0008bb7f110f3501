"""Many clients at once (P-15): each operation is one moment."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from sigmaos_ray import serr
from sigmaos_ray.sigmap import OAPPEND, OWRITE
from sigmaos_ray.testing.conformance.base import Suite, Tree, outcomes
from sigmaos_ray.testing.conformance.refusals import needs


class ConcurrencyTests(Suite):
    """Races have one winner; nothing is lost, doubled, or torn."""

    @pytest.mark.parametrize("kind", ["create", "mkdir"])
    async def test_one_creates(self, tree: Tree, kind: str) -> None:
        """P-15: of n clients one makes the name, the others get Exists."""
        clients = await tree.clients(4)

        async def make(number: int) -> None:
            sc = clients[number % len(clients)]
            if kind == "mkdir":
                await sc.mkdir(tree / "x")
            else:
                await sc.close_fd(await sc.create(tree / "x", mode=OWRITE | 4))

        won = await outcomes((make(number) for number in range(tree.can.racers_count)), serr.Exists)
        assert won.count(True) == 1
        assert await tree.names() == ["x"]

    async def test_one_removes(self, tree: Tree) -> None:
        """P-11, P-15: the others get NotFound."""
        clients = await tree.clients(4)
        await tree.sc.put_file(tree / "f", b"")
        await tree.sc.mkdir(tree / "d")
        for name in ("f", "d"):
            removals = (clients[at % len(clients)].remove(tree / name) for at in range(tree.can.racers_count))
            assert (await outcomes(removals, serr.NotFound)).count(True) == 1
        assert await tree.names() == []

    async def test_many_in_one_directory(self, tree: Tree) -> None:
        """Creates and removes of many names side by side."""
        workers = tree.can.racers_count

        async def work(number: int) -> None:
            for turn in range(3):
                await tree.sc.put_file(tree / f"{number}-{turn}", b"")
                await tree.sc.remove(tree / f"{number}-{turn}")
            await tree.sc.put_file(tree / f"{number}", b"")

        await asyncio.gather(*(work(number) for number in range(workers)))
        assert await tree.names() == sorted(str(number) for number in range(workers))

    async def test_a_directory_is_removed_or_filled_but_not_both(self, tree: Tree) -> None:
        """P-11, P-15."""
        for turn in range(5):
            name = f"d{turn}"
            await tree.sc.mkdir(tree / name)
            removed, filled = await outcomes(
                (tree.sc.remove(tree / name), tree.sc.put_file(tree / f"{name}/f", b"")), serr.NotEmpty, serr.NotFound
            )
            there = await tree.names(name) if name in await tree.names() else None
            if tree.can.keeps_removed:
                assert removed != filled
            assert there == (["f"] if filled else None)

    @needs("append")
    async def test_appends_are_all_there(self, tree: Tree) -> None:
        """P-15, R-6: each once, through many descriptors and sessions."""
        await tree.sc.put_file(tree / "log", b"")
        clients = await tree.clients(3)
        turns, workers = 5, 9

        async def work(number: int) -> None:
            sc = clients[number % len(clients)]
            fd = await sc.open(tree / "log", OWRITE | OAPPEND)
            for turn in range(turns):
                await sc.write(fd, f"{number}.{turn}\n".encode())
            await sc.close_fd(fd)

        await asyncio.gather(*(work(number) for number in range(workers)))
        lines = (await tree.sc.get_file(tree / "log")).decode().splitlines()
        assert sorted(lines) == sorted(f"{number}.{turn}" for number in range(workers) for turn in range(turns))
        for number in range(workers):
            mine = [line for line in lines if line.startswith(f"{number}.")]
            assert mine == sorted(mine), "in the order in which one client wrote them"

    @needs("writes_in_place")
    async def test_writes_side_by_side(self, tree: Tree) -> None:
        """F-1, P-15: at different offsets of one file, all arrive."""
        size, count = 1000, 16
        fd = await tree.sc.create(tree / "f")
        fid = tree.sc.core.fds.get(fd).fid
        await asyncio.gather(*(fid.write(at * size, bytes([at]) * size) for at in reversed(range(count))))
        await tree.sc.close_fd(fd)
        assert await tree.sc.get_file(tree / "f") == b"".join(bytes([at]) * size for at in range(count))

    async def test_reads_and_writes_of_one_file_are_not_torn(self, tree: Tree) -> None:
        """P-15: a put of one message is seen whole through one read."""
        values = [bytes([65 + number]) * 4000 for number in range(5)]
        await tree.sc.put_file(tree / "f", values[0])
        reader = await tree.client()

        async def write() -> None:
            for value in values * 3:
                await tree.sc.put_file(tree / "f", value)

        writing = tree.start(write())
        while not writing.done():
            assert await reader.get_file(tree / "f") in values
        await writing

    @needs("rename")
    async def test_tasks_are_handed_out_once(self, tree: Tree) -> None:
        """P-11: workers that claim tasks by renaming them; each is done by one."""
        for name in ("todo", "done"):
            await tree.sc.mkdir(tree / name)
        tasks = [f"t{number}" for number in range(12)]
        for name in tasks:
            await tree.sc.put_file(tree / f"todo/{name}", b"")
        workers = await tree.clients(3)
        claimed: list[list[str]] = [[] for _ in workers]

        async def work(number: int) -> None:
            sc = workers[number]
            while entries := await sc.get_dir(tree / "todo"):
                for stat in entries:
                    try:
                        await sc.rename(tree / f"todo/{stat.name}", tree / f"done/{stat.name}")
                    except serr.NotFound:
                        continue
                    claimed[number].append(stat.name)

        await asyncio.gather(*(work(number) for number in range(len(workers))))
        assert sorted(itertools.chain(*claimed)) == sorted(tasks)
        assert await tree.names("done") == sorted(tasks)

    async def test_many_clients(self, tree: Tree) -> None:
        """S-1: each with a session of its own."""
        clients = await tree.clients(20)
        await asyncio.gather(*(sc.put_file(tree / f"{at:02}", b"x") for at, sc in enumerate(clients)))
        listings = await asyncio.gather(*(sc.get_dir(tree.root) for sc in clients))
        assert {len(listing) for listing in listings} == {20}

    async def test_many_requests_of_one_client(self, tree: Tree) -> None:
        """P-3, S-2: any number under way, answered each with its own."""
        count = min(200, tree.can.entries_count)
        await asyncio.gather(*(tree.sc.put_file(tree / f"{at}", str(at).encode()) for at in range(count)))
        read = await asyncio.gather(*(tree.sc.get_file(tree / f"{at}") for at in range(count)))
        assert read == [str(at).encode() for at in range(count)]
