"""No name leads out of the tree (B-4), and what the host has beside files and directories is not shown."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from uxtree import ME, UxTree, make_dir, put, remove, rename

from kernel.ux.hostdir import HostDir
from sigmaos_ray import serr
from sigmaos_ray.protsrv.node import OpenHow
from sigmaos_ray.sigmap import DMDIR, OEXCL, OREAD, OTRUNC, OWRITE

if TYPE_CHECKING:
    from pathlib import Path

    from kernel.ux.state import HostStat


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    place = tmp_path / "outside"
    place.mkdir()
    (place / "secret").write_text("secret")
    return place


@pytest.mark.parametrize("target", ["../outside", "absolute", ".."])
async def test_links_of_the_host_are_refused_and_not_listed(tree: UxTree, outside: Path, target: str) -> None:
    link = tree.host / "link"
    link.symlink_to(outside if target == "absolute" else target)
    (tree.host / "file").write_text("x")
    assert await tree.names() == ["file"]
    for names in (["link"], ["link", "secret"], ["link", "outside", "secret"]):
        with pytest.raises(serr.Perm):
            await tree.root.walk(ME, names)
    for mode in (OWRITE, OWRITE | OTRUNC, OWRITE | OEXCL):
        with pytest.raises((serr.Perm, serr.Exists)):
            await put(tree.root, "link", b"overwritten", mode)
    with pytest.raises(serr.Exists):
        await tree.root.create(ME, "link", OpenHow(OWRITE, 0o644))
    with pytest.raises(serr.Exists):
        await tree.root.create(ME, "link", OpenHow(OREAD, DMDIR | 0o755))
    with pytest.raises(serr.Perm):
        await rename(await tree.file("file"), tree.root, "link")
    assert link.is_symlink()
    assert (outside / "secret").read_text() == "secret"


async def test_a_link_to_a_file_is_refused(tree: UxTree, outside: Path) -> None:
    (tree.host / "link").symlink_to(outside / "secret")
    with pytest.raises(serr.Perm):
        await tree.root.lookup(ME, "link")
    with pytest.raises(serr.Perm):
        await put(tree.root, "link", b"overwritten")
    assert (outside / "secret").read_text() == "secret"


async def test_a_link_swapped_in_for_a_held_directory_does_not_help(tree: UxTree, outside: Path) -> None:
    await make_dir(tree.root, "dir")
    directory = await tree.dir("dir")
    await put(directory, "secret", b"mine")
    node = await tree.file("dir", "secret")
    (tree.host / "dir").rename(tree.host / "moved")
    (tree.host / "dir").symlink_to(outside)
    for call in (
        directory.lookup(ME, "secret"),
        directory.entries(ME, "", 10),
        directory.create(ME, "new", OpenHow(OWRITE, 0o644)),
        put(directory, "secret", b"overwritten"),
        node.open(ME, OpenHow(OREAD)),
        remove(node),
        node.stat(ME),
        rename(node, tree.root, "out"),
    ):
        with pytest.raises((serr.NotDir, serr.Perm)):
            await call
    assert os.listdir(outside) == ["secret"]
    assert (outside / "secret").read_text() == "secret"


async def test_a_link_swapped_in_during_a_walk_does_not_help(
    tree: UxTree, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_dir(tree.root, "dir")
    look = HostDir.look

    def look_then_swap(self: HostDir, name: str) -> HostStat:
        status = look(self, name)
        if name == "dir":
            (tree.host / "dir").rmdir()
            (tree.host / "dir").symlink_to(outside)
        return status

    monkeypatch.setattr(HostDir, "look", look_then_swap)
    with pytest.raises(serr.NotDir):
        await tree.root.walk(ME, ["dir", "secret"])


async def test_a_link_swapped_in_before_an_open_does_not_help(tree: UxTree, outside: Path) -> None:
    await put(tree.root, "file", b"mine")
    node = await tree.file("file")
    (tree.host / "file").unlink()
    (tree.host / "file").symlink_to(outside / "secret")
    for mode in (OREAD, OWRITE, OWRITE | OTRUNC):
        with pytest.raises(serr.Perm):
            await node.open(ME, OpenHow(mode))
    assert (outside / "secret").read_text() == "secret"


async def test_dots_are_no_way_up(tree: UxTree, outside: Path) -> None:
    for name in ("..", "../outside", "."):
        with pytest.raises(serr.SigmaError):
            await tree.root.create(ME, name, OpenHow(OWRITE, 0o644))
        with pytest.raises(serr.SigmaError):
            await tree.root.put(ME, name, b"", OpenHow(OWRITE | OTRUNC, 0o644))
    assert sorted(os.listdir(tree.host.parent)) == ["outside", "ux"]


async def test_sockets_and_pipes_are_refused_and_do_not_block(tree: UxTree) -> None:
    os.mkfifo(tree.host / "pipe")
    os.mknod(tree.host / "socket", 0o140644)
    assert await tree.names() == []
    for name in ("pipe", "socket"):
        with pytest.raises(serr.Perm):
            await tree.root.lookup(ME, name)
    await put(tree.root, "file", b"")
    node = await tree.file("file")
    (tree.host / "file").unlink()
    os.mkfifo(tree.host / "file")
    with pytest.raises(serr.Perm):
        await node.open(ME, OpenHow(OREAD))


async def test_the_servers_own_entry_is_hidden(tree: UxTree) -> None:
    hidden = ".sigmaos-ux"
    assert hidden in os.listdir(tree.host)
    assert await tree.names() == []
    for names in ([hidden], [hidden, "x"]):
        with pytest.raises(serr.NotFound):
            await tree.root.walk(ME, names)
    await put(tree.root, "file", b"")
    for call in (
        tree.root.create(ME, hidden, OpenHow(OWRITE, 0o644)),
        put(tree.root, hidden, b""),
        rename(await tree.file("file"), tree.root, hidden),
    ):
        with pytest.raises(serr.Perm):
            await call
    below = await make_dir(tree.root, "dir")
    await put(below, hidden, b"anywhere else it is a name as others")
    assert await tree.names("dir") == [hidden]


async def test_names_that_are_not_text_are_left_out(tree: UxTree) -> None:
    (tree.host / os.fsdecode(b"\xff\xfe")).write_text("x")
    await put(tree.root, "é", b"")
    assert await tree.names() == ["é"]
