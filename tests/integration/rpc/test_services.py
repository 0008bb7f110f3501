"""Servers behind names: one, several in a directory, evicted ones; and clients that go from one to another (R-5,
R-9)."""

from __future__ import annotations

import secrets
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import msgspec
import pytest
from probe_service import Probe

from sigmaos_ray import SigmaClnt, serr
from sigmaos_ray.pb.rpc_pb2 import LeaseReply, Part, RpcReply, RpcRequest
from sigmaos_ray.rpcclnt import RPCClnt, ShardedRPCClnt
from sigmaos_ray.sigmasrv import SigmaSrv

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sigmaos_ray.testing import Tstate


@pytest.fixture(scope="module")
def sc(tstate_all: Tstate) -> SigmaClnt:
    return tstate_all.sc


@pytest.fixture
def directory(sc: SigmaClnt) -> Iterator[str]:
    pn = f"name/services-{secrets.token_hex(4)}"
    sc.mkdir(pn)
    yield pn
    sc.rmdir(pn)


class Fleet:
    """Servers in one directory, each with a name that its ``Probe.Who`` tells."""

    def __init__(self, sc: SigmaClnt, directory: str) -> None:
        self.sc = sc
        self.directory = directory
        self.probes: dict[str, Probe] = {}
        self.servers: dict[str, SigmaSrv] = {}

    def start(self, name: str) -> None:
        self.probes[name] = Probe(name)
        self.servers[name] = SigmaSrv(f"{self.directory}/{name}", self.probes[name], sc=self.sc)
        self.servers[name].start()

    def crash(self, name: str) -> None:
        """The server is gone, its name is still there."""
        server = self.servers.pop(name)
        endpoint, pn = server.endpoint, server.pathname
        server.stop()
        self.sc.mk_endpoint_file(pn, endpoint)

    def stop(self) -> None:
        for server in self.servers.values():
            server.stop()

    def calls(self) -> list[str]:
        return sorted(method for probe in self.probes.values() for method in probe.ran)


@pytest.fixture
def fleet(sc: SigmaClnt, directory: str) -> Iterator[Fleet]:
    fleet = Fleet(sc, directory)
    yield fleet
    fleet.stop()


def who(clnt: RPCClnt | ShardedRPCClnt, call: str = "") -> str:
    return clnt.rpc("Probe.Who", RpcRequest(method=call), RpcReply, timeout_s=20).raised


def test_a_name_that_is_taken(sc: SigmaClnt, fleet: Fleet) -> None:
    fleet.start("one")
    with pytest.raises(serr.Exists), SigmaSrv(f"{fleet.directory}/one", Probe("two"), sc=sc):
        pass
    clnt = RPCClnt(sc, f"{fleet.directory}/one")
    assert who(clnt) == "one"
    clnt.close()


def test_servers_of_a_directory_are_named_by_address(sc: SigmaClnt, directory: str) -> None:
    with SigmaSrv(f"{directory}/", Probe(), sc=sc) as server:
        assert [stat.name for stat in sc.get_dir(directory)] == [server.endpoint.addrs[0]]
        assert server.pathname == f"{directory}/{server.endpoint.addrs[0]}"
    assert sc.get_dir(directory) == []
    with pytest.raises(serr.NotFound), SigmaSrv(f"{directory}/missing/", Probe(), sc=sc):
        pass
    sc.put_file(f"{directory}/file", b"")
    with pytest.raises(serr.SigmaError), SigmaSrv(f"{directory}/file/", Probe(), sc=sc):
        pass


def test_a_server_listens_where_its_node_does(sc: SigmaClnt, directory: str) -> None:
    """On a cluster loopback would be reached by nobody else. Here another address of loopback stands for the node's."""
    env = msgspec.structs.replace(sc.proc_env, pid="elsewhere", host="127.0.0.2")
    with SigmaClnt(env) as there, SigmaSrv(f"{directory}/there", Probe("there"), sc=there) as server:
        assert [address.rpartition(":")[0] for address in server.endpoint.addrs] == ["127.0.0.2"]
        assert who(RPCClnt(sc, server.pathname)) == "there"


def test_calls_are_spread(sc: SigmaClnt, fleet: Fleet) -> None:
    for name in ("one", "two", "three"):
        fleet.start(name)
    with ShardedRPCClnt(sc, fleet.directory) as clnt:
        assert clnt.wait_n(3, timeout_s=10) == ["one", "three", "two"]
        assert sorted(who(clnt) for _ in range(9)) == ["one"] * 3 + ["three"] * 3 + ["two"] * 3
        replies = clnt.rpc_all("Probe.Who", RpcRequest(), RpcReply)
        assert {name: reply.raised for name, reply in replies.items()} == {name: name for name in fleet.servers}
        assert clnt.rpc_to("two", "Probe.Who", RpcRequest(), RpcReply).raised == "two"
        with pytest.raises(serr.Unreachable, match="four"):
            clnt.rpc_to("four", "Probe.Who", RpcRequest(), RpcReply)


