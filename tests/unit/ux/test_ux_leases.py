"""Leased files on ux (L-2 to L-4, L-6): they go with their lease, and none outlives the server."""

from __future__ import annotations

import asyncio
import os
import shutil
from typing import TYPE_CHECKING

import pytest
from uxtree import ME, UxTree, make_dir, make_file, open_tree, put, remove, rename

from kernel.ux import passing
from kernel.ux.store import INLINE_BYTES_MAX
from sigmaos_ray import serr
from sigmaos_ray.protsrv.node import OpenFile, OpenHow
from sigmaos_ray.protsrv.watch import Event, EventKind
from sigmaos_ray.sigmap import (
    DMDIR,
    DMMOUNT,
    DMSYMLINK,
    DMTMP,
    NO_OFFSET,
    OAPPEND,
    OEXCL,
    OREAD,
    OTRUNC,
    OWRITE,
    Perm,
)

if TYPE_CHECKING:
    from pathlib import Path

LARGE = b"x" * (INLINE_BYTES_MAX + 1)


def grant(tree: UxTree) -> int:
    return tree.fs.leases.grant(60.0)[0]


async def create(tree: UxTree, name: str, lease: int, perm: Perm = 0o644, data: bytes = b"") -> OpenFile:
    _, file = await tree.root.create(ME, name, OpenHow(OWRITE, perm, lease, data=data))
    assert file is not None
    return file


@pytest.mark.parametrize("made_by", ["create", "put", "large put"])
@pytest.mark.parametrize("perm", [0o640, DMTMP | 0o640, DMSYMLINK | 0o777, DMSYMLINK | DMMOUNT | 0o777])
async def test_a_leased_file_goes_with_its_lease(tree: UxTree, made_by: str, perm: Perm) -> None:
    lease = grant(tree)
    data = LARGE if made_by == "large put" else b"data"
    if made_by == "create":
        file = await create(tree, "leased", lease, perm)
        await file.write(0, data)
        await file.close()
    else:
        await put(tree.root, "leased", data, perm=perm, lease=lease)
    await put(tree.root, "other", b"")
    assert (tree.host / "leased").read_bytes() == data
    stat = await (await tree.file("leased")).stat(ME)
    assert stat.mode & ~DMTMP == perm & ~DMTMP
    assert stat.mode & DMTMP
    assert stat in await tree.root.entries(ME, "", 10)
    watch = tree.watches.add(tree.root.qid().path)
    tree.fs.leases.end(lease)
    assert await watch.read() == [Event(EventKind.REMOVED, "leased")]
    assert await tree.names() == ["other"]
    assert sorted(os.listdir(tree.host)) == [".sigmaos-ux", "other"]
    tree.watches.drop(watch)


async def test_create_under_a_lease_is_exclusive_and_may_bring_contents(tree: UxTree) -> None:
    lease = grant(tree)
    await (await create(tree, "leased", lease, data=b"whole")).close()
    assert (tree.host / "leased").read_bytes() == b"whole"
    for mode in (OWRITE, OWRITE | OEXCL):
        with pytest.raises(serr.Exists):
            await tree.root.create(ME, "leased", OpenHow(mode, 0o644, lease))
    with pytest.raises(serr.Exists):
        await put(tree.root, "leased", b"", OWRITE | OEXCL, lease=lease)
    assert len(tree.fs.shared.ties) == 1


async def test_leases_that_are_over_or_make_no_sense(tree: UxTree) -> None:
    lease = grant(tree)
    await put(tree.root, "file", b"old")
    for mode in (OWRITE, OWRITE | OTRUNC):
        for name in ("new", "file"):
            with pytest.raises(serr.NotFound, match="lease"):
                await put(tree.root, name, b"data", mode, lease=lease + 1)
    with pytest.raises(serr.NotFound):
        await create(tree, "new", lease + 1)
    with pytest.raises(serr.Inval, match="DMTMP"):
        await put(tree.root, "new", b"", perm=DMTMP | 0o644)
    with pytest.raises(serr.NotSupported, match="directories"):
        await tree.root.create(ME, "dir", OpenHow(OREAD, DMDIR | 0o755, lease))
    assert await tree.names() == ["file"]
    assert (tree.host / "file").read_bytes() == b"old"


