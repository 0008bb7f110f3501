"""Links, endpoint files and unions between servers (N-3 to N-12)."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest
from fslib_servers import until

from sigmaos_ray import serr
from sigmaos_ray.config import LOCAL
from sigmaos_ray.fslib import names
from sigmaos_ray.sigmap import ORDWR, OREAD, Endpoint

if TYPE_CHECKING:
    from fslib_servers import Servers

    from sigmaos_ray.fslib import AsyncFsLib

DEAD = Endpoint(addrs=("127.0.0.1:1",))


async def other_at(servers: Servers, sc: AsyncFsLib, pn: str) -> AsyncFsLib:
    """Another server, which an endpoint file at ``pn`` leads to; returns a client of it alone."""
    server = await servers.another()
    await sc.mk_endpoint_file(pn, server.endpoint)
    alone = servers.clnt()
    await alone.mount_tree(server.endpoint, "", "name/here")
    return alone


@pytest.mark.parametrize("kind", ["text", "endpoint"])
async def test_the_trailing_slash(servers: Servers, sc: AsyncFsLib, kind: str) -> None:
    """N-3: ``l`` is the link, ``l/`` what it leads to; here a directory."""
    alone = await other_at(servers, sc, "name/srv")
    await alone.mkdir("name/here/d")
    await alone.put_file("name/here/d/f", b"hi")
    if kind == "text":
        await sc.symlink("name/srv/d", "name/l")
    else:
        server_endpoint = await sc.read_endpoint("name/srv")
        await sc.mk_endpoint_file("name/l", Endpoint(addrs=server_endpoint.addrs, root="d"))
    link = await sc.get_file("name/l")
    assert (await sc.stat("name/l")).qid.is_symlink
    assert (await sc.stat("name/l/")).is_dir
    assert names(await sc.get_dir("name/l/")) == ["f"]
    with pytest.raises(serr.NotDir):
        await sc.get_dir("name/l")
    with pytest.raises(serr.IsDir):
        await sc.get_file("name/l/")
    assert await sc.get_file("name/l/f") == b"hi"
    await sc.rename("name/l", "name/m")
    assert await sc.get_file("name/m") == link
    await sc.remove("name/m")
    assert await alone.get_file("name/here/d/f") == b"hi"


async def test_the_trailing_slash_of_a_link_to_a_file(sc: AsyncFsLib) -> None:
    """N-3: get, set, put, remove."""
    await sc.put_file("name/f", b"12345")
    await sc.symlink("name/f", "name/l")
    assert await sc.get_file("name/l") == b"name/f"
    assert await sc.get_file("name/l/") == b"12345"
    await sc.set_file("name/l/", b"ab")
    assert await sc.get_file("name/f") == b"ab345"
    await sc.put_file("name/l/", b"new")
    assert await sc.get_file("name/f") == b"new"
    big = bytes(3 << 20)
    for put in (sc.put_file, sc.put_file_atomic):
        await put("name/l/", big)
        assert await sc.get_file("name/l/") == big
        assert (await sc.stat("name/l")).is_symlink
    await sc.put_file("name/g", b"other")
    await sc.put_file("name/l", b"name/g")
    assert await sc.get_file("name/l/") == b"other"
    await sc.remove("name/l/")
    with pytest.raises(serr.NotFound):
        await sc.stat("name/g")
    assert (await sc.stat("name/l")).is_symlink
    with pytest.raises(serr.NotFound):
        await sc.get_file("name/l/")


async def test_cycles_end_at_once(sc: AsyncFsLib) -> None:
    """N-7: too many links are Unreachable, and no try again helps."""
    await sc.symlink("name/b/x", "name/a")
    await sc.symlink("name/a/x", "name/b")
    await sc.symlink("name/self", "name/self")
    began_s = time.monotonic()
    for pn in ("name/a/", "name/a/f", "name/self/"):
        with pytest.raises(serr.Unreachable, match="cycles"):
            await sc.get_file(pn)
    with pytest.raises(serr.Unreachable, match="cycles"):
        await sc.create("name/a/f")
    assert time.monotonic() - began_s < LOCAL.walk.patience_s / 2


async def test_chains_within_the_limit(sc: AsyncFsLib) -> None:
    """N-7: eight links are followed."""
    await sc.mkdir("name/d")
    await sc.put_file("name/d/f", b"end")
    target = "name/d"
    for number in range(LOCAL.walk.symlink_restarts_max):
        await sc.symlink(target, f"name/l{number}")
        target = f"name/l{number}"
    assert await sc.get_file(f"{target}/f") == b"end"


async def test_rename_when_parents_are_links(servers: Servers, sc: AsyncFsLib) -> None:
    """N-12: parents are resolved, whatever the slash."""
    await sc.mkdir("name/d")
    await sc.mkdir("name/e")
    await sc.symlink("name/d", "name/ld")
    await sc.symlink("name/e", "name/le")
    await sc.put_file("name/d/f", b"f")
    await sc.rename("name/ld/f", "name/le/g")
    assert await sc.get_file("name/e/g") == b"f"
    await sc.rename("name/le/g", "name/le/h")
    assert await sc.get_file("name/e/h") == b"f"
    await sc.rename("name/le/h", "name/e/i")  # one directory by two names
    assert await sc.get_file("name/e/i") == b"f"
    with pytest.raises(serr.NotFound):
        await sc.rename("name/le/h", "name/e/i")
    await other_at(servers, sc, "name/srv")
    with pytest.raises(serr.Inval, match="one server"):
        await sc.rename("name/e/i", "name/srv/i")


async def test_a_link_to_another_server_costs_one_walk_once(servers: Servers, sc: AsyncFsLib) -> None:
    """N-10: afterwards the mount table is longer, and the same call needs one message."""
    alone = await other_at(servers, sc, "name/srv")
    await alone.put_file("name/here/f", b"hi")
    assert await sc.get_file("name/srv/f") == b"hi"
    before = sc.stats()
    assert await sc.get_file("name/srv/f") == b"hi"
    after = sc.stats()
    assert after["path"] == before["path"]
    assert sum(after["sp"].values()) == sum(before["sp"].values()) + 1


async def test_an_endpoint_file_that_names_a_dead_server(servers: Servers) -> None:
    """N-8: calls through it wait, and go on at what replaces it under the same name."""
    sc, other = servers.clnt(), servers.clnt()
    replacement = await servers.another()
    await sc.mk_endpoint_file("name/srv", DEAD)
    putting = asyncio.create_task(sc.put_file("name/srv/f", b"hi"))
    await until(lambda: sc.stats()["path"].get("NwalkEP", 0) >= 2)  # it met the dead one, and tries again
    await other.write_endpoint_file("name/srv", replacement.endpoint)
    await putting
    assert await other.get_file("name/srv/f") == b"hi"
    assert await other.read_endpoint("name/srv") == replacement.endpoint


async def test_an_fd_outlives_no_server(servers: Servers, sc: AsyncFsLib) -> None:
    """E-7: errors on an open fd are told, never retried; the pathname finds the replacement."""
    first, second = await servers.another(), await servers.another()
    await sc.mk_endpoint_file("name/srv", first.endpoint)
    fd = await sc.create("name/srv/f", mode=ORDWR)
    await sc.write(fd, b"old")
    await sc.write_endpoint_file("name/srv", second.endpoint)
    await first.stop()
    for call in (lambda: sc.read(fd, 1), lambda: sc.write(fd, b"x"), lambda: sc.pread(fd, 1, 0)):
        with pytest.raises(serr.SESSION_ERRORS):
            await call()
    with pytest.raises(serr.SESSION_ERRORS):
        await sc.close_fd(fd)
    await sc.put_file("name/srv/f", b"new")
    assert await sc.get_file("name/srv/f") == b"new"


# -- unions


async def test_any_skips_what_is_no_endpoint_and_what_failed(servers: Servers, sc: AsyncFsLib) -> None:
    """N-9."""
    alone = await other_at(servers, sc, "name/ignored")
    await alone.put_file("name/here/f", b"live")
    await sc.mkdir("name/u")
    await sc.put_file("name/u/a-file", b"not an endpoint")
    await sc.symlink("name/f", "name/u/a-link")
    await sc.mkdir("name/u/a-dir")
    await sc.mk_endpoint_file("name/u/dead", DEAD)
    await sc.mk_endpoint_file("name/u/live", await sc.read_endpoint("name/ignored"))
    assert await sc.get_file("name/u/~any/f") == b"live"
    assert await sc.resolve_mounts("name/u/~any/f") in ("name/u/live/f", "name/u/dead/f")
    # The choice is remembered: no further search.
    before = sc.stats()["path"]["NwalkUnion"]
    assert names(await sc.get_dir("name/u/~any/")) == [".fences", ".statsd", "rpc", "f"]
    assert sc.stats()["path"]["NwalkUnion"] == before


async def test_any_is_not_always_the_same(servers: Servers, sc: AsyncFsLib) -> None:
    """N-9: at random, so that clients spread over the entries. Thirty equal choices of two are not by chance."""
    await sc.mkdir("name/u")
    for name in ("one", "two"):
        await sc.mk_endpoint_file(f"name/u/{name}", DEAD)
    assert {await sc.resolve_mounts("name/u/~any") for _ in range(30)} == {"name/u/one", "name/u/two"}


async def test_any_avoids_what_just_failed(servers: Servers, sc: AsyncFsLib) -> None:
    """N-9: while there is another one."""
    live = await servers.another()
    await sc.mkdir("name/u")
    await sc.mk_endpoint_file("name/u/dead", DEAD)
    reading = asyncio.create_task(sc.get_file("name/u/~any/f"))
    await until(lambda: sc.stats()["path"].get("NwalkUnion", 0) >= 2)  # it was chosen, failed, and is chosen again
    reading.cancel()
    await sc.mk_endpoint_file("name/u/live", live.endpoint)
    assert {await sc.resolve_mounts("name/u/~any") for _ in range(30)} == {"name/u/live"}


async def test_the_entry_itself(servers: Servers, sc: AsyncFsLib) -> None:
    """N-9: without a slash the entry's bytes; nothing is created under such a name."""
    await sc.mkdir("name/u")
    await sc.mk_endpoint_file("name/u/one", DEAD)
    assert Endpoint.from_bytes(await sc.get_file("name/u/~any")) == DEAD
    assert (await sc.stat("name/u/~any")).is_endpoint
    for call in (sc.create("name/u/~any"), sc.put_file("name/u/~local", b""), sc.mkdir("name/u/~any")):
        with pytest.raises(serr.Inval):
            await call


