"""Clients in a child of the process that made them, which have no loop there: they say so instead of hanging. New ones
work over plain connections; gRPC does not survive a fork."""

from __future__ import annotations

import os
import subprocess
import sys
from ast import literal_eval
from typing import TYPE_CHECKING

import pytest
from fslib_servers import ServerThread

if TYPE_CHECKING:
    from collections.abc import Iterator

SCRIPT = """
import os, sys
from sigmaos_ray import SigmaClnt, serr
from sigmaos_ray.config import ProcEnv
from sigmaos_ray.rpcclnt import RPCClnt
from sigmaos_ray.sigmap import Endpoint

env = ProcEnv(pid="test", named=Endpoint(addrs=(sys.argv[1],)))
sc = SigmaClnt(env)
sc.put_file("name/f", b"parent")
for _ in range(3):
    sc.get_file("name/f")  # by now this thread has a connection of its own, where it can have one
reader, writer = os.pipe()
if os.fork() == 0:
    new = SigmaClnt(env)
    for call in (lambda: sc.get_file("name/f"), lambda: new.get_file("name/f"), lambda: new.mkdir("name/d")):
        try:
            call()
        except serr.Unreachable as error:
            os.write(writer, ("told " if "fork" in str(error) else str(error)).encode())
        else:
            os.write(writer, b"done ")
    sc.close()
    os.write(writer, b"closed")
    os._exit(0)
os.close(writer)
os.wait()
print(os.read(reader, 1000).decode())
print(sc.get_file("name/f").decode(), sc.read_srv_stats("name/")["connections"])
sc.close()
"""


@pytest.fixture
def server() -> Iterator[ServerThread]:
    with ServerThread() as running:
        yield running


@pytest.mark.parametrize(
    ("kind", "new", "connections"),
    [
        ("grpc", "told told", {"grpc": {"main": 1}}),
        # Its connections are those from before the fork; the child's have ended with it.
        ("plain", "done done", {"plain": {"main": 1, "beside": 1}}),
    ],
)
def test_a_client_used_after_a_fork_says_so(
    server: ServerThread, kind: str, new: str, connections: dict[str, dict[str, int]]
) -> None:
    """At once; the parent's goes on, on the connections that it has."""
    command = [sys.executable, "-c", SCRIPT, server.endpoint.addrs[0]]
    # Without gRPC's own attempts at a fork, which crash the child now and then.
    environ = os.environ | {"GRPC_ENABLE_FORK_SUPPORT": "0", "SIGMAOS_TRANSPORT": kind, "SIGMADEBUG": "SESSCLNT;"}
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environ)
    told, parent = ended.stdout.split("\n")[:2]
    assert told == f"told {new} closed", ended.stderr
    contents, _, counts = parent.partition(" ")
    assert contents == "parent"
    assert {k: {role: n for role, n in by.items() if role != "unbound"} for k, by in literal_eval(counts).items()} == (
        connections
    )
    assert f"SESSCLNT {server.endpoint.addrs[0]}: over {kind}" in ended.stderr, "debug output tells the kind"
