"""Sessions over real streams that break (S-1 to S-9)."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import grpc
import pytest
from cutter import Cutter, door, through

from sigmaos_ray import config, serr
from sigmaos_ray.config import ProcEnv
from sigmaos_ray.fslib import AsyncFsLib
from sigmaos_ray.sigmap import OAPPEND, ORDWR, OREAD, OWRITE, Endpoint

if TYPE_CHECKING:
    from sigmaos_ray.protsrv.server import FileServer


def client_through(cutter: Cutter) -> AsyncFsLib:
    return AsyncFsLib(ProcEnv(pid="test", named=through(cutter)))


async def until(condition: object, within_s: float = 5.0) -> None:
    """Waits for a condition of the server's counters, which nothing announces."""
    deadline = time.monotonic() + within_s
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "the state was not reached"
        await asyncio.sleep(0.01)


async def test_fds_and_watches_survive_a_cut(server: FileServer, kind: str) -> None:
    """S-3: the server still has the session, so fids and watches are intact, and no event is lost."""
    async with Cutter(door(server, kind)) as cutter:
        sc = client_through(cutter)
        fd = await sc.create("name/f", mode=ORDWR)
        await sc.write(fd, b"before ")
        async with sc.watch_dir("name") as watch:
            cutter.cut()
            await sc.write(fd, b"after")
            await sc.put_file("name/g", b"")
            assert (await watch.next_event(2)).name == "g"
        assert await sc.pread(fd, 100, 0) == b"before after"
        assert cutter.connections_count >= 2
        assert server.stats.session_count == 1
        await sc.close_fs()


async def test_appends_through_cuts_take_effect_once_each(server: FileServer, kind: str) -> None:
    """Nothing runs twice: 300 appends, while the connection is cut again and again, leave 300 lines in order."""
    async with Cutter(door(server, kind)) as cutter:
        sc = client_through(cutter)
        await sc.put_file("name/log", b"")

        appended = asyncio.Event()

        async def cutting() -> None:
            while True:
                await asyncio.sleep(0.02)
                cutter.cut()
                # However slow the machine: a connection that is cut before it was of any use is given up in the end.
                appended.clear()
                await appended.wait()

        cuts = asyncio.create_task(cutting())
        for number in range(300):
            await sc.put_file("name/log", f"{number}\n".encode(), mode=OWRITE | OAPPEND)
            appended.set()
        cuts.cancel()
        lines = (await sc.get_file("name/log")).split()
        assert lines == [str(number).encode() for number in range(300)]
        assert cutter.connections_count > 2
        await sc.close_fs()


async def test_a_lost_server_fails_what_was_sent_with_io_error(server: FileServer, kind: str) -> None:
    """S-3: a blocked request whose server went away has an unknown outcome; later ones were never sent."""
    async with Cutter(door(server, kind)) as cutter:
        sc = client_through(cutter)
        fd = await sc.open("name", OREAD)
        async with sc.watch_dir("name") as watch:
            reading = asyncio.create_task(watch.read())
            await until(lambda: server.stats.ops["read"] == 1)
            cutter.down = True
            cutter.cut()
            with pytest.raises(serr.IOErr):
                await asyncio.wait_for(reading, 5)
            with pytest.raises(serr.Unreachable):
                await sc.read(fd, 10)
        await sc.close_fs()


async def test_a_session_without_a_stream_times_out(server: FileServer, kind: str) -> None:
    """S-4, S-5: its fids are clunked and its watches dropped, once the time is over."""
    async with Cutter(door(server, kind)) as cutter:
        sc = client_through(cutter)
        await sc.create("name/f")
        async with sc.watch_dir("name"):
            assert len(server.watches) == 1
            cutter.down = True
            cutter.cut()
            await until(lambda: server.stats.session_count == 0, config.LOCAL.session.session_timeout_s + 3)
            assert server.stats.fid_count == 0
            assert len(server.watches) == 0
        await sc.close_fs()


async def test_an_idle_connected_session_stays(server: FileServer, sc: AsyncFsLib) -> None:
    """S-4: connected but idle never times out."""
    fd = await sc.create("name/f", mode=ORDWR)
    await asyncio.sleep(config.LOCAL.session.session_timeout_s + 0.5)
    assert await sc.write(fd, b"x") == 1


