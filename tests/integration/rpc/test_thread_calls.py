"""Calls of threads: over connections of their own where they can be had, with the promises of their session."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from probe_service import Probe

from sigmaos_ray import config as configuration
from sigmaos_ray import loopthread, serr
from sigmaos_ray.config import ProcEnv
from sigmaos_ray.fslib import AsyncFsLib
from sigmaos_ray.memfs import MemFs
from sigmaos_ray.pb.rpc_pb2 import AskLeaseReply, LeaseReply, LeaseRequest, Part, RpcReply, RpcRequest
from sigmaos_ray.protsrv.server import FileServer
from sigmaos_ray.protsrv.watch import WatchTable
from sigmaos_ray.rpcclnt import RPCClnt, RPCError
from sigmaos_ray.sessp.aside import AsideConnection

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from sigmaos_ray.sessp.client import ClientSession

TIMEOUT_S = 20.0
WARM_COUNT = 5


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
    def beside_count(self) -> int:
        """Connections beside the main ones."""
        [session] = self.server._sessions._sessions.values()
        return len(session.connections) - 1

    def stop(self) -> None:
        self.probe.go_on.set()
        self.run(self.asynchronous.close_fs())
        self.run(self.server.stop())


@pytest.fixture(params=["grpc", "plain"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("SIGMAOS_TRANSPORT", request.param)
    return str(request.param)


@pytest.fixture
def site(kind: str) -> Iterator[Site]:
    site = Site()
    yield site
    site.stop()


@pytest.fixture
def clnt(site: Site) -> Iterator[RPCClnt]:
    """A client that has called already."""
    clnt = RPCClnt(site, "name/")
    for _ in range(WARM_COUNT):
        who(clnt)
    yield clnt
    clnt.close()


def who(clnt: RPCClnt, call: str = "", timeout_s: float | None = TIMEOUT_S) -> str:
    return clnt.rpc("Probe.Who", RpcRequest(method=call), RpcReply, timeout_s).raised


def until(holds: Callable[[], bool]) -> None:
    for _ in range(int(TIMEOUT_S * 100)):
        if holds():
            return
        threading.Event().wait(0.01)
    raise AssertionError("the state was not reached")


def session_of(clnt: RPCClnt) -> ClientSession:
    channel = clnt._clnt.channel
    assert channel is not None
    return channel.fid.session


def test_the_same_answers_and_errors(site: Site, clnt: RPCClnt, kind: str) -> None:
    assert who(clnt) == "served"
    with pytest.raises(serr.NotFound, match=r"Probe\.Nothing"):
        clnt.rpc("Probe.Nothing", RpcRequest(), RpcReply)
    with pytest.raises(RPCError, match="ValueError: no good"):
        clnt.rpc("Probe.Raise", RpcRequest(method="no good"), RpcReply)
    with pytest.raises(serr.Unreachable, match="elsewhere"):
        clnt.rpc("Probe.Away", Part(number=1), LeaseReply)
    assert 0 < clnt.rpc("Probe.Remaining", LeaseRequest(), AskLeaseReply, 20).ttl_s < 20
    assert clnt.rpc("Probe.Remaining", LeaseRequest(), AskLeaseReply).ttl_s == -1
    assert site.probe.ran.count("Away") == 1
    assert site.beside_count == (1 if kind == "plain" else 0)


def test_immediate_handlers(site: Site, clnt: RPCClnt) -> None:
    def now(method: str) -> str:
        return clnt.rpc("Probe.Now", RpcRequest(method=method), RpcReply).raised

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


def test_immediate_handlers_that_have_to_wait(clnt: RPCClnt) -> None:
    assert clnt.rpc("Probe.Later", LeaseRequest(), AskLeaseReply, 20).ttl_s == 0
    assert clnt.rpc("Probe.Later", LeaseRequest(lease_id=10), AskLeaseReply).ttl_s == 10
    assert clnt.rpc("Probe.Later", LeaseRequest(lease_id=10), AskLeaseReply, 20).ttl_s == 10
    with pytest.raises(serr.Timeout):
        clnt.rpc("Probe.Later", LeaseRequest(lease_id=60_000), AskLeaseReply, 0.1)


@pytest.mark.parametrize("size", [1 << 20, 3 << 20])
def test_payloads_of_one_message_and_of_several(site: Site, clnt: RPCClnt, size: int) -> None:
    text = "x" * size
    assert clnt.rpc("Probe.Large", RpcRequest(method=text), RpcReply, 20).raised == text
    assert len(clnt.rpc("Probe.Grow", LeaseRequest(lease_id=size), RpcReply, 20).raised) == size


def test_as_many_connections_as_threads_up_to_a_limit(site: Site, clnt: RPCClnt, kind: str) -> None:
    with ThreadPoolExecutor(40) as threads:
        calls = [threads.submit(clnt.rpc, "Probe.Held", RpcRequest(method=f"{n}"), RpcReply) for n in range(40)]
        until(lambda: len(site.probe.ran) == WARM_COUNT + 40)
        if kind == "plain":
            assert site.beside_count == configuration.current().session.connections_per_client_max
        site.probe.go_on.set()
        assert [call.result(20).raised for call in calls] == ["served"] * 40
    assert sorted(map(int, site.probe.ran[WARM_COUNT:])) == list(range(40))


def test_a_time_out_costs_its_connection_and_nothing_else(site: Site, clnt: RPCClnt) -> None:
    with pytest.raises(serr.Timeout):
        clnt.rpc("Probe.Held", RpcRequest(), RpcReply, timeout_s=0.1)
    assert who(clnt) == "served"
    until(lambda: not site.server.rpc.running_count)


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
        until(lambda: site.server.rpc.is_draining)
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
        until(lambda: answered >= 100)
        site.run(site.server.drain(10))
        site.run(site.server.stop())
        with pytest.raises(serr.Unreachable):
            calling.result(30)
    assert site.probe.ran.count("counted") == answered


@pytest.mark.parametrize("kind", ["plain"], indirect=True)
def test_a_call_survives_the_loss_of_its_connection(site: Site, clnt: RPCClnt) -> None:
    """While it runs, and before it is sent; it runs once."""
    with ThreadPoolExecutor(1) as thread:
        held = thread.submit(clnt.rpc, "Probe.Held", RpcRequest(method="once"), RpcReply)
        assert site.probe.entered.wait(10)
        [connection] = session_of(clnt)._aside._all
        connection.wake()
        site.probe.go_on.set()
        assert held.result(20).raised == "served"
    assert site.probe.ran.count("once") == 1
    assert who(clnt) == "served"
    [connection] = session_of(clnt)._aside._all
    connection.wake()
    assert who(clnt, "again") == "served"
    assert site.probe.ran.count("again") == 1


def test_a_call_ends_with_its_session(site: Site, clnt: RPCClnt) -> None:
    with ThreadPoolExecutor(1) as thread:
        held = thread.submit(clnt.rpc, "Probe.Held", RpcRequest(), RpcReply)
        assert site.probe.entered.wait(10)
        session = session_of(clnt)
        loopthread.shared().loop.call_soon_threadsafe(session.abandon, "by a test")
        with pytest.raises(serr.IOErr):
            held.result(20)
    site.probe.go_on.set()
    assert who(clnt) == "served"


@pytest.mark.parametrize("kind", ["plain"], indirect=True)
def test_an_interrupted_call_leaves_nothing_to_the_next(
    site: Site, clnt: RPCClnt, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the wait for a reply, which comes later."""
    receive = AsideConnection.receive

    def interrupted(*_args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(AsideConnection, "receive", interrupted)
    with pytest.raises(KeyboardInterrupt):
        who(clnt, "interrupted")
    monkeypatch.setattr(AsideConnection, "receive", receive)
    assert who(clnt, "next") == "served"
    until(lambda: site.probe.ran.count("interrupted") == 1)
    until(lambda: not session_of(clnt)._state.outstanding_count)


def test_a_refusing_server_refuses_threads_too(site: Site, clnt: RPCClnt) -> None:
    site.refuses = serr.NotLeading("server")
    ran_count = len(site.probe.ran)
    with pytest.raises(serr.SESSION_ERRORS):  # after it looked for one that leads
        who(clnt)
    assert len(site.probe.ran) == ran_count
    site.refuses = None
    assert who(clnt) == "served"


@pytest.mark.parametrize("kind", ["plain"], indirect=True)
def test_the_next_client_uses_the_connections_of_the_one_before(site: Site, clnt: RPCClnt) -> None:
    [connection] = session_of(clnt)._aside._all
    clnt.close()
    site.run(site.asynchronous.close_fs())
    site.asynchronous = AsyncFsLib(site.asynchronous.proc_env)
    other = RPCClnt(site, "name/")
    for _ in range(2):
        assert who(other) == "served"
    assert session_of(other)._aside._all == {connection}
    other.close()


def test_where_none_can_be_had(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The session serves."""

    def refused(*_args: object, **_named: object) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr(AsideConnection, "__init__", refused)
    clnt = RPCClnt(site, "name/")
    assert [who(clnt) for _ in range(10)] == ["served"] * 10
    assert site.beside_count == 0
    clnt.close()
    assert configuration.current().rpc.inline_bytes_max < configuration.current().wire.message_bytes_max
