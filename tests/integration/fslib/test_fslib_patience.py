"""How long calls go on trying, what they leave behind, and what a server that is lost takes along (E-6, N-5, N-8)."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from fslib_servers import until

from sigmaos_ray import serr
from sigmaos_ray.config import LOCAL
from sigmaos_ray.fslib import AsyncFsLib
from sigmaos_ray.fslib.fidclnt import RemoteFid
from sigmaos_ray.semclnt import AsyncSemaphore
from sigmaos_ray.sigmap import OWRITE, Endpoint

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from fslib_servers import Servers

DEAD = Endpoint(addrs=("127.0.0.1:1",))
SHORT = msgspec.structs.replace(LOCAL, walk=msgspec.structs.replace(LOCAL.walk, patience_s=0.5))

CALLS: dict[str, Callable[[AsyncFsLib, str], Awaitable[object]]] = {
    "get_file": lambda sc, pn: sc.get_file(pn),
    "put_file": lambda sc, pn: sc.put_file(pn, b""),
    "stat": lambda sc, pn: sc.stat(pn),
    "open": lambda sc, pn: sc.open(pn),
    "create": lambda sc, pn: sc.create(pn),
    "mkdir": lambda sc, pn: sc.mkdir(pn),
    "remove": lambda sc, pn: sc.remove(pn),
    "rename": lambda sc, pn: sc.rename(pn, pn + "2"),
    "get_dir": lambda sc, pn: sc.get_dir(pn),
    "wait_create": lambda sc, pn: sc.wait_create(pn),
    "wait_remove": lambda sc, pn: sc.wait_remove(pn),
    "open_reader": lambda sc, pn: sc.open_reader(pn).open(),
    "create_writer": lambda sc, pn: sc.create_writer(pn).open(),
    "put_file_atomic": lambda sc, pn: sc.put_file_atomic(pn, b""),
}


@pytest.mark.parametrize("call", CALLS)
async def test_a_dead_server_is_told_within_one_patience(servers: Servers, call: str) -> None:
    """And neither costs the way there nor leaves fids."""
    sc = servers.clnt(config=SHORT)
    await sc.mk_endpoint_file("name/srv", DEAD)
    stats = servers.root.stats
    fids, attaches = stats.fid_count, stats.ops["attach"]
    began_s = time.monotonic()
    with pytest.raises(serr.Unreachable, match=r"127\.0\.0\.1:1"):
        await CALLS[call](sc, "name/srv/f")
    assert time.monotonic() - began_s < 5  # not once for each call within the call
    await until(lambda: stats.fid_count == fids)
    assert stats.ops["attach"] == attaches


async def test_first_uses_at_once_make_one_attach(servers: Servers, sc: AsyncFsLib) -> None:
    server = await servers.another()
    await sc.mkdir("name/u")
    await sc.mk_endpoint_file("name/u/srv", server.endpoint)
    for pn in ("name/u/srv", "name/u/~any"):
        await asyncio.gather(*(sc.stat(f"{pn}/") for _ in range(200)))
    assert server.stats.ops["attach"] == 2
    await until(lambda: server.stats.fid_count == 2)


async def test_an_address_that_is_none_is_told_at_once(sc: AsyncFsLib) -> None:
    for number, address in enumerate(("nowhere", "unix:/tmp/s", "host:99999", "host:")):
        await sc.mk_endpoint_file(f"name/e{number}", Endpoint(addrs=(address,)))
        began_s = time.monotonic()
        with pytest.raises(serr.Inval, match="host:port"):
            await sc.get_file(f"name/e{number}/f")
        assert time.monotonic() - began_s < LOCAL.session.dial_timeout_s


async def test_any_passes_over_an_address_that_is_none(servers: Servers, sc: AsyncFsLib) -> None:
    server = await servers.another()
    await sc.mkdir("name/u")
    for number in range(3):
        await sc.mk_endpoint_file(f"name/u/wrong{number}", Endpoint(addrs=("nowhere",)))
    await sc.mk_endpoint_file("name/u/right", server.endpoint)
    assert (await sc.stat("name/u/~any/")).is_dir


async def test_what_is_dead_is_not_kept(servers: Servers, sc: AsyncFsLib) -> None:
    for number in range(5):
        server = await servers.another()
        await sc.mk_endpoint_file(f"name/srv{number}", server.endpoint)
        await sc.stat(f"name/srv{number}/")
        await server.stop()
    await until(lambda: len(sc.core.fids._sessions) == 1)
    assert list(await sc.mounts()) == ["name"]


class LostBetween:
    """Ends the session of a fid before the first call of one method is sent."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
        self.lost_count = 0
        real = getattr(RemoteFid, method)

        async def losing(fid: RemoteFid, *args: Any, **more: Any) -> Any:
            if not self.lost_count:
                self.lost_count += 1
                fid.session.abandon("a test")
            return await real(fid, *args, **more)

        monkeypatch.setattr(RemoteFid, method, losing)


