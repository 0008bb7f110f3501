"""What servers tell of objects: stat, qids, versions (P-5 to P-8, P-13)."""

from __future__ import annotations

import time

import pytest

from sigmaos_ray import serr
from sigmaos_ray.sigmap import STATSD, path
from sigmaos_ray.testing.conformance.base import Suite, Tree, all_raise
from sigmaos_ray.testing.conformance.refusals import needs


class StatTests(Suite):
    """Stat is of now, identity lasts, versions move."""

    async def test_a_file(self, tree: Tree) -> None:
        """P-13."""
        await tree.sc.put_file(tree / "f", b"12345")
        stat = await tree.sc.stat(tree / "f")
        assert (stat.name, stat.length) == ("f", 5)
        assert (stat.is_dir, stat.is_symlink, stat.is_endpoint) == (False, False, False)
        assert (stat.qid.is_dir, stat.qid.is_symlink) == (False, False)

    async def test_a_directory(self, tree: Tree) -> None:
        """P-13, P-7: the type is in the mode and in the qid."""
        await tree.sc.mkdir(tree / "d")
        for pn in (tree.root, tree / "d"):
            stat = await tree.sc.stat(pn)
            assert (stat.is_dir, stat.qid.is_dir, stat.is_symlink) == (True, True, False)
        assert (await tree.sc.stat(tree / "d")).name == "d"

    async def test_listings_tell_the_same(self, tree: Tree) -> None:
        """P-12: an entry of a listing is its stat."""
        await tree.sc.put_file(tree / "f", b"12345")
        await tree.sc.mkdir(tree / "d")
        for listed in await tree.sc.get_dir(tree.root):
            stat = await tree.sc.stat(tree / listed.name)
            assert (listed.name, listed.qid, listed.mode, listed.dev) == (stat.name, stat.qid, stat.mode, stat.dev)
            if not stat.is_dir:
                assert (listed.length, listed.mtime) == (stat.length, stat.mtime)

    async def test_an_open_file(self, tree: Tree) -> None:
        """P-13: a fid tells what its pathname tells."""
        await tree.sc.put_file(tree / "f", b"12345")
        fid = await tree.sc.core.open_fid(tree / "f", 0)
        assert (await fid.stat()).qid == (await tree.sc.stat(tree / "f")).qid
        await fid.clunk()

    @needs("mtime")
    async def test_modification_times(self, tree: Tree) -> None:
        """P-13: seconds since 1970; a write moves them."""
        before_s = time.time() - 2
        await tree.sc.put_file(tree / "f", b"1")
        first_s = (await tree.sc.stat(tree / "f")).mtime
        assert before_s < first_s < time.time() + 2
        await tree.sc.put_file(tree / "f", b"2")
        assert (await tree.sc.stat(tree / "f")).mtime >= first_s

    async def test_objects_are_told_apart(self, tree: Tree) -> None:
        """P-7: the same iff dev and path are equal."""
        for name in ("f", "g"):
            await tree.sc.put_file(tree / name, b"")
        await tree.sc.mkdir(tree / "d")
        stats = [await tree.sc.stat(tree / name) for name in ("f", "g", "d", ".")]
        assert len({stat.qid.path for stat in stats}) == 4
        assert len({stat.dev for stat in stats}) == 1
        again = await (await tree.client()).stat(tree / "f")
        assert again.qid == stats[0].qid

    @needs("keeps_removed")
    async def test_a_number_is_not_used_again_while_it_is_in_use(self, tree: Tree) -> None:
        """P-7."""
        await tree.sc.put_file(tree / "f", b"")
        fid = await tree.sc.core.open_fid(tree / "f", 0)
        old = (await tree.sc.stat(tree / "f")).qid.path
        await tree.sc.remove(tree / "f")
        for number in range(5):
            await tree.sc.put_file(tree / f"new{number}", b"")
        assert old not in {stat.qid.path for stat in await tree.sc.get_dir(tree.root)}
        await fid.clunk()

    @needs("versions")
    async def test_a_files_version_moves_with_each_write(self, tree: Tree) -> None:
        """P-8: puts, sets, writes on a descriptor."""
        await tree.sc.put_file(tree / "f", b"1")
        qids = [(await tree.sc.stat(tree / "f")).qid]
        await tree.sc.put_file(tree / "f", b"2")
        qids.append((await tree.sc.stat(tree / "f")).qid)
        await tree.sc.set_file(tree / "f", b"3")
        qids.append((await tree.sc.stat(tree / "f")).qid)
        fd = await tree.sc.open(tree / "f", 1)
        await tree.sc.write(fd, b"4")
        await tree.sc.close_fd(fd)
        qids.append((await tree.sc.stat(tree / "f")).qid)
        versions = [qid.version for qid in qids]
        assert versions == sorted(set(versions)), "each is greater than the one before"
        if tree.can.puts_keep_qid:
            assert len({qid.path for qid in qids}) == 1
        assert len({qid.path for qid in qids[1:]}) == 1, "what writes in place keeps the file"

    @needs("versions")
    async def test_a_directorys_version_moves_with_its_entries(self, tree: Tree) -> None:
        """P-8: each entry that comes or goes; not what happens inside of one, or deeper."""
        await tree.sc.mkdir(tree / "d")

        async def version() -> int:
            return (await tree.sc.stat(tree.root)).qid.version

        for change in (tree.sc.put_file(tree / "f", b""), tree.sc.mkdir(tree / "e"), tree.sc.remove(tree / "f")):
            before = await version()
            await change
            assert await version() > before
        before = await version()
        await tree.sc.put_file(tree / "d/deeper", b"")
        assert await version() == before

    @needs("versions", "rename")
    async def test_renames_move_the_versions_of_both_directories(self, tree: Tree) -> None:
        """P-8."""
        for name in ("a", "b"):
            await tree.sc.mkdir(tree / name)
        await tree.sc.put_file(tree / "a/f", b"")
        before = [(await tree.sc.stat(tree / name)).qid.version for name in ("a", "b")]
        await tree.sc.rename(tree / "a/f", tree / "a/g")
        between = (await tree.sc.stat(tree / "a")).qid.version
        assert between > before[0]
        await tree.sc.rename(tree / "a/g", tree / "b/g")
        after = [(await tree.sc.stat(tree / name)).qid.version for name in ("a", "b")]
        assert after[0] > between
        assert after[1] > before[1]

    @needs("versions")
    async def test_looking_changes_nothing(self, tree: Tree) -> None:
        """P-8."""
        await tree.sc.put_file(tree / "f", b"1")
        before = await tree.sc.stat(tree / "f"), await tree.sc.stat(tree.root)
        await tree.sc.get_file(tree / "f")
        await tree.sc.get_dir(tree.root)
        await tree.sc.close_fd(await tree.sc.open(tree / "f"))
        after = await tree.sc.stat(tree / "f"), await tree.sc.stat(tree.root)
        assert [stat.qid for stat in after] == [stat.qid for stat in before]

    async def test_kinds_of_entries_that_there_are_not(self, tree: Tree) -> None:
        """P-6: other kinds are Inval, or NotSupported."""
        for kind in (0x00100000, 0x00400000, 0x08000000, 0x01000000):
            with pytest.raises((serr.Inval, serr.NotSupported)):
                await tree.sc.create(tree / "x", kind | 0o777)
        assert await tree.names() == []

    @needs("devices")
    async def test_device_files(self, tree: Tree) -> None:
        """R-13: a leader file has its contents from the start; makes the directories above."""
        lease = await tree.lease()
        await tree.sc.create_leader_file(tree / "a/b/leader", b"me", lease)
        assert await tree.sc.get_file(tree / "a/b/leader") == b"me"
        with pytest.raises(serr.Exists):
            await tree.sc.create_leader_file(tree / "a/b/leader", b"you", lease)

    @needs("reports")
    async def test_reports(self, tree: Tree) -> None:
        """R-8, P-12: ``.statsd`` counts, cannot be written or renamed, and a read of it counts too."""
        server = await tree.sc.server_of(tree / "x")
        pn = path.join(server, STATSD)
        counts = [(await tree.sc.read_srv_stats(server))["ops"].get("getfile", 0) for _ in range(3)]
        assert counts == [counts[0], counts[0] + 1, counts[0] + 2]
        await all_raise(
            (serr.NotSupported, serr.Exists),
            tree.sc.put_file(pn, b""),
            tree.sc.remove(pn),
            tree.sc.rename(pn, path.join(server, "x")),
            tree.sc.create(pn),
        )
