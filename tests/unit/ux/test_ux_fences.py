"""Fences on ux: who was deposed is refused, also by a server that starts again (L-21)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec
import pytest
from uxtree import ME, UxTree, make_dir, make_file, open_tree, put, remove, rename

from kernel.ux.fs import UxFs
from kernel.ux.store import UxStore
from sigmaos_ray import serr
from sigmaos_ray.protsrv.node import OpenHow
from sigmaos_ray.protsrv.watch import WatchTable
from sigmaos_ray.sigmap import OWRITE, Fence

if TYPE_CHECKING:
    from pathlib import Path


async def test_an_older_fence_is_stale(tree: UxTree) -> None:
    old, new = Fence("name/elect", 1), Fence("name/elect", 2)
    directory = await make_dir(tree.root, "dir")
    file = await make_file(tree.root, "open")
    await put(tree.root, "f", b"new", fence=new)
    node = await tree.file("f")
    for call in (
        put(tree.root, "f", b"old", fence=old),
        put(tree.root, "f", b"old", OWRITE, fence=old),
        put(tree.root, "g", b"old", fence=old),
        tree.root.create(ME, "g", OpenHow(OWRITE, 0o644, fence=old)),
        file.write(0, b"old", old),
        remove(node, old),
        rename(node, directory, "f", old),
        remove(directory, old),
    ):
        with pytest.raises(serr.Stale):
            await call
    await file.write(0, b"unfenced")
    await file.close()
    assert await tree.names() == ["dir", "f", "open"]
    assert (tree.host / "f").read_bytes() == b"new"


OLD, NEW = Fence("name/elect", 1), Fence("name/elect", 2, 7)


def on_disk(tree: UxTree) -> list[Fence]:
    return msgspec.json.decode((tree.host / ".sigmaos-ux" / "fences").read_bytes(), type=list[Fence])


async def test_a_server_that_starts_again_still_refuses_the_deposed(tmp_path: Path) -> None:
    first = open_tree(tmp_path / "ux")
    await put(first.root, "f", b"", fence=NEW)
    await put(first.root, "f", b"", fence=Fence("name/other", 3))
    first.store.close()
    again = open_tree(tmp_path / "ux")
    assert again.fs.fences.newest() == [NEW, Fence("name/other", 3)]
    with pytest.raises(serr.Stale):
        await put(again.root, "f", b"", fence=OLD)
    await put(again.root, "f", b"", fence=NEW)
    again.store.close()


async def test_a_fence_is_on_the_disk_before_the_change_that_carried_it(
    tree: UxTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the two, the server must not have done what it does not remember the right to."""
    really, synced = os.fsync, []
    order: list[str] = []

    def fsync(fd: int) -> None:
        really(fd)
        synced.append(os.readlink(f"/proc/self/fd/{fd}"))

    def unlink(*args: object, **options: object) -> None:
        order.append("removed" if NEW in on_disk(tree) else "removed too early")
        really_unlink(*args, **options)  # type: ignore[arg-type]

    await put(tree.root, "f", b"")
    really_unlink = os.unlink
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "unlink", unlink)
    await remove(await tree.file("f"), NEW)
    assert order == ["removed"]
    assert [os.path.basename(name).split("-")[0] for name in synced] == ["fences", ".sigmaos"]


async def test_a_fence_that_cannot_be_written_refuses_the_change(tree: UxTree, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        for _ in range(2):  # nor does it pass because it was seen before
            with pytest.raises(serr.Error, match="No space"):
                await put(tree.root, "f", b"", fence=NEW)
    assert await tree.names() == []
    await put(tree.root, "f", b"", fence=NEW)
    assert on_disk(tree) == [NEW]


async def test_a_fence_that_was_forgotten_stays_forgotten(tree: UxTree) -> None:
    """L-24."""
    await put(tree.root, "f", b"", fence=NEW)
    tree.fs.fences.forget(NEW.pathname)
    assert on_disk(tree) == []
    await put(tree.root, "f", b"", fence=OLD)
    assert on_disk(tree) == [OLD]


async def test_two_servers_of_one_tree_do_not_undo_each_others_fences(tree: UxTree) -> None:
    """As while a server that hangs is replaced."""
    other = open_tree(tree.host)
    await put(other.root, "f", b"", fence=NEW)
    await put(tree.root, "f", b"", fence=OLD)
    await put(tree.root, "f", b"", fence=Fence("name/other", 1))
    assert sorted(on_disk(tree), key=str) == [NEW, Fence("name/other", 1)]
    other.store.close()


def test_a_damaged_file_of_fences_is_told(tree: UxTree) -> None:
    (tree.host / ".sigmaos-ux" / "fences").write_text('[{"pathname"')
    store = UxStore(str(tree.host), 1)
    with pytest.raises(serr.Error, match="fences is damaged"):
        UxFs(store, WatchTable())
    store.close()
