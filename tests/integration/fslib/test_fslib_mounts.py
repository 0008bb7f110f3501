"""A client's mounts, and how they are cut (N-5, N-6, N-15, S-8)."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import msgspec
import pytest

from sigmaos_ray import serr
from sigmaos_ray.fslib import names
from sigmaos_ray.machine import is_own_address
from sigmaos_ray.sigmap import ORDWR, Endpoint, Fence

if TYPE_CHECKING:
    from fslib_servers import Servers

    from sigmaos_ray.fslib import AsyncFsLib


async def test_mount_tree(servers: Servers, sc: AsyncFsLib) -> None:
    """A subtree of a server, for this client alone, without an endpoint file."""
    server = await servers.another()
    await sc.mount_tree(server.endpoint, "", "name/whole")
    await sc.mkdir("name/whole/d")
    await sc.put_file("name/whole/d/f", b"hi")
    await sc.mount_tree(server.endpoint, "d", "name/part")
    assert names(await sc.get_dir("name/part/")) == ["f"]
    assert await sc.get_file("name/part/f") == b"hi"
    assert await sc.get_file("name/part/../part/f") == b"hi"
    assert "part" not in names(await sc.get_dir("name/"))
    with pytest.raises(serr.NotFound):
        await servers.clnt().get_file("name/part/f")
    assert (await sc.mounts())["name/part"] == msgspec.structs.replace(server.endpoint, root="d")
    for pn, error in (("name/part", serr.Exists), ("name", serr.Inval), ("else/where", serr.Inval)):
        with pytest.raises(error):
            await sc.mount_tree(server.endpoint, "", pn)
    with pytest.raises(serr.NotFound):
        await sc.mount_tree(server.endpoint, "missing", "name/missing")
    with pytest.raises(serr.Unreachable):
        await sc.mount_tree(Endpoint(addrs=("127.0.0.1:1",)), "", "name/dead")


async def test_a_server_is_not_removed_whatever_leads_to_it(servers: Servers, sc: AsyncFsLib) -> None:
    """N-14: Inval, and nothing of it is, by its endpoint, by a union, by a link or by a mount."""
    server = await servers.another()
    await sc.mkdir("name/u")
    await sc.mk_endpoint_file("name/u/srv", server.endpoint)
    await sc.symlink("name/u/srv/", "name/l")
    await sc.mount_tree(server.endpoint, "", "name/m")
    await sc.put_file("name/m/f", b"x")
    for pn in ("name/u/srv/", "name/u/~any/", "name/l/", "name/m/", "name/u/srv/."):
        with pytest.raises(serr.Inval):
            await sc.rmdir(pn)
    for pn in ("name/u/srv", "name/u/~any", "name/l"):
        with pytest.raises(serr.NotDir):
            await sc.rmdir(pn)
    assert await sc.get_file("name/m/f") == b"x"


async def test_a_client_has_one_session_with_a_server(servers: Servers, sc: AsyncFsLib) -> None:
    """S-1: for all of its mounts there; another client has its own."""
    server = await servers.another()
    await asyncio.gather(*(sc.mount_tree(server.endpoint, "", f"name/m{number}") for number in range(3)))
    await sc.mount_tree(server.endpoint, "", "name/later")
    assert server.stats.session_count == 1
    await servers.clnt().mount_tree(server.endpoint, "", "name/m")
    assert server.stats.session_count == 2


async def test_a_mount_that_was_asked_for_comes_back_with_its_server(servers: Servers, sc: AsyncFsLib) -> None:
    server = await servers.another()
    await sc.mount_tree(server.endpoint, "", "name/m")
    fd = await sc.create("name/m/f", mode=ORDWR)
    await sc.get_dir("name/")
    await sc.detach("name")  # any other mount
    await sc.write(fd, b"hi")
    (await sc.core.mount_of(["name", "m"])).fid.session.abandon("cut by the test")
    assert await sc.get_file("name/m/f") == b"hi"
    with pytest.raises(serr.SESSION_ERRORS):
        await sc.read(fd, 1)


async def test_detach(servers: Servers, sc: AsyncFsLib) -> None:
    """The server frees what the client has there; a later walk mounts it anew."""
    server = await servers.another()
    await sc.mk_endpoint_file("name/srv", server.endpoint)
    fd = await sc.create("name/srv/f", mode=ORDWR)
    assert list(await sc.mounts()) == ["name", "name/srv"]
    await sc.detach("name/srv/")
    assert server.stats.fid_count == 0
    with pytest.raises(serr.UnknownFid):
        await sc.read(fd, 1)
    with pytest.raises(serr.NotFound):
        await sc.detach("name/srv")
    assert await sc.get_file("name/srv/f") == b""
    await sc.mount_tree(server.endpoint, "", "name/m")
    await sc.detach("name/m")
    with pytest.raises(serr.NotFound):
        await sc.get_file("name/m/f")


async def test_disconnect_is_for_good(servers: Servers, sc: AsyncFsLib) -> None:
    """N-5, S-8: write, close and open are Unreachable from then on, at once."""
    server = await servers.another()
    await sc.mk_endpoint_file("name/srv", server.endpoint)
    fd = await sc.create("name/srv/f", mode=ORDWR)
    assert not await sc.disconnected()
    await sc.disconnect("name/srv/f")
    assert await sc.disconnected()
    for call in (
        lambda: sc.write(fd, b"x"),
        lambda: sc.close_fd(fd),
        lambda: sc.open("name/srv/f"),
        lambda: sc.get_file("name/srv/f"),
        lambda: sc.put_file("name/srv/f", b""),
    ):
        with pytest.raises(serr.Unreachable):
            await call()
    assert names(await sc.get_dir("name/")) == [".fences", ".statsd", "rpc", "srv"]
    await sc.disconnect("name")
    with pytest.raises(serr.Unreachable):
        await sc.get_dir("name/")


async def test_after_close_everything_is_unreachable(servers: Servers, sc: AsyncFsLib) -> None:
    """S-8."""
    fd = await sc.create("name/f")
    await sc.close_fs()
    for call in (
        lambda: sc.write(fd, b"x"),
        lambda: sc.close_fd(fd),
        lambda: sc.get_file("name/f"),
        lambda: sc.stat("name"),
        lambda: sc.wait_create("name/g"),
        lambda: sc.watch_dir("name").__aenter__(),
    ):
        with pytest.raises(serr.Unreachable):
            await call()


async def test_the_stat_of_a_root_asks_nobody(servers: Servers, sc: AsyncFsLib) -> None:
    """N-15."""
    stat = await sc.stat("name")
    assert (stat.name, stat.is_dir) == (",".join(servers.root.endpoint.addrs), True)
    assert await sc.is_dir("name")
    assert sc.stats()["sp"] == {}
    assert (await sc.stat("name/")).is_dir
    assert sc.stats()["sp"]["stat"] == 1
    server = await servers.another()
    await sc.mount_tree(server.endpoint, "", "name/m")
    assert (await sc.stat("name/m")).name == ",".join(server.endpoint.addrs)
    assert (await sc.stat("name/m/")).is_dir


async def test_the_last_mount_of_a_path(servers: Servers, sc: AsyncFsLib) -> None:
    """Links are followed; the end need not exist."""
    server = await servers.another()
    await sc.mk_endpoint_file("name/srv", server.endpoint)
    await sc.mkdir_path("name/srv", "a/b")
    await sc.symlink("name/srv/a", "name/link")
    assert await sc.path_last_mount("name/srv/a/b") == ("name/srv", "a/b")
    assert await sc.path_last_mount("name/link/b/new") == ("name/srv", "a/b/new")
    assert await sc.path_last_mount("name/srv") == ("name/srv", "")
    assert await sc.path_last_mount("name/x") == ("name", "x")
    assert await sc.copy_endpoint("name/link/b") == (server.endpoint, "a/b")
    assert await sc.server_of("name/link/new") == "name/srv"
    with pytest.raises(serr.NotFound):
        await sc.path_last_mount("name/srv/x/y")


async def test_another_root(servers: Servers, sc: AsyncFsLib) -> None:
    """N-2, N-6: its endpoint file is read again after its server failed."""
    first, second = await servers.another(), await servers.another()
    await sc.mk_endpoint_file("name/srv", first.endpoint)
    await sc.new_root_mount("else", "name/srv")
    await sc.put_file("else/f", b"first")
    assert names(await sc.get_dir("else/"))[-1] == "f"
    assert (await sc.stat("else")).name == ",".join(first.endpoint.addrs)
    await sc.write_endpoint_file("name/srv", second.endpoint)
    await first.stop()
    await sc.put_file("else/f", b"second")
    assert await sc.get_file("name/srv/f") == b"second"
    with pytest.raises(serr.Exists):
        await sc.new_root_mount("else", "name/srv")
    with pytest.raises(serr.Inval):
        await sc.new_root_mount("a/b", "name/srv")
    with pytest.raises(serr.NotFound, match="begin with 'name' or 'else'"):
        await sc.get_file("nowhere/f")


async def test_where_named_is(servers: Servers, sc: AsyncFsLib) -> None:
    """N-6."""
    assert await sc.get_named_endpoint() == servers.root.endpoint
    assert await sc.get_named_endpoint(sc.realm) == servers.root.endpoint
    await sc.put_file("name/f", b"hi")
    await sc.invalidate_named_endpoint()
    assert await sc.get_file("name/f") == b"hi"
    with pytest.raises(serr.NotFound):
        await sc.get_named_endpoint("no-such-realm")
    await sc.mkdir_path("name", "realm")
    elsewhere = Endpoint(addrs=("127.0.0.1:1",))
    await sc.mk_endpoint_file("name/realm/tenant", elsewhere)
    assert await sc.get_named_endpoint("tenant") == elsewhere


async def test_fences_that_a_server_has_seen(servers: Servers, sc: AsyncFsLib) -> None:
    """L-21, L-24."""
    server = await servers.another()
    await sc.mk_endpoint_file("name/srv", server.endpoint)
    await sc.mkdir("name/srv/d")
    old, new = Fence("name/leader", 1, 0), Fence("name/leader", 2, 0)
    fd = await sc.create("name/srv/d/f", mode=ORDWR)
    assert await sc.get_fences("name/srv/d") == []
    assert await sc.write_fence(fd, b"new", new) == 3
    assert await sc.get_fences("name/srv/d") == [new]
    assert await sc.get_fences("name/srv") == [new]
    with pytest.raises(serr.Stale):
        await sc.write_fence(fd, b"old", old)
    await sc.fence_dir("name/srv/d", old)
    with pytest.raises(serr.Stale):
        await sc.put_file("name/srv/d/f", b"old")
    await sc.remove_fence(["name/srv/d"])
    assert await sc.get_fences("name/srv") == []
    await sc.put_file("name/srv/d/f", b"old")
    assert await sc.get_fences("name/srv") == [old]


async def test_counters(servers: Servers, sc: AsyncFsLib) -> None:
    """R-8, D-9."""
    server = await servers.another()
    await sc.mk_endpoint_file("name/srv", server.endpoint)
    assert (await sc.read_srv_stats("name/srv"))["ops"]["getfile"] == 1
    await sc.put_file("name/srv/f", b"")
    assert (await sc.read_srv_stats("name/srv"))["ops"]["putfile"] == 1
    lease_server = await sc.read_rpc_stats("name/srv")
    assert isinstance(lease_server, dict)
    with pytest.raises(serr.NotFound):
        await sc.read_pstats()  # named's alone
    await sc.put_file("name/.not", b"[]")
    with pytest.raises(serr.Inval, match="not a report"):
        await sc._report("name", ".not")


def test_which_addresses_are_this_machines_own() -> None:
    """~local of a client outside rests on it. Asked of the system: a list of names misses all but loopback."""
    own = ["127.0.0.1", "127.0.0.9", "localhost", "[::1]", socket.gethostname()]
    assert [host for host in own if not is_own_address(host)] == []
    # Addresses for examples in documents, which nobody has (RFC 5737).
    assert [host for host in ("192.0.2.1", "203.0.113.7", "") if is_own_address(host)] == []
