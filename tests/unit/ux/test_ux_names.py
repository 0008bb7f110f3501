"""Entries of directories: making, listing, removing, renaming, watching."""

from __future__ import annotations

import os
import stat

import pytest
from uxtree import ME, UxTree, make_dir, make_file, open_tree, put, remove, rename

from kernel.ux.hostdir import ERRORS, from_os
from sigmaos_ray import serr
from sigmaos_ray.protsrv.node import OpenHow
from sigmaos_ray.protsrv.watch import Event, EventKind
from sigmaos_ray.sigmap import DMDIR, DMMOUNT, DMSYMLINK, OREAD, OWRITE, Endpoint


async def test_create_never_opens_what_exists(tree: UxTree) -> None:
    await (await make_file(tree.root, "file")).close()
    for perm in (0o644, DMDIR | 0o755):
        with pytest.raises(serr.Exists):
            await tree.root.create(ME, "file", OpenHow(OWRITE, perm))


async def test_modes_map_to_unix(tree: UxTree) -> None:
    old = os.umask(0o022)
    try:
        await (await make_file(tree.root, "file", 0o640)).close()
        await put(tree.root, "put", b"", perm=0o750)
        await put(tree.root, "wide", b"", perm=0o777)
        await put(tree.root, "put", b"again", perm=0o600)
    finally:
        os.umask(old)
    assert [stat.S_IMODE((tree.host / name).stat().st_mode) for name in ("file", "put", "wide")] == [
        0o640,
        0o750,
        0o755,
    ]
    assert (await (await tree.file("put")).stat(ME)).mode == 0o750, "an existing entry keeps its permissions"
    assert (await tree.root.stat(ME)).mode == DMDIR | 0o700


async def test_stat_tells_what_the_host_says(tree: UxTree) -> None:
    await put(tree.root, "file", b"12345")
    status = await (await tree.file("file")).stat(ME)
    host = (tree.host / "file").stat()
    assert (status.length, status.qid.path, status.uid) == (5, host.st_ino, str(host.st_uid))
    assert status.mtime == pytest.approx(host.st_mtime)
    assert [stat.name for stat in await tree.root.entries(ME, "", 10)] == ["file"]
    assert (await tree.root.entries(ME, "", 10))[0] == status


async def test_listings_come_in_pages_in_order(tree: UxTree) -> None:
    wanted = sorted(["é", "b", "B", "~", "a b", "\n", *(f"{number:03}" for number in range(30))])
    for name in wanted:
        await put(tree.root, name, b"")
    (tree.host / "link").symlink_to("b")
    names: list[str] = []
    while page := await tree.root.entries(ME, names[-1] if names else "", 7):
        assert len(page) <= 7
        names += [entry.name for entry in page]
    assert names == wanted


async def test_names_up_to_255_bytes(tree: UxTree) -> None:
    for name in ("x" * 255, "é" * 127):
        await put(tree.root, name, name.encode())
        await (await make_file(tree.root, name[:-1])).close()
    for name in ("x" * 256, "é" * 128):
        with pytest.raises(serr.Inval):
            await put(tree.root, name, b"")


async def test_walks_end_where_the_way_ends(tree: UxTree) -> None:
    """N-7."""
    await make_dir(tree.root, "a")
    below = await make_dir(await tree.dir("a"), "b")
    await put(below, "file", b"")
    await put(below, "link", b"name/x", perm=DMSYMLINK | 0o777)

    async def along(*names: str) -> list[str]:
        return [node.name for node in await tree.root.walk(ME, names)]

    assert await along("a", "b", "file") == ["a", "b", "file"]
    assert await along("a", "b", "missing", "more") == ["a", "b"]
    assert await along("a", "b", "link", "more") == ["a", "b", "link"]
    assert await along("a", "~local", "b") == ["a"]
    with pytest.raises(serr.NotDir) as caught:
        await along("a", "b", "file", "more")
    assert caught.value.obj == "file"
    with pytest.raises(serr.NotFound):
        await along("missing", "more")