async def test_closing_a_client_frees_everything_at_once(server: FileServer) -> None:
    client = AsyncFsLib(ProcEnv(pid="test", named=server.endpoint))
    await client.create("name/f")
    await client.close_fs()
    await until(lambda: server.stats.session_count == 0, 1.0)
    assert server.stats.fid_count == 0
    with pytest.raises(serr.Unreachable):
        await client.get_file("name/f")


async def test_a_server_that_stops_tells_its_clients(server: FileServer) -> None:
    """S-9: outstanding calls fail with IOErr; a new call finds nobody."""
    client = AsyncFsLib(ProcEnv(pid="test", named=server.endpoint))
    fd = await client.create("name/f")
    async with client.watch_dir("name") as watch:
        reading = asyncio.create_task(watch.read())
        await until(lambda: server.stats.ops["read"] == 1)
        await server.stop()
        with pytest.raises(serr.SESSION_ERRORS):
            await asyncio.wait_for(reading, 5)
        with pytest.raises(serr.Unreachable):
            await client.write(fd, b"x")
    await client.close_fs()


async def test_nobody_at_the_address_is_unreachable() -> None:
    client = AsyncFsLib(ProcEnv(pid="test", named=Endpoint(addrs=("127.0.0.1:9",))))
    client.core.repeats.closed = True  # no retries: one look tells
    with pytest.raises(serr.Unreachable):
        await client.get_file("name/f")
    await client.close_fs()


async def test_concurrent_calls_share_messages(server: FileServer, sc: AsyncFsLib) -> None:
    await sc.put_file("name/f", b"x")
    results = await asyncio.gather(*(sc.get_file("name/f") for _ in range(500)))
    assert results == [b"x"] * 500


async def test_a_cancelled_call_does_not_disturb_the_others(server: FileServer, sc: AsyncFsLib) -> None:
    await sc.put_file("name/f", b"x")
    calls = [asyncio.create_task(sc.get_file("name/f")) for _ in range(100)]
    await asyncio.sleep(0)
    for call in calls[::2]:
        call.cancel()
    await asyncio.wait(calls)
    assert [call.result() for call in calls[1::2]] == [b"x"] * 50
    assert await sc.get_file("name/f") == b"x"


async def test_a_port_that_another_server_has_by_now(server: FileServer, kind: str) -> None:
    """The session ends at once, and nothing of ours goes on talking to the stranger."""
    stranger = grpc.aio.server()
    port = stranger.add_insecure_port("127.0.0.1:0")
    await stranger.start()
    async with Cutter(door(server, kind)) as cutter:
        sc = client_through(cutter)
        fd = await sc.create("name/f", mode=ORDWR)
        cutter.lead_to(f"127.0.0.1:{port}")
        cutter.cut()
        began = time.monotonic()
        with pytest.raises(serr.SESSION_ERRORS):
            await sc.read(fd, 1)
        assert time.monotonic() - began < config.LOCAL.session.resume_timeout_s
        assert cutter.connections_count >= 2
        await until(lambda: cutter.open_count == 0)
        await sc.close_fs()
    await stranger.stop(None)


async def test_connections_are_kept_for_the_next_session(server: FileServer, kind: str) -> None:
    """A channel stays after a good end, and while another session uses it; a plain connection is one session's, and
    then the next one's."""
    async with Cutter(door(server, kind)) as cutter:
        for _ in range(3):
            sc = client_through(cutter)
            await sc.put_file("name/f", b"")
            await sc.close_fs()
        first, second = client_through(cutter), client_through(cutter)
        await first.get_file("name/f")
        await second.get_file("name/f")
        (await first.core.mount_of(["name"])).fid.session.abandon("cut by the test")
        assert await second.get_file("name/f") == b""
        assert cutter.connections_count == (1 if kind == "grpc" else 2)
        await first.close_fs()
        await second.close_fs()


async def test_a_kind_that_is_none_is_told(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    sc = AsyncFsLib(ProcEnv(pid="test", named=server.endpoint))
    monkeypatch.setenv("SIGMAOS_TRANSPORT", "carrier pigeon")
    with pytest.raises(serr.Inval, match="SIGMAOS_TRANSPORT"):
        await sc.get_file("name/f")
    await sc.close_fs()