@pytest.mark.parametrize(
    ("method", "call"),
    [
        ("open_file", lambda sc: sc.open("name/f")),
        ("open_file", lambda sc: sc.open("name/f", OWRITE)),
        ("open_file", lambda sc: sc.open_reader("name/f").open()),
        ("open_file", lambda sc: sc.get_dir("name/d")),
        ("create_file", lambda sc: sc.create("name/new")),
        ("create_file", lambda sc: sc.mkdir("name/new")),
        ("get_file", lambda sc: sc.resolve_mounts("name/d/~any/f")),
        ("watch", lambda sc: sc.wait_create("name/f")),
    ],
)
async def test_a_session_that_ends_between_walk_and_call(
    servers: Servers, sc: AsyncFsLib, monkeypatch: pytest.MonkeyPatch, method: str, call: Any
) -> None:
    """All calls walk again, as nothing of them ran."""
    await sc.mkdir("name/d")
    await sc.put_file("name/f", b"")
    await sc.mk_endpoint_file("name/d/e", (await servers.another()).endpoint)
    lost = LostBetween(monkeypatch, method)
    await call(sc)
    assert lost.lost_count == 1


async def test_what_any_stands_for_is_where_the_walk_went(servers: Servers) -> None:
    setup = servers.clnt()
    await setup.mkdir("name/u")
    for name in "abcd":
        await setup.mk_endpoint_file(f"name/u/{name}", (await servers.another()).endpoint)
        await setup.put_file(f"name/u/{name}/who", name.encode())
    for _ in range(5):
        sc = servers.clnt()
        who = (await sc.get_file("name/u/~any/who")).decode()
        assert await sc.resolve_mounts("name/u/~any/who") == f"name/u/{who}/who"
        other = servers.clnt()
        entry = await other.resolve_mounts("name/u/~any")
        assert (await other.get_file("name/u/~any/who")).decode() == entry.rpartition("/")[2]


@pytest.mark.parametrize("wait", [AsyncFsLib.wait_remove, lambda sc, pn: AsyncSemaphore(sc, pn).down()])
async def test_an_entry_is_told_from_the_way_to_it(
    servers: Servers, wait: Callable[[AsyncFsLib, str], Coroutine[None, None, None]]
) -> None:
    """A server that went takes its name along, and its files are not known to be removed."""
    sc, other = servers.clnt(config=SHORT), servers.clnt()
    server = await servers.another()
    await other.mk_endpoint_file("name/srv", server.endpoint)
    await other.put_file("name/srv/f", b"")
    waiting = asyncio.create_task(wait(sc, "name/srv/f"))
    await until(lambda: server.stats.ops["watch"] == 1)
    await server.stop()
    await other.remove("name/srv")
    with pytest.raises(serr.NotFound, match="srv"):
        await asyncio.wait_for(waiting, 20)
    with pytest.raises(serr.NotFound):
        await sc.wait_remove("name/srv/f", timeout_s=0)


async def test_an_entry_that_goes_with_its_directory_was_removed(sc: AsyncFsLib) -> None:
    await sc.mkdir("name/d")
    await sc.put_file("name/d/f", b"")
    waiting = asyncio.create_task(sc.wait_remove("name/d/f"))
    await asyncio.sleep(0.05)
    await sc.rmdir("name/d")
    await asyncio.wait_for(waiting, 20)
