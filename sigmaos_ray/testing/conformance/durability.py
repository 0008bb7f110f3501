"""What outlives the server's process (D-3, B-4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import pytest

from sigmaos_ray import serr
from sigmaos_ray.sigmap import Fence
from sigmaos_ray.testing.conformance.base import Suite, Tree
from sigmaos_ray.testing.conformance.refusals import needs

if TYPE_CHECKING:
    from sigmaos_ray.fslib import AsyncFsLib


class Restart(Protocol):
    """Stops the server and starts it anew on the same data; returns a new client of it, which the fixture closes."""

    async def __call__(self) -> AsyncFsLib: ...


class DurabilityTests(Suite):
    """Needs one more fixture, ``restart`` (``Restart``). The server under test is best one of its own: its other
    clients lose what they have open."""

    async def test_files_and_directories(self, tree: Tree, restart: Restart) -> None:
        """D-3, B-4: what was acknowledged is there, or nothing is."""
        await tree.sc.mkdir_path(tree.root, "d/e")
        await tree.sc.put_file(tree / "d/f", b"data")
        sc = await restart()
        if not tree.can.durable:
            with pytest.raises(serr.NotFound):
                await sc.get_file(tree / "d/f")
            return
        assert [stat.name for stat in await sc.get_dir(tree / "d")] == ["e", "f"]
        assert await sc.get_file(tree / "d/f") == b"data"
        await sc.put_file(tree / "d/f", b"more")
        await sc.remove(tree / "d/e")

    @needs("links")
    async def test_links(self, tree: Tree, restart: Restart) -> None:
        """B-4: read back as links."""
        await tree.sc.put_file(tree / "f", b"data")
        await tree.sc.symlink(tree / "f", tree / "l")
        sc = await restart()
        if tree.can.durable:
            assert (await sc.stat(tree / "l")).is_symlink
            assert await sc.get_file(tree / "l/") == b"data"

    @needs("versions")
    async def test_versions_do_not_go_back(self, tree: Tree, restart: Restart) -> None:
        """P-8: a version that was seen does not stand for other contents."""
        if not tree.can.durable:
            return
        await tree.sc.put_file(tree / "f", b"1")
        before = await tree.sc.stat(tree / "f")
        sc = await restart()
        await sc.put_file(tree / "f", b"2")
        assert (await sc.stat(tree / "f")).qid.version > before.qid.version

    @needs("fences")
    async def test_fences(self, tree: Tree, restart: Restart) -> None:
        """L-21: an old leader is still shut out, where fences last."""
        await tree.sc.put_file(tree / "f", b"")
        await tree.sc.remove(tree / "f", Fence(tree.root, 5))
        sc = await restart()
        await sc.fence_dir(tree.root, Fence(tree.root, 4))
        call = sc.put_file(tree / "f", b"") if tree.can.durable else sc.mkdir(tree.root)
        if tree.can.lasting_fences:
            with pytest.raises(serr.Stale):
                await call
        else:
            await call
