"""Buckets, keys and directories as a tree (B-1)."""

from __future__ import annotations

import asyncio
import secrets

import pytest
from s3tree import ME, S3Tree, names, put, read_all, requests_of

from kernel.s3.directory import S3Dir
from sigmaos_ray import serr
from sigmaos_ray.protsrv.node import OpenHow
from sigmaos_ray.protsrv.walk import walk_to_make
from sigmaos_ray.protsrv.watch import Event, EventKind
from sigmaos_ray.sigmap import DMDIR, DMSYMLINK, OREAD, OWRITE


async def make_dir(directory: S3Dir, name: str) -> S3Dir:
    subdir, file = await directory.create(ME, name, OpenHow(OREAD, DMDIR | 0o777))
    assert file is None
    return subdir  # type: ignore[return-value]


# -- the root


async def test_the_root_lists_buckets(tree: S3Tree) -> None:
    root = tree.fs.root
    listed = await root.entries(ME, "", 4096)
    assert tree.bucket in [stat.name for stat in listed]
    assert all(stat.is_dir for stat in listed)
    assert [stat.name for stat in listed] == sorted(stat.name for stat in listed)
    assert tree.bucket not in [stat.name for stat in await root.entries(ME, tree.bucket, 4096)]
    with pytest.raises(serr.NoCreate):
        await root.create(ME, "file", OpenHow(OWRITE, 0o777))
    with pytest.raises(serr.NoCreate):
        await root.put(ME, "file", b"", OpenHow(OWRITE, 0o777))


async def test_a_bucket_is_made_and_stays(tree: S3Tree) -> None:
    """B-1: by mkdir; a name for none is Inval, one that is taken Exists; none is removed, or emptied first."""
    root, name = tree.fs.root, f"made-{secrets.token_hex(4)}"
    watch = tree.watches.add(root.qid().path)
    bucket, _ = await root.create(ME, name, OpenHow(OREAD, DMDIR | 0o777))
    assert [event.name for event in await watch.read()] == [name]
    assert isinstance(bucket, S3Dir)
    await put(bucket, "file", b"x")
    for taken in (name, tree.bucket):
        with pytest.raises(serr.Exists):
            await root.create(ME, taken, OpenHow(OREAD, DMDIR | 0o777))
    with pytest.raises(serr.Inval):
        await root.create(ME, "a", OpenHow(OREAD, DMDIR | 0o777))
    for call in (root.remove_entry(ME, name), bucket.remove_all(ME)):
        with pytest.raises(serr.NoRemove):
            await call
    assert bucket.removes_all, "clients ask for all at once, and so hear of it before they have removed anything"
    assert [stat.name for stat in await bucket.entries(ME, "", 10)] == ["file"]


async def test_a_put_makes_the_directories_above(tree: S3Tree) -> None:
    """B-1: as S3 has them; each is told of once, and what is a file is NotDir."""
    here = tree.watches.add(tree.top.qid().path)
    directory = await walk_to_make(tree.fs.root, [tree.bucket, "a", "b"], ME)
    assert isinstance(directory, S3Dir)
    await asyncio.gather(put(directory, "f", b"x"), put(directory, "g", b"y"))
    assert [event.name for event in await here.read()] == ["a"]
    assert [stat.name for stat in await tree.dir("a").entries(ME, "", 10)] == ["b"]
    with pytest.raises(serr.NotDir):
        await walk_to_make(tree.fs.root, [tree.bucket, "a", "b", "f", "c"], ME)
    missing = await walk_to_make(tree.fs.root, ["no-such-bucket", "a"], ME)
    with pytest.raises(serr.NotFound):
        await missing.put(ME, "f", b"", OpenHow(OWRITE, 0o777))


@pytest.mark.parametrize("name", ["no-such-bucket", "not a name for a bucket", "~x", "a"])
async def test_a_missing_bucket_is_not_found(tree: S3Tree, name: str) -> None:
    for rest in ([], ["dir"], ["dir", "file"]):
        with pytest.raises(serr.NotFound) as caught:
            await tree.fs.root.walk(ME, [name, *rest])
        assert caught.value.obj == name


# -- walking


