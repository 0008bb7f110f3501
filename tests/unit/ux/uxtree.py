"""What the fixture ``tree`` gives: nodes, and the host's directory behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kernel.ux.directory import UxDir
from kernel.ux.file import UxFile
from kernel.ux.fs import UxFs
from kernel.ux.pipe import UxPipe
from kernel.ux.store import UxStore
from sigmaos_ray import serr
from sigmaos_ray.protsrv.node import ChangeHow, OpenFile, OpenHow
from sigmaos_ray.protsrv.watch import WatchTable
from sigmaos_ray.rpcsrv import Caller
from sigmaos_ray.sigmap import DMDIR, DMNAMEDPIPE, NO_LEASE, OREAD, OTRUNC, OWRITE, Fence, Mode, Perm

if TYPE_CHECKING:
    from pathlib import Path

    from kernel.ux.node import UxNode

ME = Caller(session_id=1, client_id=1)


class UxTree(NamedTuple):
    host: Path
    store: UxStore
    fs: UxFs
    watches: WatchTable

    @property
    def root(self) -> UxDir:
        return self.fs.root

    async def dir(self, *names: str) -> UxDir:
        """The directory that names lead to."""
        node = (await self.root.walk(ME, names))[-1] if names else self.root
        assert isinstance(node, UxDir)
        return node

    async def file(self, *names: str) -> UxFile:
        node = (await self.root.walk(ME, names))[-1]
        assert node.name == names[-1]
        assert isinstance(node, UxFile)
        return node

    async def names(self, *names: str) -> list[str]:
        return [stat.name for stat in await (await self.dir(*names)).entries(ME, "", 4096)]


def open_tree(host: Path, *, syncs: bool = False) -> UxTree:
    watches = WatchTable()
    store = UxStore(str(host), threads_max=2, syncs=syncs)
    return UxTree(host, store, UxFs(store, watches), watches)


async def make_dir(directory: UxDir, name: str) -> UxDir:
    node, file = await directory.create(ME, name, OpenHow(OREAD, DMDIR | 0o755))
    assert isinstance(node, UxDir)
    assert file is None
    return node


async def make_pipe(directory: UxDir, name: str) -> UxPipe:
    node, file = await directory.create(ME, name, OpenHow(OREAD, DMNAMEDPIPE | 0o644))
    assert isinstance(node, UxPipe)
    assert file is None
    return node


async def make_file(directory: UxDir, name: str, perm: Perm = 0o644) -> OpenFile:
    _, file = await directory.create(ME, name, OpenHow(OWRITE, perm))
    assert file is not None
    return file


async def put(
    directory: UxDir,
    name: str,
    data: bytes,
    mode: Mode = OWRITE | OTRUNC,
    *,
    perm: Perm = 0o644,
    offset: int = 0,
    fence: Fence | None = None,
    lease: int = NO_LEASE,
) -> int:
    return await directory.put(ME, name, data, OpenHow(mode, perm, lease, fence or Fence()), offset)


def _parent_of(node: UxNode) -> UxDir:
    if node.parent is None:
        raise serr.NotFound(node.name)
    assert isinstance(node.parent, UxDir)
    return node.parent


def _same(node: UxNode, fence: Fence | None) -> ChangeHow:
    return ChangeHow((fence,) if fence else (), node.qid().path)


async def remove(node: UxNode, fence: Fence | None = None) -> None:
    """Removes the entry of a node, as a Tremove of its fid does."""
    await _parent_of(node).remove_entry(ME, node.name, _same(node, fence))


async def rename(node: UxNode, new_dir: UxDir, new_name: str, fence: Fence | None = None) -> None:
    """Renames the entry of a node."""
    await _parent_of(node).rename_entry(ME, node.name, new_dir, new_name, _same(node, fence))
