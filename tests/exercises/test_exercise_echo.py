"""Exercise 5: a service. ``user/example_echo_server`` echoes and adds; clients find it by its name.

pytest --start tests/exercises -k Echo
"""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from sigmaos_ray import Proc, serr
from sigmaos_ray.rpcclnt import RPCClnt, ShardedRPCClnt
from user.example_echo_server import echo_pb2
from user.example_echo_server.clnt import EchoClnt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sigmaos_ray import SigmaClnt
    from sigmaos_ray.testing import Tstate

SERVER = "name/example/echo-server"


@pytest.fixture(scope="module")
def sc(tstate_all: Tstate) -> SigmaClnt:
    return tstate_all.sc


@pytest.fixture(scope="module")
def clnt(sc: SigmaClnt) -> Iterator[EchoClnt]:
    """A client of a server that runs as a proc."""
    server = Proc("example_echo_server", mcpu=1000)
    sc.spawn(server)
    sc.wait_start(server.pid)
    with EchoClnt(sc) as clnt:
        yield clnt
    sc.evict(server.pid)
    assert sc.wait_exit(server.pid).is_evicted()
    with pytest.raises(serr.NotFound):
        sc.stat(SERVER)


class TestExerciseEcho:
    def test_echo(self, sc: SigmaClnt, clnt: EchoClnt) -> None:
        rpc = RPCClnt(sc, SERVER)
        reply = rpc.rpc("EchoSrv.Echo", echo_pb2.EchoRequest(text="Hello world"), echo_pb2.EchoReply)
        assert reply.text == "Hello world"
        rpc.close()

    def test_add(self, clnt: EchoClnt) -> None:
        assert clnt.add(2, 3) == 5
        assert clnt.add(2**62, -(2**63)) == -(2**62)

    def test_errors_say_what_was_wrong(self, sc: SigmaClnt, clnt: EchoClnt) -> None:
        with pytest.raises(serr.Inval, match="nothing to echo"):
            clnt.echo("")
        with pytest.raises(serr.Inval, match="64 bits"):
            clnt.add(2**63 - 1, 1)
        rpc = RPCClnt(sc, SERVER)
        with pytest.raises(serr.NotFound, match=r"EchoSrv\.Shout"):
            rpc.rpc("EchoSrv.Shout", echo_pb2.EchoRequest(text="hi"), echo_pb2.EchoReply)
        rpc.close()

    def test_calls_in_sequence(self, clnt: EchoClnt) -> None:
        for number in range(1000):
            assert clnt.echo(f"call {number}") == f"call {number}"

    def test_calls_side_by_side(self, sc: SigmaClnt, clnt: EchoClnt) -> None:
        """From threads, and from one: a session carries them all."""
        with ThreadPoolExecutor(16) as threads:
            texts = [f"text {number}" for number in range(320)]
            assert list(threads.map(clnt.echo, texts)) == texts

    def test_a_text_of_any_size(self, clnt: EchoClnt) -> None:
        text = "0123456789abcdef" * (1 << 20)
        assert clnt.echo(text) == text

    def test_a_proc_as_client(self, sc: SigmaClnt, clnt: EchoClnt) -> None:
        client = Proc("user.example_echo_server.client", ["from a proc"])
        sc.spawn(client)
        status = sc.wait_exit(client.pid)
        assert status.is_ok()
        assert status.msg == "from a proc"

    def test_what_the_server_tells_of_itself(self, sc: SigmaClnt, clnt: EchoClnt) -> None:
        before = sc.read_rpc_stats(SERVER)["EchoSrv.Add"]["calls"] if _has_added(sc) else 0
        clnt.add(1, 1)
        assert sc.read_rpc_stats(SERVER)["EchoSrv.Add"]["calls"] == before + 1

    def test_a_second_server_of_that_name(self, sc: SigmaClnt, clnt: EchoClnt) -> None:
        second = Proc("example_echo_server")
        sc.spawn(second)
        status = sc.wait_exit(second.pid)
        assert status.is_err()
        assert SERVER in status.msg


def _has_added(sc: SigmaClnt) -> bool:
    return "EchoSrv.Add" in sc.read_rpc_stats(SERVER)


class TestSeveralEchoServers:
    def test_calls_are_spread_and_outlive_servers(self, sc: SigmaClnt) -> None:
        directory = f"name/echo-{secrets.token_hex(4)}"
        servers = [Proc("example_echo_server", [f"{directory}/"]) for _ in range(2)]
        for server in servers:
            sc.spawn(server)
        for server in servers:
            sc.wait_start(server.pid)
        with ShardedRPCClnt(sc, directory) as sharded, EchoClnt(sc, f"{directory}/~any") as any_one:
            assert len(sharded.wait_n(2, timeout_s=10)) == 2
            assert any_one.echo("any") == "any"
            sc.evict(servers[0].pid)
            for number in range(100):
                reply = sharded.rpc("EchoSrv.Echo", echo_pb2.EchoRequest(text=f"{number}"), echo_pb2.EchoReply)
                assert reply.text == f"{number}"
            assert sc.wait_exit(servers[0].pid).is_evicted()
            assert any_one.echo("the other") == "the other"
            sc.evict(servers[1].pid)
            assert sc.wait_exit(servers[1].pid).is_evicted()
        assert sc.get_dir(directory) == []
        sc.rmdir(directory)
