"""Blocking calls over lines: the same promises as over sessions, and nothing for strangers."""

from __future__ import annotations

import asyncio
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pytest
from probe_service import Probe

from sigmaos_ray import config as configuration
from sigmaos_ray import loopthread, serr
from sigmaos_ray.config import LOOPBACK, ProcEnv
from sigmaos_ray.fslib import AsyncFsLib, rpcdevice
from sigmaos_ray.memfs import MemFs
from sigmaos_ray.pb.rpc_pb2 import AskLeaseReply, LeaseReply, LeaseRequest, Line, Part, RpcReply, RpcRequest
from sigmaos_ray.protsrv.rpclines import LineListener
from sigmaos_ray.protsrv.server import FileServer
from sigmaos_ray.protsrv.watch import WatchTable
from sigmaos_ray.rpcclnt import RPCClnt, RPCError
from sigmaos_ray.rpcclnt.channel import Channel
from sigmaos_ray.sessp import lines

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator


class Site:
    """A server on the loop's thread, and a client of it; as a program has them."""

    def __init__(self) -> None:
        self.probe = Probe("served")
        self.refuses: serr.SigmaError | None = None
        self.asynchronous: AsyncFsLib
        self.run(self._start())

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return loopthread.shared().run(coroutine)

    async def _start(self) -> None:
        watches = WatchTable()
        self.server = FileServer(MemFs(watches).root, watches, services=[self.probe], guard=self._guard)
        config = configuration.current()
        impatient = msgspec.structs.replace(config, walk=msgspec.structs.replace(config.walk, patience_s=0.3))
        self.asynchronous = AsyncFsLib(ProcEnv(pid="test", named=await self.server.start()), impatient)

    def _guard(self) -> None:
        if self.refuses is not None:
            raise self.refuses

    @property
    def lines_count(self) -> int:
        return len(self.server.rpc.listener.connections)

    def stop(self) -> None:
        self.run(self.asynchronous.close_fs())
        self.run(self.server.stop())


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.stop()


@pytest.fixture
def clnt(site: Site) -> Iterator[RPCClnt]:
    """A client that has a line already."""
    clnt = RPCClnt(site, "name/")
    for _ in range(5):
        who(clnt)
    assert site.lines_count == 1
    yield clnt
    clnt.close()


def who(clnt: RPCClnt, call: str = "", timeout_s: float | None = 20) -> str:
    return clnt.rpc("Probe.Who", RpcRequest(method=call), RpcReply, timeout_s).raised


def test_the_same_answers_and_errors(site: Site, clnt: RPCClnt) -> None:
    assert who(clnt) == "served"
    with pytest.raises(serr.NotFound, match=r"Probe\.Nothing"):
        clnt.rpc("Probe.Nothing", RpcRequest(), RpcReply)
    with pytest.raises(RPCError, match="ValueError: no good"):
        clnt.rpc("Probe.Raise", RpcRequest(method="no good"), RpcReply)
    with pytest.raises(serr.Unreachable, match="elsewhere"):
        clnt.rpc("Probe.Away", Part(number=1), LeaseReply)
    assert 0 < clnt.rpc("Probe.Remaining", LeaseRequest(), AskLeaseReply, 20).ttl_s < 20
    assert clnt.rpc("Probe.Remaining", LeaseRequest(), AskLeaseReply).ttl_s == -1
    assert site.lines_count == 1
    assert site.probe.ran.count("Away") == 1


@pytest.mark.parametrize("by_line", [True, False])
def test_immediate_handlers(site: Site, clnt: RPCClnt, by_line: bool) -> None:
    caller: Any = clnt if by_line else RPCClnt(site, "name/")

    def now(method: str) -> str:
        return str(caller.rpc("Probe.Now", RpcRequest(method=method), RpcReply).raised)

    assert now("x") == "served test x"
    with pytest.raises(serr.Stale, match="refused"):
        now("refuse")
    with pytest.raises(RPCError, match="ZeroDivisionError: now"):
        now("break")
    before = len(site.probe.ran)
    site.run(site.server.drain(10))
    with pytest.raises(serr.Unreachable):
        now("late")
    assert len(site.probe.ran) == before
    caller.close()


@pytest.mark.parametrize("size", [1 << 20, 3 << 20])
def test_payloads_that_fit_a_line_and_that_do_not(site: Site, clnt: RPCClnt, size: int) -> None:
    text = "x" * size
    assert clnt.rpc("Probe.Large", RpcRequest(method=text), RpcReply, 20).raised == text
    assert len(clnt.rpc("Probe.Grow", LeaseRequest(lease_id=size), RpcReply, 20).raised) == size


def test_as_many_lines_as_threads_up_to_a_limit(site: Site, clnt: RPCClnt) -> None:
    with ThreadPoolExecutor(40) as threads:
        calls = [threads.submit(clnt.rpc, "Probe.Held", RpcRequest(method=f"{n}"), RpcReply) for n in range(40)]
        while len(site.probe.ran) < 45:
            threading.Event().wait(0.01)
        assert 2 < site.lines_count <= 16
        site.probe.go_on.set()
        assert [call.result(20).raised for call in calls] == ["served"] * 40
    assert sorted(map(int, site.probe.ran[5:])) == list(range(40))


def test_a_time_out_costs_its_line_and_nothing_else(site: Site, clnt: RPCClnt) -> None:
    with pytest.raises(serr.Timeout):
        clnt.rpc("Probe.Held", RpcRequest(), RpcReply, timeout_s=0.1)
    assert who(clnt) == "served"
    while site.server.rpc.running_count:
        threading.Event().wait(0.01)


