"""Threads of one client, whose calls go out and come back in the thread itself where that can be, over plain
connections beside the main one. They do what calls on the loop do, whatever ends them, and leave nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from fslib_servers import ServerThread

from sigmaos_ray import SigmaClnt, config, serr
from sigmaos_ray.config import ProcEnv
from sigmaos_ray.deadlines import ending_within
from sigmaos_ray.fslib import AsyncFsLib, AsyncReader
from sigmaos_ray.fslib.fidclnt import RemoteFid
from sigmaos_ray.pb.rpc_pb2 import LeaseReply, LeaseRequest, RpcRequest
from sigmaos_ray.procclnt import lease
from sigmaos_ray.rpcclnt import RPCClnt
from sigmaos_ray.sessp.aside import AsideConnection, Elsewhere
from sigmaos_ray.sessp.channel import close_channels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WITHIN_S = 20.0
LARGE_BYTES = 1 << 20
PAYLOAD = config.Wire().payload_bytes_min
ROOT_FIDS = 1
"""What a client holds that has opened nothing."""


@pytest.fixture
def server() -> Iterator[ServerThread]:
    with ServerThread() as running:
        yield running


@pytest.fixture(params=["grpc", "plain", "still"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """``still``: plain, in a proc's process, whose clients begin without a loop."""
    monkeypatch.setenv("SIGMAOS_TRANSPORT", "plain" if request.param == "still" else request.param)
    if request.param == "still":
        with as_a_proc():
            yield "still"
    else:
        yield str(request.param)


@pytest.fixture
def sc(server: ServerThread, kind: str) -> Iterator[SigmaClnt]:
    """A client that has called: it has a session and, if plain, a connection beside the main one."""
    with SigmaClnt(ProcEnv(pid="test", named=server.endpoint)) as clnt:
        clnt.put_file("name/f", bytes(range(256)) * 100)
        clnt.get_file("name/f")
        assert beside_count(server) == (1 if kind == "plain" else 0)
        yield clnt


@contextlib.contextmanager
def as_a_proc() -> Iterator[None]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        lease.install(lease.ProcLease("p", ours))
        try:
            yield
        finally:
            lease.install(None)


def beside_count(server: ServerThread) -> int:
    counts: int = server.server.stats.sections["connections"]().get("plain", {}).get("beside", 0)
    return counts


def until(holds: Callable[[], bool]) -> None:
    ends_s = time.monotonic() + WITHIN_S
    while not holds():
        assert time.monotonic() < ends_s, "the state was not reached"
        time.sleep(0.01)


def test_which_kind_is_used_is_told(server: ServerThread, sc: SigmaClnt, kind: str) -> None:
    """In ``.statsd``."""
    told = {
        "grpc": {"grpc": {"main": 1}},
        "plain": {"plain": {"main": 1, "beside": 1}},
        "still": {"plain": {"main": 1}},
    }
    assert sc.read_srv_stats("name/")["connections"] == told[kind]