async def test_remove(tree: UxTree) -> None:
    directory = await make_dir(tree.root, "dir")
    await put(directory, "file", b"")
    with pytest.raises(serr.NotEmpty):
        await remove(directory)
    node = await tree.file("dir", "file")
    await remove(node)
    for call in (node.stat(ME), node.open(ME, OpenHow(OREAD))):
        with pytest.raises(serr.NotFound):
            await call
    await remove(directory)
    for gone in (
        tree.root.remove_entry(ME, "dir"),
        directory.lookup(ME, "x"),
        directory.create(ME, "x", OpenHow(OWRITE, 0o644)),
        put(directory, "x", b""),
    ):
        with pytest.raises(serr.NotFound):
            await gone


async def test_a_node_of_a_removed_file_is_not_its_successor(tree: UxTree) -> None:
    await put(tree.root, "file", b"old")
    old = await tree.file("file")
    await remove(await tree.file("file"))
    await put(tree.root, "file", b"new")
    with pytest.raises(serr.NotFound):
        await remove(old)
    assert (tree.host / "file").read_bytes() == b"new"


async def test_rename_within_and_across_directories(tree: UxTree) -> None:
    """P-11."""
    a, b = await make_dir(tree.root, "a"), await make_dir(tree.root, "b")
    await put(a, "f", b"x")
    node = await tree.file("a", "f")
    await rename(node, a, "g")
    assert (await tree.names("a"), node.name) == (["g"], "g")
    await rename(node, b, "h")
    assert (await tree.names("a"), await tree.names("b")) == ([], ["h"])
    assert (await node.stat(ME)).length == 1
    await rename(b, a, "b")
    assert (await node.stat(ME)).name == "h", "what is held below a renamed directory goes along"
    assert (tree.host / "a" / "b" / "h").read_bytes() == b"x"
    same = await tree.file("a", "b", "h")
    assert same is node
    await rename(node, await tree.dir("a", "b"), "h")


async def test_rename_replaces_a_file_or_an_empty_directory_only(tree: UxTree) -> None:
    await put(tree.root, "f", b"new")
    await put(tree.root, "g", b"old")
    victim = await tree.file("g")
    await rename(await tree.file("f"), tree.root, "g")
    assert (tree.host / "g").read_bytes() == b"new"
    with pytest.raises(serr.NotFound):
        await remove(victim)
    d, empty, full = [await make_dir(tree.root, name) for name in ("d", "empty", "full")]
    await put(full, "x", b"")
    await rename(d, tree.root, "empty")
    with pytest.raises(serr.NotFound):
        await empty.stat(ME)
    with pytest.raises(serr.NotEmpty):
        await rename(d, tree.root, "full")
    with pytest.raises(serr.IsDir):
        await rename(await tree.file("g"), tree.root, "full")
    with pytest.raises(serr.NotDir):
        await rename(d, tree.root, "g")
    below = await make_dir(d, "below")
    for target in (d, below):
        with pytest.raises(serr.Inval):
            await rename(d, target, "self")
    assert await tree.names() == ["empty", "full", "g"]