async def test_a_lease_that_ends_while_a_put_prepares_ends_the_put(
    tree: UxTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = grant(tree)
    really = tree.store.prepare

    async def prepare(data: bytes, offset: int, mode: int, name: str) -> object:
        tree.fs.leases.end(lease)
        return await really(data, offset, mode, name)

    monkeypatch.setattr(tree.store, "prepare", prepare)
    with pytest.raises(serr.NotFound, match="lease"):
        await put(tree.root, "leased", b"", lease=lease)
    assert await tree.names() == []


@pytest.mark.parametrize("mode", [OWRITE, OWRITE | OTRUNC, OWRITE | OAPPEND])
@pytest.mark.parametrize("before", ["plain", "leased"])
async def test_a_put_under_a_lease_moves_the_file_to_it(tree: UxTree, mode: int, before: str) -> None:
    first, second = grant(tree), grant(tree)
    await put(tree.root, "file", b"1", lease=first if before == "leased" else 0)
    await put(tree.root, "file", b"2", mode, offset=NO_OFFSET if mode & OAPPEND else 0, lease=second)
    assert (await (await tree.file("file")).stat(ME)).mode & DMTMP
    tree.fs.leases.end(first)
    assert (tree.host / "file").read_bytes() == (b"12" if mode & OAPPEND else b"2")
    tree.fs.leases.end(second)
    assert await tree.names() == []


@pytest.mark.parametrize("mode", [OWRITE, OWRITE | OTRUNC])
async def test_a_put_without_a_lease_leaves_the_file_on_its_own(tree: UxTree, mode: int) -> None:
    lease = grant(tree)
    await put(tree.root, "file", b"1", lease=lease)
    file = await (await tree.file("file")).open(ME, OpenHow(OREAD))
    await put(tree.root, "file", b"2", mode)
    assert await file.read(0, 10) == b"2"
    await file.close()
    tree.fs.leases.end(lease)
    assert await tree.names() == []


async def test_a_put_that_fails_leaves_the_file_as_it_was(tree: UxTree, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else an ordinary file would go with a lease that it never came to."""
    await put(tree.root, "plain", b"plain")
    first, second = grant(tree), grant(tree)
    await put(tree.root, "leased", b"leased", lease=first)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwritev", full)
        for name in ("plain", "leased"):
            with pytest.raises(serr.Error, match="No space"):
                await put(tree.root, name, b"more", OWRITE | OAPPEND, offset=NO_OFFSET, lease=second)
    tree.fs.leases.end(second)
    assert await tree.names() == ["leased", "plain"]
    tree.fs.leases.end(first)
    assert await tree.names() == ["plain"]


async def test_rename_keeps_the_lease(tree: UxTree) -> None:
    """L-3."""
    lease = grant(tree)
    directory = await make_dir(tree.root, "dir")
    await put(tree.root, "a", b"leased", lease=lease)
    node = await tree.file("a")
    await rename(node, directory, "b")
    await put(tree.root, "a", b"plain")
    await rename(directory, tree.root, "moved")
    assert (await node.stat(ME)).mode & DMTMP
    tree.fs.leases.end(lease)
    assert await tree.names() == ["a", "moved"]
    assert await tree.names("moved") == []
    with pytest.raises(serr.NotFound):
        await node.stat(ME)


async def test_remove_ends_the_tie(tree: UxTree) -> None:
    """L-3."""
    lease = grant(tree)
    for name in ("removed", "replaced", "victim"):
        await put(tree.root, name, b"leased", lease=lease)
    await remove(await tree.file("removed"))
    await put(tree.root, "removed", b"plain")
    await put(tree.root, "plain", b"plain")
    await rename(await tree.file("plain"), tree.root, "victim")
    (tree.host / "replaced").unlink()
    (tree.host / "replaced").write_text("the host's")
    tree.fs.leases.end(lease)
    assert await tree.names() == ["removed", "replaced", "victim"]
    assert len(tree.fs.shared.ties) == 0


async def test_an_open_file_stays_readable_past_its_lease(tree: UxTree) -> None:
    lease = grant(tree)
    file = await create(tree, "leased", lease)
    await file.write(0, b"data")
    tree.fs.leases.end(lease)
    assert await file.read(0, 10) == b"data"
    await file.close()


async def test_a_file_that_cannot_be_removed_today_does_not_keep_the_others(
    tree: UxTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = grant(tree)
    directory = await make_dir(tree.root, "stuck")
    await put(directory, "a", b"", lease=lease)
    await put(tree.root, "b", b"", lease=lease)
    really = os.unlink

    def unlink(name: bytes, **options: int) -> None:
        if name == b"a":
            raise PermissionError(13, "Permission denied")
        really(name, **options)

    with monkeypatch.context() as patched:
        patched.setattr(os, "unlink", unlink)
        tree.fs.leases.end(lease)
        assert await tree.names() == ["stuck"]
        tree.store.close()
    assert (tree.host / "stuck" / "a").exists()
    again = open_tree(tree.host)
    assert await again.names("stuck") == []
    again.store.close()


async def test_a_directory_taken_away_by_the_host_takes_its_leased_files_along(tree: UxTree) -> None:
    lease = grant(tree)
    directory = await make_dir(tree.root, "dir")
    await put(directory, "leased", b"", lease=lease)
    (tree.host / "dir").rename(tree.host.parent / "elsewhere")
    tree.fs.leases.end(lease)
    assert (tree.host.parent / "elsewhere" / "leased").exists(), "what the host took is the host's"
    assert len(tree.fs.shared.ties) == 0


async def test_leased_files_do_not_outlive_the_server(tree: UxTree) -> None:
    """L-6, for one that stops in order; see test_ux_crashes for the others."""
    lease = grant(tree)
    directory = await make_dir(tree.root, "dir")
    await put(directory, "leased", b"", lease=lease)
    await put(directory, "plain", b"")
    tree.store.close()
    assert os.listdir(tree.host / "dir") == ["plain"]
    assert os.listdir(tree.host / ".sigmaos-ux") == []


async def test_without_hard_links_there_are_no_leased_files(tree: UxTree, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(95, "Operation not supported")

    lease = grant(tree)
    await put(tree.root, "file", b"old")
    monkeypatch.setattr(os, "link", refuse)
    for name, mode in (("new", OWRITE), ("file", OWRITE), ("file", OWRITE | OTRUNC)):
        with pytest.raises(serr.NotSupported, match="hard links"):
            await put(tree.root, name, b"new", mode, lease=lease)
    assert await tree.names() == ["file"]
    assert (tree.host / "file").read_bytes() == b"old"
    assert len(tree.fs.shared.ties) == 0


async def test_a_journal_that_cannot_be_written_refuses_the_lease(
    tree: UxTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = grant(tree)
    await put(tree.root, "leased", b"", lease=lease)
    await put(tree.root, "plain", b"plain")
    really = os.pwrite

    def full(fd: int, data: bytes, offset: int) -> int:
        if os.readlink(f"/proc/self/fd/{fd}").endswith("journal"):
            really(fd, bytes(data)[:5], offset)
            raise OSError(28, "No space left on device")
        return really(fd, data, offset)

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", full)
        for call in (
            put(tree.root, "new", b"", lease=lease),
            put(tree.root, "plain", b"", lease=lease),
            put(tree.root, "plain", b"", OWRITE, lease=lease),
            rename(await tree.file("leased"), tree.root, "renamed"),
        ):
            with pytest.raises(serr.Error, match="No space"):
                await call
        assert await tree.names() == ["leased", "plain"]
        assert (tree.host / "plain").read_bytes() == b"plain"
    await put(tree.root, "new", b"", lease=lease)
    tree.store.close()
    assert sorted(os.listdir(tree.host)) == [".sigmaos-ux", "plain"], "the journal is whole"


async def test_the_journal_stays_short(tree: UxTree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passing, "RECORDS_SPARE_COUNT", 8)
    lease = grant(tree)
    directory = await make_dir(tree.root, "dir")
    await put(directory, "stays", b"", lease=lease)
    for turn in range(100):
        await put(directory, "leased", b"", lease=lease)
        await remove(await tree.file("dir", "leased"))
        await rename(directory, tree.root, f"dir-{turn}")
        await rename(directory, tree.root, "dir")
    (journal,) = (tree.host / ".sigmaos-ux").glob("*/journal")
    assert len(journal.read_bytes().splitlines()) < 20
    assert len(list(journal.parent.iterdir())) == 2, "the journal and one mark"
    tree.store.close()
    assert os.listdir(tree.host / "dir") == []


async def test_many_at_a_time(tree: UxTree) -> None:
    leases = [grant(tree) for _ in range(4)]

    async def work(number: int) -> None:
        for turn in range(10):
            await put(tree.root, f"f-{turn}", b"%d" % number, lease=leases[number])
        file = await make_file(tree.root, f"plain-{number}")
        await file.close()

    await asyncio.gather(*(work(number) for number in range(4)))
    for lease in leases:
        tree.fs.leases.end(lease)
    assert await tree.names() == [f"plain-{number}" for number in range(4)]


async def test_a_root_that_the_host_removed_does_not_stop_the_end(tmp_path: Path) -> None:
    tree = open_tree(tmp_path / "ux")
    lease = grant(tree)
    await put(tree.root, "leased", b"", lease=lease)
    shutil.rmtree(tree.host)
    tree.fs.leases.end(lease)
    tree.store.close()