def test_servers_come_and_go(sc: SigmaClnt, fleet: Fleet) -> None:
    """No call is lost or made twice, whichever servers there are."""
    fleet.start("one")
    is_over = threading.Event()
    failures: list[Exception] = []
    calls = 0

    def caller() -> None:
        nonlocal calls
        while not is_over.is_set():
            try:
                who(clnt, f"{calls:08}")
                calls += 1
            except serr.SigmaError as error:
                failures.append(error)
                return

    with ShardedRPCClnt(sc, fleet.directory) as clnt, ThreadPoolExecutor(1) as pool:
        running = pool.submit(caller)
        fleet.start("two")
        clnt.wait_n(2, timeout_s=10)
        while not fleet.probes["two"].ran and not running.done():
            is_over.wait(0.01)
        fleet.servers.pop("one").stop()
        fleet.start("three")
        while not fleet.probes["three"].ran and not running.done():
            is_over.wait(0.01)
        is_over.set()
        running.result()
    assert not failures
    assert fleet.calls() == [f"{call:08}" for call in range(calls)]


def test_a_server_that_died_is_passed_over(sc: SigmaClnt, fleet: Fleet) -> None:
    """Its name stays until its lease ends."""
    for name in ("one", "two"):
        fleet.start(name)
    union = RPCClnt(sc, f"{fleet.directory}/~any")
    with ShardedRPCClnt(sc, fleet.directory) as clnt:
        for _ in range(4):
            who(clnt)
        first = who(union)
        fleet.crash(first)
        [other] = fleet.servers
        assert {who(clnt) for _ in range(4)} == {other}
        assert {who(union) for _ in range(2)} == {other}
    union.close()


def test_a_call_whose_fate_is_unknown(sc: SigmaClnt, fleet: Fleet) -> None:
    """R-6: reported, unless the caller says that it may be made again."""
    for name in ("one", "two"):
        fleet.start(name)
    with ShardedRPCClnt(sc, fleet.directory) as clnt, ThreadPoolExecutor(2) as pool:
        clnt.wait_n(2, timeout_s=10)
        request = RpcRequest(method="held")
        call = pool.submit(clnt.rpc_to, "one", "Probe.Held", request, RpcReply)
        assert fleet.probes["one"].entered.wait(10)
        fleet.servers["one"]._drain_s = 0
        fleet.servers.pop("one").stop()
        with pytest.raises(serr.IOErr):
            call.result(20)

        fleet.probes["two"].go_on.set()
        fleet.start("three")
        clnt.wait_n(2, timeout_s=10)
        fleet.servers["three"]._drain_s = 0
        again = [pool.submit(clnt.rpc, "Probe.Held", request, RpcReply, 30, idempotent=True) for _ in range(2)]
        assert fleet.probes["three"].entered.wait(10)
        fleet.servers.pop("three").stop()
        assert [call.result(20).raised for call in again] == ["two", "two"]


@pytest.mark.parametrize(("number", "kind"), [(0, serr.IOErr), (1, serr.Unreachable)])
def test_a_handlers_own_error_is_no_reason_to_go_elsewhere(
    sc: SigmaClnt, fleet: Fleet, number: int, kind: type[serr.SigmaError]
) -> None:
    fleet.start("one")
    plain = RPCClnt(sc, f"{fleet.directory}/one")
    with ShardedRPCClnt(sc, fleet.directory) as clnt:
        for each in (clnt, plain):
            with pytest.raises(kind, match="elsewhere"):
                each.rpc("Probe.Away", Part(number=number), LeaseReply, 20, idempotent=True)
        assert who(clnt, "alive") == "one"
    assert fleet.calls() == ["Away", "Away", "alive"]
    plain.close()


def test_a_directory_without_servers(sc: SigmaClnt, directory: str) -> None:
    with ShardedRPCClnt(sc, directory) as clnt:
        with pytest.raises(serr.Timeout):
            clnt.rpc("Probe.Who", RpcRequest(), RpcReply, timeout_s=0.2)
        assert clnt.names() == []
        assert clnt.rpc_all("Probe.Who", RpcRequest(), RpcReply) == {}
    with ShardedRPCClnt(sc, f"{directory}/none") as clnt, pytest.raises(serr.NotFound):
        clnt.names()


def test_a_stopped_client_says_so(sc: SigmaClnt, fleet: Fleet) -> None:
    fleet.start("one")
    clnt = ShardedRPCClnt(sc, fleet.directory)
    assert who(clnt) == "one"
    clnt.close()
    clnt.close()
    with pytest.raises(serr.Closed):
        who(clnt)
