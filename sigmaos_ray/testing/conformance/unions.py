"""Unions: ``~any`` and ``~local`` in a directory of endpoint files (N-9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from sigmaos_ray import serr
from sigmaos_ray.fslib import AsyncFsLib
from sigmaos_ray.sigmap import ANY, LOCAL, Endpoint
from sigmaos_ray.testing.conformance.base import PATIENCE_S, Suite, Tree, all_raise, soon
from sigmaos_ray.testing.conformance.refusals import needs

if TYPE_CHECKING:
    from sigmaos_ray.config import Config

NOBODY = Endpoint(addrs=("127.0.0.1:1",))
"""No server answers there."""


async def _union(tree: Tree, *names: str) -> None:
    """A directory ``u`` of servers, each of which has a file that tells its name."""
    await tree.sc.mkdir(tree / "u")
    for name in names:
        await tree.sc.mk_endpoint_file(tree / f"u/{name}", await tree.elsewhere())
        await tree.sc.put_file(tree / f"u/{name}/who", name.encode())


def _hasty(tree: Tree) -> Config:
    """Of a client that hardly tries again."""
    config = tree.sc.config
    return msgspec.structs.replace(
        config, walk=msgspec.structs.replace(config.walk, patience_s=0.01, retry_pause_s=0.01)
    )


class UnionTests(Suite):
    """The server stops a walk before the ``~`` component; the client chooses."""

    @needs("links")
    async def test_any_is_one_of_them(self, tree: Tree) -> None:
        """N-9: any entry; later operations of this client go to the same instance."""
        await _union(tree, "a", "b")
        chosen = await tree.sc.get_file(tree / f"u/{ANY}/who")
        assert chosen in (b"a", b"b")
        await tree.sc.put_file(tree / f"u/{ANY}/f", b"")
        assert "f" in [stat.name for stat in await tree.sc.get_dir(tree / f"u/{chosen.decode()}/")]
        assert "who" in [stat.name for stat in await tree.sc.get_dir(tree / f"u/{ANY}/")]

    @needs("links")
    async def test_entries_that_are_no_servers_are_passed_over(self, tree: Tree) -> None:
        """N-9: unreadable or unparsable entries are skipped."""
        await _union(tree, "z")
        await tree.sc.mkdir(tree / "u/a-dir")
        await tree.sc.put_file(tree / "u/b-file", b"not an endpoint")
        for _ in range(3):
            sc = await tree.client()
            assert await sc.get_file(tree / f"u/{ANY}/who") == b"z"

    @needs("links")
    async def test_a_dead_entry_is_passed_over(self, tree: Tree) -> None:
        """N-9, N-8: what just failed is not tried again while there is another one."""
        await _union(tree, "z")
        await tree.sc.mk_endpoint_file(tree / "u/dead", NOBODY)
        for _ in range(4):
            sc = await tree.client()
            assert await soon(sc.get_file(tree / f"u/{ANY}/who")) == b"z"

    @needs("links")
    async def test_a_link_in_a_union(self, tree: Tree) -> None:
        """N-9: inside a union an entry must be an endpoint."""
        await tree.sc.mkdir(tree / "u")
        await tree.sc.symlink(tree.root, tree / "u/l")
        with pytest.raises(serr.Inval):
            await tree.sc.get_file(tree / f"u/{ANY}/f")

    @needs("links")
    async def test_the_entry_itself(self, tree: Tree) -> None:
        """N-9: without a slash at the end, the bytes of the endpoint; its pathname to hand on."""
        await _union(tree, "a")
        endpoint = await tree.sc.read_endpoint(tree / "u/a")
        assert Endpoint.from_bytes(await tree.sc.get_file(tree / f"u/{ANY}")) == endpoint
        assert await tree.sc.resolve_mounts(tree / f"u/{ANY}/who") == tree / "u/a/who"
        assert await tree.sc.resolve_mount(tree / f"u/{ANY}/") == (tree / "u/a/", True)
        assert await tree.sc.resolve_mount(tree / "u/a/who") == (tree / "u/a/who", False)

    @needs("links")
    async def test_nothing_is_made_of_that_name(self, tree: Tree) -> None:
        """N-9: create and put of a last component ``~any`` or ``~local`` are refused."""
        await _union(tree, "a")
        for name in (ANY, LOCAL):
            await all_raise(
                serr.Inval,
                tree.sc.create(tree / f"u/{name}"),
                tree.sc.put_file(tree / f"u/{name}", b""),
                tree.sc.mkdir(tree / f"u/{name}"),
            )
        assert await tree.names("u") == ["a"]

    @needs("links")
    async def test_local_is_the_entry_of_the_kernel(self, tree: Tree) -> None:
        """N-9: with a kernel id, only the entry of that name."""
        await _union(tree, "sigma-1", "sigma-2")
        env = msgspec.structs.replace(tree.sc.proc_env, kernel_id="sigma-2")
        there = AsyncFsLib(env, tree.sc.config)
        try:
            assert await there.get_file(tree / f"u/{LOCAL}/who") == b"sigma-2"
            assert await there.resolve_mounts(tree / f"u/{LOCAL}/who") == tree / "u/sigma-2/who"
        finally:
            await there.close_fs()

    @needs("links")
    async def test_local_without_a_kernel_is_a_server_of_this_host(self, tree: Tree) -> None:
        """N-9: the entry whose address is this machine's."""
        await _union(tree, "here")
        await tree.sc.mk_endpoint_file(tree / "u/away", Endpoint(addrs=("192.0.2.1:9",)))
        env = msgspec.structs.replace(tree.sc.proc_env, kernel_id="")
        outside = AsyncFsLib(env, tree.sc.config)
        try:
            assert await soon(outside.get_file(tree / f"u/{LOCAL}/who")) == b"here"
        finally:
            await outside.close_fs()

    @needs("links")
    async def test_local_outside_is_any(self, tree: Tree) -> None:
        """N-9: of a client outside, on whose machine none is. A proc waits for the one of its node."""
        await tree.sc.mkdir(tree / "u")
        await tree.sc.mk_endpoint_file(tree / "u/away", Endpoint(addrs=("192.0.2.1:9",)))
        outside = msgspec.structs.replace(tree.sc.proc_env, kernel_id="")
        for env, goes in ((outside, True), (msgspec.structs.replace(outside, schedd_id="k"), False)):
            hasty = AsyncFsLib(env, _hasty(tree))
            try:
                if goes:
                    assert await hasty.resolve_mounts(tree / f"u/{LOCAL}") == tree / "u/away"
                else:
                    with pytest.raises(serr.NotFound, match=LOCAL):
                        await hasty.resolve_mounts(tree / f"u/{LOCAL}")
            finally:
                await hasty.close_fs()

    @needs("links")
    async def test_a_service_that_is_about_to_appear(self, tree: Tree) -> None:
        """N-9, N-13: opening waits a while for the first entry."""
        await tree.sc.mkdir(tree / "u")
        opening = tree.start(tree.sc.get_file(tree / f"u/{ANY}/who"))
        await tree.until_served()
        assert not opening.done()
        endpoint = await tree.elsewhere()
        sc = await tree.client()
        await sc.mount_endpoint(tree / "there", endpoint)
        await sc.put_file(tree / "there/who", b"late")
        await sc.mk_endpoint_file(tree / "u/a", endpoint)
        assert await soon(opening) == b"late"

    @needs("links")
    async def test_an_empty_union_in_the_end(self, tree: Tree) -> None:
        """N-9: NotFound, object ``~any``; the server answers at once, it is the client that is patient."""
        await tree.sc.mkdir(tree / "u")
        hasty = AsyncFsLib(tree.sc.proc_env, _hasty(tree))
        try:
            with pytest.raises(serr.NotFound, match=ANY):
                await hasty.open(tree / f"u/{ANY}/f")
        finally:
            await hasty.close_fs()

    @needs("links", "leases")
    async def test_an_entry_goes_with_its_lease(self, tree: Tree) -> None:
        """L-2: the union then chooses among the others."""
        await _union(tree, "stays")
        lease = await tree.lease()
        await tree.sc.mk_leased_endpoint(tree / "u/goes", NOBODY, lease)
        assert await tree.names("u") == ["goes", "stays"]
        await lease.end()
        await tree.sc.wait_remove(tree / "u/goes", PATIENCE_S)
        assert await tree.sc.get_file(tree / f"u/{ANY}/who") == b"stays"

    @needs("links", "leases", "rename")
    async def test_the_name_of_a_server_that_lives_is_not_taken_away(self, tree: Tree) -> None:
        """N-18: not removed, renamed or replaced by its name, also by ``~any``; who gave it may take it back."""
        sc = await tree.client()
        await tree.sc.mkdir(tree / "u")
        await sc.mk_leased_endpoint(tree / "u/lives", NOBODY, await tree.lease())
        await tree.sc.put_file(tree / "f", b"x")
        await all_raise(
            serr.NoRemove,
            tree.sc.remove(tree / "u/lives"),
            tree.sc.rename(tree / "u/lives", tree / "u/other"),
            tree.sc.rename(tree / "u/lives", tree / "other"),
            tree.sc.rename(tree / "f", tree / "u/lives"),
        )
        await all_raise(
            serr.Inval,
            tree.sc.remove(tree / f"u/{ANY}"),
            tree.sc.remove(tree / f"u/{LOCAL}"),
            tree.sc.rename(tree / f"u/{ANY}", tree / "u/other"),
            tree.sc.rename(tree / "f", tree / f"u/{ANY}"),
        )
        assert (await tree.names("u"), await tree.names()) == (["lives"], ["f", "u"])
        await sc.remove(tree / "u/lives")
        assert await tree.names("u") == []

    @needs("links", "leases")
    async def test_a_directory_goes_with_the_names_of_servers_in_it(self, tree: Tree) -> None:
        """N-18: who removes a job's directory means what is in it."""
        await tree.sc.mkdir(tree / "u")
        await tree.sc.mk_leased_endpoint(tree / "u/lives", NOBODY, await tree.lease())
        await (await tree.client()).rmdir(tree / "u")
        assert await tree.names() == []