async def test_an_object_is_found_before_a_directory_of_its_name(tree: S3Tree) -> None:
    tree.upload("both", "both/inside", "dir/inside")
    assert not (await tree.top.lookup(ME, "both")).is_dir
    assert (await tree.top.lookup(ME, "dir")).is_dir
    assert [stat.is_dir for stat in await tree.top.entries(ME, "", 10)] == [False, True]
    with pytest.raises(serr.NotFound):
        await tree.top.lookup(ME, "bot")


async def test_a_deep_way_costs_one_or_two_requests(tree: S3Tree) -> None:
    tree.upload("a/b/c/d/file")
    root, way = tree.fs.root, [tree.bucket, "a", "b", "c", "d"]
    requests = requests_of(tree)
    nodes = await root.walk(ME, [*way, "file"])
    assert [node.name for node in nodes] == [*way, "file"]
    assert requests == ["HeadObject"]
    requests.clear()
    nodes = await root.walk(ME, way)
    assert [node.is_dir for node in nodes] == [True] * 5
    assert requests == ["HeadObject", "ListObjectsV2"]


async def test_a_walk_ends_where_the_way_ends(tree: S3Tree) -> None:
    """N-7: before what is missing, at a file, before a union."""
    tree.upload("a/b/file")
    root = tree.fs.root

    async def along(*rest: str) -> list[str]:
        return [node.name for node in await root.walk(ME, [tree.bucket, *rest])][1:]

    assert await along("a", "b", "missing") == ["a", "b"]
    assert await along("a", "missing", "more", "still") == ["a"]
    assert await along("missing", "more") == []
    assert await along("a", "~any", "b") == ["a"]
    for rest in (("a", "b", "file", "more"), ("a", "b", "file", "more", "still")):
        with pytest.raises(serr.NotDir) as caught:
            await along(*rest)
        assert caught.value.obj == "file"
    with pytest.raises(serr.NotFound):
        await tree.top.walk(ME, ["missing", "more"])


async def test_absent_prefixes_are_not_found(tree: S3Tree) -> None:
    tree.upload("dir/a")
    directory = await tree.top.lookup(ME, "dir")
    await (await tree.dir("dir").lookup(ME, "a")).remove(ME)
    with pytest.raises(serr.NotFound):
        await tree.top.lookup(ME, "dir")
    with pytest.raises(serr.NotFound):
        await directory.remove(ME)


# -- directories


async def test_mkdir_leaves_a_hidden_mark(tree: S3Tree) -> None:
    directory = await make_dir(tree.top, "dir")
    assert tree.keys() == ["dir/_._"]
    assert await names(directory) == []
    assert await names(tree.top) == ["dir"]
    with pytest.raises(serr.NotFound):
        await directory.lookup(ME, "_._")
    for kind in (0o777, DMDIR | 0o777):
        with pytest.raises(serr.Inval):
            await directory.create(ME, "_._", OpenHow(OWRITE, kind))
    for taken in ("dir", "file"):
        await put(tree.top, "file", b"")
        with pytest.raises(serr.Exists):
            await make_dir(tree.top, taken)


async def test_a_made_directory_outlives_its_last_entry(tree: S3Tree) -> None:
    directory = await make_dir(tree.top, "dir")
    await put(directory, "file", b"x")
    with pytest.raises(serr.NotEmpty):
        await directory.remove(ME)
    await (await directory.lookup(ME, "file")).remove(ME)
    assert (await tree.top.lookup(ME, "dir")).is_dir
    await directory.remove(ME)
    assert tree.keys() == []


async def test_a_directory_with_the_consoles_mark_is_empty(tree: S3Tree) -> None:
    tree.upload("dir/")
    directory = await tree.top.lookup(ME, "dir")
    assert await names(directory) == []  # type: ignore[arg-type]
    await directory.remove(ME)
    assert tree.keys() == []


async def test_listings_are_in_order_of_name(tree: S3Tree) -> None:
    """S3 has ``a-b`` before ``a/``; names have ``a`` before ``a-b`` (P-12)."""
    tree.upload("a-b", "a/x", "a.txt", "a", "b/_._", "b/y", "b-c/z", "é", "!", "//x", "_._", "..", "c/../x")
    listed = await tree.top.entries(ME, "", 100)
    assert [stat.name for stat in listed] == ["!", "a", "a-b", "a.txt", "b", "b-c", "c", "é"]
    assert [stat.name for stat in listed if stat.is_dir] == ["b", "b-c", "c"]
    for limit in (1, 2, 3):
        assert await names(tree.top, limit) == [stat.name for stat in listed]


