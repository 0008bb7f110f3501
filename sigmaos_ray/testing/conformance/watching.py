"""Watches (W-1 to W-12): each change once, none lost, and an end that is told."""

from __future__ import annotations

import asyncio

import pytest

from sigmaos_ray import serr
from sigmaos_ray.sigmap import OREAD
from sigmaos_ray.testing.conformance.base import PATIENCE_S, Suite, Tree, all_raise, soon
from sigmaos_ray.testing.conformance.refusals import needs


class WatchTests(Suite):
    """A watch observes one directory's entries."""

    @needs("watches")
    async def test_each_change_once_in_order(self, tree: Tree) -> None:
        """W-1, W-2: entries only, one level deep."""
        await tree.sc.put_file(tree / "before", b"")
        async with tree.sc.watch_dir(tree.root) as watch:
            await tree.sc.put_file(tree / "a", b"")
            await tree.sc.put_file(tree / "a", b"again")
            await tree.sc.remove(tree / "a")
            await tree.sc.mkdir(tree / "d")
            await tree.sc.put_file(tree / "d/deeper", b"")
            await tree.sc.remove(tree / "d/deeper")
            await tree.sc.remove(tree / "d")
            events = [await watch.next_event(PATIENCE_S) for _ in range(4)]
            assert [(event.kind, event.name) for event in events] == [
                ("created", "a"),
                ("removed", "a"),
                ("created", "d"),
                ("removed", "d"),
            ]
            await tree.sc.put_file(tree / "last", b"")
            assert (await watch.next_event(PATIENCE_S)).name == "last"

    @needs("watches", "rename")
    async def test_renames(self, tree: Tree) -> None:
        """W-2, W-12: a removal and a creation; a move is told to both directories."""
        for name in ("a", "b"):
            await tree.sc.mkdir(tree / name)
        await tree.sc.put_file(tree / "a/f", b"")
        async with tree.sc.watch_dir(tree / "a") as a, tree.sc.watch_dir(tree / "b") as b:
            await tree.sc.rename(tree / "a/f", tree / "a/g")
            await tree.sc.rename(tree / "a/g", tree / "b/h")
            seen_a = [await a.next_event(PATIENCE_S) for _ in range(3)]
            seen_b = await b.next_event(PATIENCE_S)
        assert [(event.kind, event.name) for event in seen_a] == [("removed", "f"), ("created", "g"), ("removed", "g")]
        assert (seen_b.kind, seen_b.name) == ("created", "h")

    @needs("watches", "rename")
    async def test_a_replaced_entry(self, tree: Tree) -> None:
        """W-2: what went, and what came; in the end the name is there."""
        for name in ("f", "g"):
            await tree.sc.put_file(tree / name, b"")
        async with tree.sc.watch_dir(tree.root) as watch:
            await tree.sc.rename(tree / "f", tree / "g")
            await tree.sc.put_file(tree / "last", b"")
            changes: list[tuple[str, str]] = []
            while not changes or changes[-1] != ("created", "last"):
                event = await watch.next_event(PATIENCE_S)
                changes.append((event.kind, event.name))
        assert ("removed", "f") in changes
        assert [kind for kind, name in changes if name == "g"][-1] == "created"

    @needs("watches")
    async def test_events_queue_while_nobody_reads(self, tree: Tree) -> None:
        """W-2: none is lost."""
        file_names = [f"f{number:03}" for number in range(50)]
        async with tree.sc.watch_dir(tree.root) as watch:
            for name in file_names:
                await tree.sc.put_file(tree / name, b"")
            event_names = [(await watch.next_event(PATIENCE_S)).name for _ in file_names]
        assert event_names == file_names

    @needs("watches")
    async def test_a_time_out_loses_nothing(self, tree: Tree) -> None:
        """W-2: the watch stays set."""
        async with tree.sc.watch_dir(tree.root) as watch:
            for name in "ab":
                with pytest.raises(serr.Timeout):
                    await watch.next_event(0.01)
                await tree.sc.put_file(tree / name, b"")
                assert (await watch.next_event(PATIENCE_S)).name == name

    @needs("watches")
    async def test_every_watch_hears_everything(self, tree: Tree) -> None:
        """W-2: watches of one directory do not take events from each other."""
        clients = await tree.clients(3)
        watches = [sc.watch_dir(tree.root) for sc in clients for _ in range(2)]
        for watch in watches:
            await watch.__aenter__()
        await tree.sc.put_file(tree / "f", b"")
        for watch in watches:
            assert (await watch.next_event(PATIENCE_S)).name == "f"
            await watch.__aexit__(None, None, None)

    @needs("watches", "versions")
    async def test_a_directory_that_changed_since_it_was_opened(self, tree: Tree) -> None:
        """W-3: Version; the caller reads it again and sets the watch anew."""
        changes = [tree.sc.put_file(tree / "f", b""), tree.sc.remove(tree / "f")]
        for change in changes:
            fid = await tree.sc.core.open_fid(tree.root, OREAD)
            await change
            with pytest.raises(serr.Version):
                await fid.watch()
            await fid.clunk()
        fid = await tree.sc.core.open_fid(tree.root, OREAD)
        watch = await fid.watch()
        for each in (watch, fid):
            await each.clunk()

    @needs("watches")
    async def test_a_watch_is_not_written(self, tree: Tree) -> None:
        """W-4: Nowrite."""
        fid = await tree.sc.core.open_fid(tree.root, OREAD)
        watch = await fid.watch()
        with pytest.raises(serr.NoWrite):
            await watch.write(0, b"x")
        for each in (watch, fid):
            await each.clunk()

    @needs("watches")
    async def test_what_cannot_be_watched(self, tree: Tree) -> None:
        """W-1: a file, what is missing, what is not open."""
        await tree.sc.put_file(tree / "f", b"")
        for name, error in (("f", serr.NotDir), ("no", serr.NotFound)):
            with pytest.raises(error):
                async with tree.sc.watch_dir(tree / name):
                    pass
        fid = await tree.sc.core.open_fid(tree.root, OREAD)
        clone, _ = await fid.walk([])
        with pytest.raises(serr.Inval):
            await clone.watch()
        for each in (clone, fid):
            await each.clunk()

    @needs("watches")
    async def test_the_end_of_a_watched_directory(self, tree: Tree) -> None:
        """W-4: Closed, after all that happened before."""
        await tree.sc.mkdir(tree / "d")
        await tree.sc.put_file(tree / "d/f", b"")
        async with tree.sc.watch_dir(tree / "d") as watch:
            await tree.sc.rmdir(tree / "d")
            assert (await watch.next_event(PATIENCE_S)).kind == "removed"
            with pytest.raises(serr.Closed):
                await watch.next_event(PATIENCE_S)

    @needs("watches", "rename")
    async def test_a_watched_directory_that_is_replaced(self, tree: Tree) -> None:
        """W-4: it is gone as if it were removed; one that is renamed is watched on."""
        for name in ("old", "new"):
            await tree.sc.mkdir(tree / name)
        async with tree.sc.watch_dir(tree / "old") as old, tree.sc.watch_dir(tree / "new") as new:
            await tree.sc.rename(tree / "new", tree / "old")
            with pytest.raises(serr.Closed):
                await old.next_event(PATIENCE_S)
            await tree.sc.put_file(tree / "old/f", b"")
            assert (await new.next_event(PATIENCE_S)).name == "f"

    @needs("watches")
    async def test_the_end_of_the_block_wakes_who_waits(self, tree: Tree) -> None:
        """W-4: clunking ends blocked readers with Closed."""
        watch = tree.sc.watch_dir(tree.root)
        await watch.__aenter__()
        waiting = tree.start(watch.next_event())
        await tree.until_served()
        await watch.__aexit__(None, None, None)
        with pytest.raises(serr.Closed):
            await soon(waiting)

    @needs("watches")
    async def test_the_end_of_the_session_wakes_who_waits(self, tree: Tree) -> None:
        """W-4, W-10, S-5: with a session error."""
        sc = await tree.client()
        watch = sc.watch_dir(tree.root)
        await watch.__aenter__()
        waiting = tree.start(watch.next_event())
        await tree.until_served(sc)
        await sc.close_fs()
        with pytest.raises(serr.SESSION_ERRORS):
            await soon(waiting)
        await watch.__aexit__(None, None, None)

    @needs("watches")
    async def test_a_waiting_watch_holds_up_nobody(self, tree: Tree) -> None:
        """P-3: requests that block do not hold up others of the session."""
        async with tree.sc.watch_dir(tree.root) as watch:
            waiting = tree.start(watch.next_event())
            await tree.until_served()
            for number in range(10):
                await tree.sc.put_file(tree / f"f{number}", b"")
            assert (await soon(waiting)).name == "f0"


