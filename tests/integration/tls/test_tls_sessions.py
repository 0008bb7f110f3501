"""Sessions over TLS: what goes over them, and who gets none."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from typing import TYPE_CHECKING

import msgspec
import pytest
import pytest_asyncio
from tlsplaces import EXPIRED, LIMITS, client_file, host_place
from tlsworld import Site, client_of, connected, elsewhere, said_until_end, works

from sigmaos_ray import config as configuration
from sigmaos_ray import loopthread, serr
from sigmaos_ray.config import ProcEnv
from sigmaos_ray.memfs import MemFs
from sigmaos_ray.pb.rpc_pb2 import RpcReply, RpcRequest
from sigmaos_ray.protsrv.server import FileServer
from sigmaos_ray.protsrv.watch import WatchTable
from sigmaos_ray.rpcclnt import RPCClnt
from sigmaos_ray.sessp.channel import close_channels
from sigmaos_ray.sessp.plain import message
from sigmaos_ray.tls.authority import Authority
from sigmaos_ray.tls.identity import identity_at

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine
    from pathlib import Path
    from typing import Any

    from sigmaos_ray.config import Config
    from sigmaos_ray.fslib import AsyncFsLib

KINDS = ("grpc", "plain")
HANDSHAKES_MAX = 60


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The kind of the connections that clients make."""
    monkeypatch.setenv("SIGMAOS_TRANSPORT", request.param)
    return str(request.param)


@pytest_asyncio.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    site = Site(tmp_path)
    await site.start()
    yield site
    await site.stop()
    await close_channels()


def connections(site: Site) -> dict[str, dict[str, int]]:
    return site.server._sessions.connections_report()


async def test_files_of_any_size(site: Site, kind: str) -> None:
    async with client_of(site.endpoint, site.place) as client:
        for size in (0, 1, 1 << 15, (1 << 20) + 1, 5 << 20):
            data = os.urandom(size)
            await client.put_file("name/file", data)
            assert await client.get_file("name/file") == data
        assert connections(site) == {kind: {"main": 1}}
        await asyncio.gather(*(client.put_file(f"name/many-{number}", bytes(100_000)) for number in range(50)))
        assert len(await client.get_dir("name/")) >= 50


async def test_a_client_of_elsewhere_is_let_in(site: Site, kind: str, tmp_path: Path) -> None:
    await works(site.endpoint, client_file(tmp_path / "credentials.json", site.authority))


class ThreadClient:
    """What an RPCClnt asks of its owner."""

    def __init__(self, asynchronous: AsyncFsLib) -> None:
        self.asynchronous = asynchronous

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return loopthread.shared().run(coroutine)