async def test_listings_over_pages_tell_each_entry_once(tree: S3Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kernel.s3.requests.LIST_KEYS_MAX", 3)
    keys = [f"d-{number:02}" for number in range(9)] + ["d/x", "d-03-1", "d-03/y", "d-08/z", "e/w", "_._", "d-/v"]
    tree.upload(*keys)
    wanted = sorted({key.split("/")[0] for key in keys} - {"_._"})
    assert await names(tree.top) == wanted
    assert await names(tree.top, 2) == wanted


async def test_watches_and_versions_follow_changes_of_entries(tree: S3Tree) -> None:
    top = tree.top
    watch = tree.watches.add(top.qid().path)
    versions = [top.qid().version]

    def moved() -> bool:
        versions.append(top.qid().version)
        return versions[-1] > versions[-2]

    await put(top, "a", b"1")
    assert moved()
    await put(top, "a", b"22")
    assert not moved()
    directory = await make_dir(top, "d")
    assert moved()
    _, writer = await top.create(ME, "b", OpenHow(OWRITE, 0o777))
    assert not moved()
    assert writer
    await writer.close()
    assert moved()
    await (await top.lookup(ME, "b")).remove(ME)
    assert moved()
    inside = tree.watches.add(directory.qid().path)
    await directory.remove(ME)
    assert moved()
    assert await watch.read() == [
        Event(EventKind.CREATED, "a"),
        Event(EventKind.CREATED, "d"),
        Event(EventKind.CREATED, "b"),
        Event(EventKind.REMOVED, "b"),
        Event(EventKind.REMOVED, "d"),
    ]
    with pytest.raises(serr.Closed):
        await inside.read()
    tree.watches.drop(watch)


# -- what S3 does not have


async def test_no_renames_links_or_leases(tree: S3Tree) -> None:
    await put(tree.top, "file", b"x")
    directory = await make_dir(tree.top, "dir")
    for name in ("file", directory.name):
        with pytest.raises(serr.NotSupported):
            await tree.top.rename_entry(ME, name, tree.top, "new")
    for how in (OpenHow(OWRITE, DMSYMLINK | 0o777), OpenHow(OWRITE, 0o777, lease=7)):
        with pytest.raises(serr.NotSupported):
            await tree.top.create(ME, "new", how)
        with pytest.raises(serr.NotSupported):
            await tree.top.put(ME, "new", b"", how)
    assert tree.keys() == ["dir/_._", "file"]


async def test_keys_have_an_end(tree: S3Tree) -> None:
    deep = tree.dir("/".join(["x" * 200] * 5))
    with pytest.raises(serr.Inval, match="1024"):
        await put(deep, "y" * 100, b"")


async def test_objects_of_others_are_seen(tree: S3Tree) -> None:
    await put(tree.top, "file", b"one")
    node = await tree.top.lookup(ME, "file")
    before = await node.stat(ME)
    tree.upload("file", data=b"other")
    after = await node.stat(ME)
    assert (before.length, after.length) == (3, 5)
    assert after.qid.version > before.qid.version
    assert after.qid.path == before.qid.path
    assert await read_all(node) == b"other"
    await put(tree.top, "file", b"other")
    assert (await node.stat(ME)).qid.version > after.qid.version


async def test_names_that_xml_cannot_carry(tree: S3Tree) -> None:
    """They are not made; what others made is shown, and removed one by one beside all else."""
    for name in ("a\x01b", "\x1b[31m", "\x0b"):
        with pytest.raises(serr.Inval):
            await put(tree.top, name, b"x")
        with pytest.raises(serr.Inval):
            await tree.top.create(ME, name, OpenHow(OWRITE, DMDIR | 0o777))
    tree.upload("dir/plain", "dir/a\x01b", "dir/\x1b/deep", "stays")
    directory = await tree.top.lookup(ME, "dir")
    assert isinstance(directory, S3Dir)
    assert "a\x01b" in [stat.name for stat in await directory.entries(ME, "", 10)]
    requests = requests_of(tree)
    await directory.remove_all(ME)
    assert requests.count("DeleteObjects") >= 1
    assert [stat.name for stat in await tree.top.entries(ME, "", 10)] == ["stays"]
