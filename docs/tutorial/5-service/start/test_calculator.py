"""Exercise 5: a service that is found by its name. Run it in this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sigmaos_ray import Proc, serr
from sigmaos_ray.rpcclnt import RPCClnt
from sigmaos_ray.testing import Tstate
from user.example_echo_server.echo_pb2 import AddReply, AddRequest, EchoReply, EchoRequest

NAME = "name/tutorial-calculator"


@pytest.fixture
def calculator(tstate_all: Tstate) -> Iterator[RPCClnt]:
    sc = tstate_all.sc
    server = Proc("calculator", [NAME])
    sc.spawn(server)
    sc.wait_start(server.pid)
    with RPCClnt(sc, NAME) as clnt:
        yield clnt
    sc.evict(server.pid)
    assert sc.wait_exit(server.pid).is_evicted()


def test_echo(calculator: RPCClnt) -> None:
    assert calculator.rpc("Calculator.Echo", EchoRequest(text="hi"), EchoReply).text == "hi"
    with pytest.raises(serr.Inval):
        calculator.rpc("Calculator.Echo", EchoRequest(text=""), EchoReply)


def test_add(calculator: RPCClnt) -> None:
    assert calculator.rpc("Calculator.Add", AddRequest(a=2, b=3), AddReply).sum == 5