@pytest.mark.parametrize("at", ["send", "receive"])
@pytest.mark.parametrize("kind", ["plain", "still"], indirect=True)
def test_ctrl_c_leaves_nothing_at_the_server(
    server: ServerThread, sc: SigmaClnt, at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the call made there, and whenever its reply comes."""
    stats = server.server.stats
    send = AsideConnection.send
    calls: list[Callable[[], object]] = [
        lambda: sc.open("name/f"),
        lambda: sc.get_file("name/f"),
        lambda: sc.create("name/new"),
        lambda: sc.stat("name/f"),
    ]
    for call in calls:
        with monkeypatch.context() as patch:

            def interrupted(connection: AsideConnection, *arguments: object) -> None:
                if at == "send":
                    send(connection, *arguments)  # type: ignore[arg-type]  # of a send
                raise KeyboardInterrupt

            patch.setattr(AsideConnection, at, interrupted)
            with pytest.raises(KeyboardInterrupt):
                call()
        until(lambda: stats.fid_count == ROOT_FIDS)
        assert sc.get_file("name/f") == bytes(range(256)) * 100
    fd = sc.open("name/f")
    assert fd == 0, "no descriptor was taken"
    sc.close_fd(fd)
    until(lambda: stats.fid_count == ROOT_FIDS)


def test_a_time_out_of_a_thread_leaves_nothing_at_the_server(server: ServerThread, sc: SigmaClnt) -> None:
    """An open that waits for another; a call after it is as quick as ever."""
    sc.new_pipe("name/pipe")
    with pytest.raises(serr.Timeout), ending_within(0.2):
        sc.open("name/pipe")
    assert len(sc.get_file("name/f")) == 25_600
    until(lambda: server.server.stats.fid_count == ROOT_FIDS)


@pytest.mark.parametrize("kind", ["plain", "still"], indirect=True)
@pytest.mark.parametrize("size_bytes", [0, 1, PAYLOAD - 1, PAYLOAD, PAYLOAD + 1, 3 * LARGE_BYTES, 3 * LARGE_BYTES + 7])
def test_a_stream_is_read_in_the_thread(
    server: ServerThread, sc: SigmaClnt, size_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a server on this machine: no part goes through the loop."""
    data = bytes(number % 251 for number in range(size_bytes))
    sc.put_file("name/large", data)

    async def through_the_loop(reader: AsyncReader) -> bool:
        raise AssertionError

    monkeypatch.setattr(AsyncReader, "_fill", through_the_loop)
    with sc.open_reader("name/large") as reader:
        assert b"".join(iter(lambda: reader.read(LARGE_BYTES), b"")) == data
        assert reader.read(1) == b""
    with sc.open_reader("name/large") as reader:
        assert reader.read(3) == data[:3]
        assert reader.read() == data[3:]
    with sc.open_reader("name/large", buffer_bytes=50_000) as reader:
        parts = list(iter(lambda: reader.read(70_001), b""))
        assert b"".join(parts) == data
        assert all(len(part) == 70_001 for part in parts[:-1])
    with sc.open_reader("name/large", 5, 100_000) as reader:
        room = bytearray(200_000)
        count = reader.readinto(room)
        assert room[:count] == data[5:100_005]
    until(lambda: server.server.stats.fid_count == ROOT_FIDS)


@pytest.mark.parametrize("kind", ["plain", "still"], indirect=True)
def test_a_stream_read_in_the_thread_goes_on_behind_an_error(
    server: ServerThread, sc: SigmaClnt, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And behind one read by the loop; nothing is left out, or comes twice."""
    data = bytes(number % 251 for number in range(3 * LARGE_BYTES))
    sc.put_file("name/large", data)
    receive = AsideConnection.receive

    def interrupted(connection: AsideConnection, *arguments: object) -> None:
        receive(connection, *arguments)  # type: ignore[arg-type]  # of a receive
        raise KeyboardInterrupt

    with sc.open_reader("name/large") as reader:
        parts = [reader.read(LARGE_BYTES)]
        with monkeypatch.context() as patch:
            patch.setattr(AsideConnection, "receive", interrupted)
            with pytest.raises(KeyboardInterrupt):
                reader.read(LARGE_BYTES)
        with ending_within(WITHIN_S):
            parts.append(reader.read(LARGE_BYTES))
        parts.append(reader.read())
    assert b"".join(parts) == data
    until(lambda: server.server.stats.fid_count == ROOT_FIDS)


@pytest.mark.parametrize("kind", ["plain", "still"], indirect=True)
def test_the_rest_of_a_stream_that_a_thread_cannot_read_comes_by_the_loop(
    server: ServerThread, sc: SigmaClnt, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read before that is not lost, nor what is left of a part that the loop brought."""
    data = bytes(number % 251 for number in range(3 * LARGE_BYTES))
    sc.put_file("name/large", data)
    read_into = RemoteFid.read_into

    def until_the_second(fid: RemoteFid, offset: int, room: memoryview) -> int:
        if offset > LARGE_BYTES:
            raise Elsewhere
        return read_into(fid, offset, room)

    monkeypatch.setattr(RemoteFid, "read_into", until_the_second)
    with sc.open_reader("name/large") as reader:
        assert reader.read() == data
    with sc.open_reader("name/large", LARGE_BYTES + 1, buffer_bytes=100_000).detach() as raw:
        room = bytearray(1000)
        assert raw.readinto(room) == len(room)
        assert room + raw.readall() == data[LARGE_BYTES + 1 :]


def test_a_descriptor_that_many_threads_read(sc: SigmaClnt) -> None:
    """Each part once, and all of them."""
    fd = sc.open("name/f")
    parts: list[bytes] = []

    def read() -> None:
        while part := sc.read(fd, 100):
            parts.append(part)

    with ThreadPoolExecutor(8) as threads:
        for each in [threads.submit(read) for _ in range(8)]:
            each.result(WITHIN_S)
    sc.close_fd(fd)
    assert len(parts) == 256
    assert sorted(parts) == sorted((bytes(range(256)) * 100)[at : at + 100] for at in range(0, 25_600, 100))


def test_a_descriptor_that_many_threads_append_to(sc: SigmaClnt) -> None:
    fd = sc.create("name/log")
    with ThreadPoolExecutor(8) as threads:
        writes = [threads.submit(sc.write, fd, f"{number:04}".encode()) for number in range(400)]
        assert [each.result(WITHIN_S) for each in writes] == [4] * 400
    sc.close_fd(fd)
    log = sc.get_file("name/log")
    assert sorted(log[at : at + 4] for at in range(0, len(log), 4)) == [f"{n:04}".encode() for n in range(400)]


def test_calls_while_the_client_closes(server: ServerThread, kind: str) -> None:
    """Each is answered, or fails as after the end; none waits."""
    clnt = SigmaClnt(ProcEnv(pid="test", named=server.endpoint))
    clnt.put_file("name/f", b"x")
    answered = threading.Semaphore(0)

    def call() -> serr.SigmaError:
        while True:
            try:
                assert clnt.get_file("name/f") == b"x"
            except serr.SigmaError as error:
                return error
            answered.release()

    with ThreadPoolExecutor(8) as threads:
        callers = [threads.submit(call) for _ in range(8)]
        for _ in range(200):
            assert answered.acquire(timeout=WITHIN_S)
        clnt.close()
        for each in callers:
            assert isinstance(each.result(WITHIN_S), serr.SESSION_ERRORS)
    until(lambda: not server.server.stats.session_count)
    until(lambda: not server.server.stats.fid_count)


def test_a_thread_that_runs_a_loop_of_its_own(sc: SigmaClnt) -> None:
    """Its calls take the client's loop."""

    async def calls() -> int:
        return sum(len(sc.get_file("name/f")) for _ in range(3))

    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(asyncio.run, calls()).result(WITHIN_S) == 3 * 25_600


@pytest.mark.parametrize("kind", ["plain", "still"], indirect=True)
def test_threads_beyond_the_connections_of_a_client(server: ServerThread, sc: SigmaClnt) -> None:
    """They take the main one; and none is made for who needs none."""
    with ThreadPoolExecutor(40) as threads:
        list(threads.map(lambda _: sc.get_file("name/f"), range(400)))
    assert 1 <= beside_count(server) <= 16


@pytest.mark.parametrize("kind", ["plain", "still"], indirect=True)
def test_a_large_call_to_a_server_that_does_not_read_ends_in_time(server: ServerThread, sc: SigmaClnt) -> None:
    """More than the system takes for it: the thread waits as it sends."""
    clnt = RPCClnt(sc, "name")
    with pytest.raises(serr.NotFound):
        clnt.rpc("LeaseSrv.None", LeaseRequest(), LeaseReply)
    large = RpcRequest(method="x" * LARGE_BYTES)
    with server.held_up():
        began_s = time.monotonic()
        with pytest.raises(serr.Timeout):
            clnt.rpc("LeaseSrv.None", large, LeaseReply, 0.3)
        assert time.monotonic() - began_s < config.LOCAL.session.keepalive_timeout_s / 2
    with pytest.raises(serr.NotFound):
        clnt.rpc("LeaseSrv.None", large, LeaseReply)
    clnt.close()


@pytest.mark.parametrize("kind", ["plain", "still"], indirect=True)
def test_a_large_put_to_a_server_that_does_not_read_looks_whether_it_is_gone(
    server: ServerThread, sc: SigmaClnt
) -> None:
    """As a call that waits for its reply does: named may lead no more, and its successor be known."""
    session = sc.run(sc.asynchronous.core.mount_of(["name"])).fid.session
    session.on_loop(session.tell_slow, lambda: session.abandon("it leads no more"))
    with server.held_up():
        began_s = time.monotonic()
        with pytest.raises(serr.IOErr, match="leads no more"):
            sc.put_file("name/large", bytes(LARGE_BYTES))
        assert time.monotonic() - began_s < config.LOCAL.session.keepalive_timeout_s / 2


async def test_a_client_whose_loop_was_held_up_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """For longer than its connection may be silent, and than a session lasts whose connection broke."""
    monkeypatch.setenv("SIGMAOS_TRANSPORT", "plain")
    limits = config.Config(session=config.Session(keepalive_s=0.1, keepalive_timeout_s=0.1, session_timeout_s=0.1))
    with ServerThread(limits) as server:
        sc = AsyncFsLib(ProcEnv(pid="test", named=server.endpoint), limits)
        await sc.put_file("name/f", b"x")
        fd = await sc.open("name/f")
        connections = server.server.stats.sections["connections"]
        until(lambda: not connections())  # holds up this loop
        time.sleep(10 * limits.session.session_timeout_s)  # noqa: ASYNC251  # so does this
        assert server.server.stats.session_count == 1
        assert await sc.read(fd, 10) == b"x"
        await sc.close_fs()
        await close_channels()