class WaitTests(Suite):
    """Waiting for entries, over watches."""

    @needs("watches")
    async def test_wait_create_and_wait_remove(self, tree: Tree) -> None:
        """W-6, W-7."""
        await tree.sc.put_file(tree / "f", b"")
        await tree.sc.wait_create(tree / "f", 0)
        await tree.sc.wait_remove(tree / "never", 0)
        await all_raise(serr.Timeout, tree.sc.wait_create(tree / "g", 0), tree.sc.wait_remove(tree / "f", 0.02))
        below = tree / "no/g"
        await all_raise(serr.NotFound, tree.sc.wait_create(below, PATIENCE_S), tree.sc.wait_remove(below, PATIENCE_S))
        waiting = [tree.start(tree.sc.wait_create(tree / "g", PATIENCE_S)) for _ in range(10)]
        waiting += [tree.start(tree.sc.wait_remove(tree / "f", PATIENCE_S)) for _ in range(10)]
        await tree.until_served()
        await tree.sc.put_file(tree / "g", b"")
        await tree.sc.remove(tree / "f")
        await asyncio.gather(*waiting)

    @needs("watches")
    async def test_many_wait_for_many_removals(self, tree: Tree) -> None:
        """W-8: as many removers as waiters, over each other."""
        count = min(100, tree.can.entries_count)
        names = [f"f{number}" for number in range(count)]
        await asyncio.gather(*(tree.sc.put_file(tree / name, b"") for name in names))
        other = await tree.client()
        waits = [tree.sc.wait_remove(tree / name, 4 * PATIENCE_S) for name in names]
        removals = [other.remove(tree / name) for name in reversed(names)]
        await asyncio.gather(*waits, *removals)
        assert await tree.names() == []

    @needs("watches")
    async def test_waits_race_with_changes(self, tree: Tree) -> None:
        """W-8: a change between looking and watching is not missed: no wait hangs."""
        other = await tree.client()
        for number in range(tree.can.rounds_count):
            pn = tree / f"f{number}"
            waits = asyncio.gather(*(tree.sc.wait_create(pn, PATIENCE_S) for _ in range(3)))
            await asyncio.gather(other.put_file(pn, b""), other.put_file(tree / f"other{number}", b""))
            await waits
            removals = asyncio.gather(*(tree.sc.wait_remove(pn, PATIENCE_S) for _ in range(3)))
            await asyncio.gather(other.remove(pn), other.remove(tree / f"other{number}"))
            await removals

    @needs("watches")
    async def test_the_directory_goes_while_somebody_waits(self, tree: Tree) -> None:
        """W-6, W-4: what waits for a creation there waits in vain, and is told."""
        await tree.sc.mkdir(tree / "d")
        coming = tree.start(tree.sc.wait_create(tree / "d/f", 2 * PATIENCE_S))
        await tree.until_served()
        await tree.sc.remove(tree / "d")
        with pytest.raises((serr.NotFound, serr.Closed)):
            await soon(coming)

    @needs("watches")
    async def test_open_wait(self, tree: Tree) -> None:
        """Calls that wait for the creation, and then open or read."""
        calls = (
            tree.start(tree.sc.open_wait(tree / "f", OREAD, PATIENCE_S)),
            tree.start(tree.sc.get_file_watch(tree / "f", PATIENCE_S)),
            tree.start(tree.sc.open_wait_reader(tree / "f", PATIENCE_S)),
        )
        await tree.until_served()
        await tree.sc.put_file(tree / "f", b"now")
        fd, data, reader = await calls[0], await calls[1], await calls[2]
        assert await tree.sc.read(fd, 10) == data == await reader.read() == b"now"
        await tree.sc.close_fd(fd)
        await reader.close()
        with pytest.raises(serr.NotFound):
            await tree.sc.open_wait(tree / "no/f", OREAD, PATIENCE_S)
        with pytest.raises(serr.Timeout):
            await tree.sc.open_wait(tree / "g", OREAD, 0)

    @needs("watches")
    async def test_wait_entries_and_wait_empty(self, tree: Tree) -> None:
        """W-9."""
        waiting = tree.start(tree.sc.wait_entries(tree.root, 3, PATIENCE_S))
        for name in "abc":
            await tree.sc.put_file(tree / name, b"")
        assert await waiting == ["a", "b", "c"]
        emptying = tree.start(tree.sc.wait_empty(tree.root, PATIENCE_S))
        for name in "abc":
            await tree.sc.remove(tree / name)
        await emptying
        with pytest.raises(serr.Timeout):
            await tree.sc.wait_entries(tree.root, 1, 0)

    @needs("watches")
    async def test_read_dir_watch(self, tree: Tree) -> None:
        """Looks again after each change, while it is told to."""
        counts: list[int] = []

        def more(entries: list[object]) -> bool:
            counts.append(len(entries))
            return len(entries) < 2

        watching = tree.start(tree.sc.read_dir_watch(tree.root, more, PATIENCE_S))  # type: ignore[arg-type]
        for name in "ab":
            await tree.sc.put_file(tree / name, b"")
        await watching
        assert counts[-1] == 2
        assert counts == sorted(counts)