def test_a_call_that_runs_when_the_server_stops(site: Site, clnt: RPCClnt) -> None:
    with ThreadPoolExecutor(1) as thread:
        held = thread.submit(clnt.rpc, "Probe.Held", RpcRequest(), RpcReply)
        assert site.probe.entered.wait(10)
        site.run(site.server.stop())
        with pytest.raises(serr.IOErr):
            held.result(20)


def test_a_draining_server_finishes_and_refuses(site: Site, clnt: RPCClnt) -> None:
    with ThreadPoolExecutor(2) as threads:
        held = threads.submit(clnt.rpc, "Probe.Held", RpcRequest(method="held"), RpcReply)
        assert site.probe.entered.wait(10)
        draining = threads.submit(site.run, site.server.drain(20))
        while not site.server.rpc.is_draining:
            threading.Event().wait(0.001)
        with pytest.raises(serr.Unreachable):
            who(clnt, "refused")
        assert not draining.done()
        site.probe.go_on.set()
        assert held.result(20).raised == "served"
        draining.result(20)
    assert "refused" not in site.probe.ran


def test_calls_while_a_server_stops_have_a_known_fate(site: Site, clnt: RPCClnt) -> None:
    """What was not answered did not run."""
    answered = 0

    def caller() -> None:
        nonlocal answered
        while True:
            who(clnt, "counted", timeout_s=None)
            answered += 1

    with ThreadPoolExecutor(1) as thread:
        calling = thread.submit(caller)
        while answered < 100:
            threading.Event().wait(0.001)
        site.run(site.server.drain(10))
        site.run(site.server.stop())
        with pytest.raises(serr.Unreachable):
            calling.result(30)
    assert site.probe.ran.count("counted") == answered


def test_a_line_ends_with_its_channel(site: Site, clnt: RPCClnt) -> None:
    site.run(clnt._clnt.close())
    while site.lines_count:
        threading.Event().wait(0.01)
    assert who(clnt) == "served"


def test_a_refusing_server_refuses_over_lines_too(site: Site, clnt: RPCClnt) -> None:
    site.refuses = serr.NotLeading("server")
    with pytest.raises(serr.NotLeading):
        who(clnt)
    site.refuses = None
    assert who(clnt) == "served"


def _offer(site: Site) -> Line:
    async def ask() -> Line:
        channel = Channel(await rpcdevice.open_channel(site.asynchronous.core, "name/"))
        return (await channel.line())[1]

    offer: Line = site.run(ask())
    return offer


def test_strangers(site: Site, clnt: RPCClnt) -> None:
    offer = _offer(site)
    with socket.create_connection(("127.0.0.1", offer.port)) as first:
        first.sendall(b"x" * 16)
        assert first.recv(1) == b""
    connection = socket.create_connection(("127.0.0.1", offer.port))
    connection.sendall(offer.token)
    while site.lines_count < 2:
        threading.Event().wait(0.01)
    with socket.create_connection(("127.0.0.1", offer.port)) as again:
        again.sendall(offer.token)
        assert again.recv(1) == b""
    # What is too large ends the line; what is no call is answered.
    connection.sendall(b"\xff\xff\xff\x7f" * 2)
    assert len(connection.recv(1 << 16)) > 8
    connection.close()
    assert who(clnt) == "served"


def test_a_client_that_does_not_read_its_replies(site: Site, clnt: RPCClnt) -> None:
    """It is not read from either, and goes on where it was once it reads."""
    offer = _offer(site)
    header, argument = RpcRequest(method="Probe.Large"), RpcRequest(method="x" * 10_000)
    call = lines.line_message(header.SerializeToString(), argument.SerializeToString())
    sent = received = 0
    with socket.create_connection(("127.0.0.1", offer.port)) as line:
        line.sendall(offer.token)
        line.settimeout(1.0)

        def send() -> None:
            nonlocal sent
            while sent < 1 << 28:
                sent += line.send(call[sent % len(call) :])

        with pytest.raises(TimeoutError):
            send()
        assert who(clnt) == "served"
        line.settimeout(10.0)
        calls = sent // len(call)
        replies = calls * len(lines.line_message(b"", RpcReply(raised=argument.method).SerializeToString()))
        while received < replies:
            received += len(line.recv(1 << 20))


def test_a_forked_child_has_lines_of_its_own(site: Site, clnt: RPCClnt) -> None:
    """On its parent's it might get a reply that is not to its call."""
    [inherited] = clnt._calls.lines._idle
    clnt._calls.lines._os_pid = -1  # as if another process had made them
    assert who(clnt) == "served"
    assert inherited._socket.fileno() == -1
    assert inherited not in clnt._calls.lines._idle


def test_without_lines(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where none can be had, the session serves."""

    def unreachable(address: object, timeout_s: float) -> socket.socket:
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "create_connection", unreachable)
    clnt = RPCClnt(site, "name/")
    assert [who(clnt) for _ in range(10)] == ["served"] * 10
    assert site.lines_count == 0
    clnt.close()
    assert configuration.current().rpc.inline_bytes_max < configuration.current().wire.message_bytes_max


async def test_no_port_is_opened_behind_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that is asked for while the server ends, and after that."""
    listener = LineListener(LOOPBACK, configuration.current())
    calls = cast("Any", None)
    asking = asyncio.create_task(listener.offer(calls))
    await asyncio.sleep(0)
    listener.close()
    for offer in (asking, listener.offer(calls)):
        with pytest.raises(serr.Closed):
            await offer
    assert listener._server is None