def test_calls_of_threads(tmp_path: Path, kind: str) -> None:
    """Beside the main connection, with data of any size."""
    loop = loopthread.shared()
    site = Site(tmp_path)

    endpoint = loop.run(site.start())
    maker = client_of(endpoint, site.place)
    client = ThreadClient(loop.run(maker.__aenter__()))
    clnt = RPCClnt(client, "name/")
    try:
        for size in (1, 1 << 15, 1 << 20, 3 << 20):
            text = "x" * size
            for _ in range(3):
                assert clnt.rpc("Echo.Say", RpcRequest(method=text), RpcReply, 20).raised == text
        threads = [threading.Thread(target=clnt.rpc, args=("Echo.Say", RpcRequest(), RpcReply, 20)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        beside = connections(site)[kind].get("beside", 0)
        assert beside > 0 if kind == "plain" else beside == 0
    finally:
        clnt.close()
        loop.run(maker.__aexit__(None, None, None))
        loop.run(site.stop())


async def test_who_has_no_certificate_of_the_authority_gets_nothing(site: Site, kind: str, tmp_path: Path) -> None:
    stranger = host_place(tmp_path / "stranger", Authority.at(tmp_path / "other", LIMITS))
    expired = host_place(tmp_path / "expired", Authority.at(tmp_path / "boot", EXPIRED))
    for place, why in (
        (stranger, "the other end's certificate is of another authority"),
        (expired, "our certificate has expired"),
        (str(tmp_path / "nowhere"), "no certificate"),
    ):
        async with client_of(site.endpoint, place) as client:
            with pytest.raises(serr.Unreachable, match=why):
                await client.get_dir("name/")
    assert connections(site) == {}
    await works(site.endpoint, site.place)


async def test_a_server_whose_certificate_has_expired_is_told_as_such(site: Site, tmp_path: Path, kind: str) -> None:
    endpoint = site.endpoint
    good = host_place(tmp_path / "good", site.authority)
    host_place(tmp_path / "host", Authority.at(tmp_path / "boot", EXPIRED))
    async with client_of(endpoint, good) as client:
        with pytest.raises(serr.Unreachable, match="the other end's certificate has expired"):
            await client.get_dir("name/")


async def test_a_client_without_tls_is_told_what_it_lacks(
    site: Site, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On loopback nobody asks: instances there have none.
    monkeypatch.setattr("sigmaos_ray.sessp.dialling._LOOPBACKS", ("nowhere",))
    async with client_of(site.endpoint, "") as client:
        with pytest.raises(serr.Unreachable, match="SIGMAOS_CREDENTIALS"):
            await client.get_dir("name/")
    assert connections(site).get(kind, {}).get("main", 0) == 0


async def test_a_server_without_tls_is_told_as_such(site: Site, kind: str) -> None:
    watches = WatchTable()
    bare = FileServer(MemFs(watches).root, watches)
    endpoint = elsewhere(await bare.start())
    async with client_of(endpoint, site.place) as client:
        with pytest.raises(serr.Unreachable, match="speaks no TLS"):
            await client.get_dir("name/")
    await bare.stop()


GARBAGE = {
    "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "http2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9),
    "hello": message(b"\x0a\x04\x08\x01\x10\x02"),
    "record": b"\x16\x03\x01\x40\x00" + bytes(4096),
    "alert": b"\x15\x03\x03\x00\x02\x02\x28",
    "zeros": bytes(100_000),
    "random": os.urandom(100_000),
}


@pytest.mark.parametrize("garbage", GARBAGE)
async def test_garbage_gets_an_alert_at_most(site: Site, garbage: str) -> None:
    async with client_of(site.endpoint, site.place) as client:
        await client.put_file("name/before", b"1")
        for port in site.ports.values():
            said = await said_until_end(port, GARBAGE[garbage])
            assert len(said) < 64
            assert said[:1] in (b"", b"\x15")
        assert await client.get_file("name/before") == b"1"
    await works(site.endpoint, site.place)


async def test_a_connection_over_the_unix_socket_is_of_the_servers_user(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client takes no other's, and a server lets in no other; then TCP remains."""
    monkeypatch.setattr("sigmaos_ray.sessp.plain.is_ours", lambda _, or_roots: False)
    async with client_of(site.server.endpoint, site.place) as client:
        await client.put_file("name/file", b"")
        assert set(connections(site)) == {"plain"}
        [connection] = site.server._sessions._open
        assert not connection._is_local  # type: ignore[attr-defined]


async def test_a_renewed_certificate_needs_no_new_start(site: Site, tmp_path: Path, kind: str) -> None:
    """The server shows the new one to whoever comes then; connections that are there stay."""
    endpoint = site.endpoint
    good = host_place(tmp_path / "good", site.authority)
    async with client_of(endpoint, good) as early:
        await early.put_file("name/file", b"early")
        host_place(tmp_path / "host", Authority.at(tmp_path / "boot", EXPIRED))
        async with client_of(endpoint, host_place(tmp_path / "other", site.authority)) as late:
            with pytest.raises(serr.Unreachable, match="expired"):
                await late.get_file("name/file")
        assert await early.get_file("name/file") == b"early"
        host_place(tmp_path / "host", site.authority)
        await works(endpoint, good)
    # And the client's own: it is seen with the next connection.
    await close_channels()
    host_place(tmp_path / "good", Authority.at(tmp_path / "boot", EXPIRED))
    async with client_of(endpoint, good) as client:
        with pytest.raises(serr.Unreachable, match="our certificate has expired"):
            await client.get_file("name/file")
    host_place(tmp_path / "good", site.authority)
    await works(endpoint, good)


async def test_handshakes_that_do_not_end_keep_nobody_out(tmp_path: Path, kind: str) -> None:
    """More than a server bears at a time, each with the beginning of a handshake or nothing."""
    site = Site(tmp_path, limited(handshakes_max=HANDSHAKES_MAX))
    endpoint = await site.start()
    waiting = []
    try:
        async with client_of(endpoint, site.place) as client:
            await client.put_file("name/file", b"there")
            for number in range(HANDSHAKES_MAX * 3):
                half = connected(site.ports["plain"])
                half.sendall(b"\x16\x03\x01\x02\x00\x01" if number % 2 else b"\x16")
                waiting.append(half)
                if number % 50 == 0:
                    assert await client.get_file("name/file") == b"there"
            await works(endpoint, site.place)
            handshakes = site.server._plain._handshakes
            assert handshakes is not None
            assert 0 < len(handshakes) <= HANDSHAKES_MAX
    finally:
        for half in waiting:
            half.close()
        await site.stop()
        await close_channels()


def limited(**limits: float) -> Config:
    config = configuration.current()
    return msgspec.structs.replace(config, session=msgspec.structs.replace(config.session, **limits))


async def test_a_handshake_that_does_not_end_is_ended(tmp_path: Path) -> None:
    site = Site(tmp_path, limited(hello_timeout_s=0.5))
    await site.start()
    try:
        for port in site.ports.values():
            assert len(await said_until_end(port, b"\x16\x03\x01")) < 64
        await works(site.endpoint, site.place)
    finally:
        await site.stop()
        await close_channels()


async def test_a_server_needs_its_certificate(tmp_path: Path) -> None:
    watches = WatchTable()
    server = FileServer(MemFs(watches).root, watches, tls=identity_at(str(tmp_path / "nothing")))
    with pytest.raises(serr.Perm, match="no certificate"):
        await server.start()
    assert ProcEnv(pid="test").tls == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
async def test_another_user_of_the_machine_takes_tcp(tmp_path: Path) -> None:
    """The server is root's, whom a client would trust, and takes root's connections alone."""
    watches = WatchTable()
    server = FileServer(MemFs(watches).root, watches)
    endpoint = await server.start()
    env = ProcEnv(pid="other", named=endpoint).to_json()
    program = "from sigmaos_ray import SigmaClnt\nwith SigmaClnt() as sc:\n    sc.put_file('name/other', b'x')\n"
    # Another user, who can read the interpreter and its packages wherever they are.
    caps = "+dac_override,+dac_read_search"
    other = [
        "setpriv",
        "--reuid=2000",
        "--regid=2000",
        "--clear-groups",
        f"--inh-caps={caps}",
        f"--ambient-caps={caps}",
    ]
    try:
        child = await asyncio.create_subprocess_exec(
            *other, sys.executable, "-c", program, env=os.environ | {"SIGMACONFIG": env}, stderr=asyncio.subprocess.PIPE
        )
        _, said = await asyncio.wait_for(child.communicate(), 60)
        assert child.returncode == 0, said
    finally:
        await server.stop()
        await close_channels()
