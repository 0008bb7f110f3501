"""A server of a group of which one leads: it stands by, serves, and resigns; on a real instance."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest

from sigmaos_ray import Proc, serr
from sigmaos_ray.rpcclnt import RPCClnt
from user.example_echo_server.echo_pb2 import EchoReply, EchoRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sigmaos_ray import SigmaClnt
    from sigmaos_ray.testing import Tstate

PROGRAM = "tests.integration.ft.elected"
WITHIN_S = 30.0


@pytest.fixture
def sc(tstate_all: Tstate) -> Iterator[SigmaClnt]:
    with tstate_all.new_clnt() as sc:
        yield sc


@pytest.fixture
def directory(sc: SigmaClnt) -> Iterator[str]:
    pn = f"name/elected-{secrets.token_hex(4)}"
    sc.mkdir(pn)
    yield pn
    sc.rmdir(pn)


def started(sc: SigmaClnt, directory: str) -> str:
    proc = Proc(PROGRAM, [directory])
    sc.spawn(proc)
    sc.wait_start(proc.pid)
    return proc.pid


def server_of(sc: SigmaClnt, directory: str) -> str:
    """The pid of the member that serves."""
    rpc = RPCClnt(sc, f"{directory}/server")
    try:
        text: str = rpc.rpc("WhoSrv.Ask", EchoRequest(), EchoReply, WITHIN_S).text
        return text
    finally:
        rpc.close()


def test_one_serves_and_the_next_one_follows(sc: SigmaClnt, directory: str) -> None:
    first = started(sc, directory)
    sc.wait_create(f"{directory}/server", WITHIN_S)
    second, third = started(sc, directory), started(sc, directory)
    assert server_of(sc, directory) == first
    sc.evict(third)  # which stands by
    assert sc.wait_exit(third, WITHIN_S).is_evicted()
    with pytest.raises(serr.NotFound):
        sc.stat(f"{directory}/resigned")
    sc.evict(first)
    assert sc.wait_exit(first, WITHIN_S).is_evicted()
    assert sc.get_file(f"{directory}/resigned").decode() == first
    sc.wait_create(f"{directory}/server", WITHIN_S)
    assert server_of(sc, directory) == second
    sc.evict(second)
    assert sc.wait_exit(second, WITHIN_S).is_evicted()