async def test_a_full_directory_is_not_empty_whatever_the_host_calls_it(
    tree: UxTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = await make_dir(tree.root, "dir")

    def refuse(*_: object, **__: object) -> None:
        raise FileExistsError(17, "File exists")

    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(serr.NotEmpty):
        await rename(directory, tree.root, "full")


async def test_what_the_host_replaced_is_another_object(tree: UxTree) -> None:
    held = await make_dir(tree.root, "dir")
    watch = tree.watches.add(held.qid().path)
    await put(tree.root, "file", b"")
    file = await tree.file("file")
    for name in ("dir", "file"):
        (tree.host / name).rename(tree.host / f"old-{name}")
    (tree.host / "dir").mkdir()
    (tree.host / "file").write_text("x")
    assert (await tree.dir("dir")).qid().path != held.qid().path
    assert (await tree.file("file")).qid().path != file.qid().path
    for node in (held, file):
        with pytest.raises(serr.NotFound):
            await node.stat(ME)
    with pytest.raises(serr.Closed):
        await watch.read()


async def test_two_names_of_one_file_become_one_by_rename(tree: UxTree) -> None:
    await put(tree.root, "f", b"x")
    os.link(tree.host / "f", tree.host / "g")
    await rename(await tree.file("f"), tree.root, "g")
    assert await tree.names() == ["g"]


async def test_watches_hear_each_change_and_versions_move_with_it(tree: UxTree) -> None:
    """W-2, W-12, and qid versions also where the host's clock stands still."""
    root, directory = tree.root, await make_dir(tree.root, "dir")
    watch = tree.watches.add(root.qid().path)
    versions = [root.qid().version]
    await put(root, "a", b"1")
    versions.append(root.qid().version)
    await put(root, "a", b"2")
    assert root.qid().version == versions[-1], "contents are not entries"
    node = await tree.file("a")
    await rename(node, root, "b")
    versions.append(root.qid().version)
    await rename(node, directory, "c")
    versions.append(root.qid().version)
    await (await make_file(root, "d")).close()
    versions.append(root.qid().version)
    await rename(node, root, "d")
    versions.append(root.qid().version)
    await remove(node)
    versions.append(root.qid().version)
    inside = tree.watches.add(directory.qid().path)
    await remove(directory)
    versions.append(root.qid().version)
    assert versions == sorted(set(versions))
    created, removed = EventKind.CREATED, EventKind.REMOVED
    assert await watch.read() == [
        Event(created, "a"),
        Event(removed, "a"),
        Event(created, "b"),
        Event(removed, "b"),
        Event(created, "d"),
        Event(removed, "d"),
        Event(created, "d"),
        Event(removed, "d"),
        Event(removed, "dir"),
    ]
    with pytest.raises(serr.Closed):
        await inside.read()
    tree.watches.drop(watch)


async def test_a_directorys_version_is_kept_while_nobody_holds_it(tree: UxTree) -> None:
    await make_dir(tree.root, "dir")
    await put(await tree.dir("dir"), "f", b"")
    before = (await tree.dir("dir")).qid()
    assert (await tree.dir("dir")).qid() == before
    await put(await tree.dir("dir"), "g", b"")
    assert (await tree.dir("dir")).qid().version > before.version


@pytest.mark.parametrize("made_by", ["create", "put"])
async def test_links_and_endpoint_files_last(tree: UxTree, made_by: str) -> None:
    endpoint = Endpoint(addrs=("127.0.0.1:1",)).to_bytes()
    links = {"symlink": (DMSYMLINK, b"name/s3/~any/"), "endpoint": (DMSYMLINK | DMMOUNT, endpoint)}
    for name, (kind, contents) in links.items():
        if made_by == "put":
            await put(tree.root, name, contents, perm=kind | 0o777)
        else:
            file = await make_file(tree.root, name, kind | 0o777)
            await file.write(0, contents)
            await file.close()
        await rename(await tree.file(name), tree.root, f"{name}-renamed")
    again = open_tree(tree.host)
    for name, (kind, contents) in links.items():
        node = await again.file(f"{name}-renamed")
        assert node.perm == kind | 0o777
        assert node.is_link
        file = await node.open(ME, OpenHow(OREAD))
        assert await file.read(0, 1000) == contents
        await file.close()
        await put(again.root, f"{name}-renamed", b"other")
        assert (await again.file(f"{name}-renamed")).perm == kind | 0o777
    again.store.close()


async def test_links_are_refused_where_the_host_keeps_no_mark(tree: UxTree, monkeypatch: pytest.MonkeyPatch) -> None:
    really = os.open
    monkeypatch.setattr(os, "open", lambda path, flags, mode=0o777, **rest: really(path, flags, mode & 0o777, **rest))
    with pytest.raises(serr.NotSupported):
        await tree.root.create(ME, "link", OpenHow(OWRITE, DMSYMLINK | 0o777))
    with pytest.raises(serr.NotSupported):
        await put(tree.root, "link", b"x", perm=DMSYMLINK | 0o777)
    assert await tree.names() == []


def test_each_errno_of_the_table_has_its_class() -> None:
    for number, kind in ERRORS.items():
        assert type(from_os(OSError(number, "told"), "f")) is kind
    foreign = from_os(OSError(28, "No space left on device"), "f")
    assert type(foreign) is serr.Error
    assert foreign.msg == "No space left on device"