async def test_text_links_in_a_union(servers: Servers, sc: AsyncFsLib) -> None:
    """N-9: entries are endpoints; a union of nothing but links is a mistake that no waiting mends."""
    await sc.mkdir("name/u")
    await sc.symlink("name/x", "name/u/k1")
    for client in (sc, servers.clnt(kernel_id="k1")):
        for union in ("~any", "~local"):
            if client is sc and union == "~local":
                continue
            with pytest.raises(serr.Inval):
                await client.get_file(f"name/u/{union}/f")


async def test_local_is_the_own_kernel_node(servers: Servers) -> None:
    """N-9."""
    sc = servers.clnt(kernel_id="k2")
    await sc.mkdir("name/u")
    for name in ("k1", "k2"):
        alone = await other_at(servers, sc, f"name/u/{name}")
        await alone.put_file("name/here/who", name.encode())
    assert await sc.get_file("name/u/~local/who") == b"k2"
    assert await sc.resolve_mount("name/u/~local/who/") == ("name/u/k2/who/", True)
    assert await sc.resolve_mount("name/u/k2/who") == ("name/u/k2/who", False)
    assert await sc.resolve_mounts("name/u/~local/who") == "name/u/k2/who"


async def test_a_union_that_waits_for_its_first_entry(servers: Servers) -> None:
    """N-9: a service that is about to appear."""
    sc, other = servers.clnt(), servers.clnt()
    server = await servers.another()
    await other.mkdir("name/u")
    reading = asyncio.create_task(sc.open("name/u/~any/.statsd", OREAD))
    await other.mk_endpoint_file("name/u/late", server.endpoint)
    await sc.close_fd(await reading)
