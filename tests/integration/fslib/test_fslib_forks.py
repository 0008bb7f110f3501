"""Clients in a child of the process that made them, which have no loop there: they say so instead of hanging. New ones
work over plain connections; gRPC does not survive a fork."""

from __future__ import annotations

import os
import subprocess
import sys
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
print(sc.get_file("name/f").decode())
sc.close()
"""


@pytest.fixture
def server() -> Iterator[ServerThread]:
    with ServerThread() as running:
        yield running


@pytest.mark.parametrize(("kind", "new"), [("grpc", "told told"), ("plain", "done done")])
def test_a_client_used_after_a_fork_says_so(server: ServerThread, kind: str, new: str) -> None:
    """At once; the parent's goes on."""
    command = [sys.executable, "-c", SCRIPT, server.endpoint.addrs[0]]
    # Without gRPC's own attempts at a fork, which crash the child now and then.
    environ = os.environ | {"GRPC_ENABLE_FORK_SUPPORT": "0", "SIGMAOS_TRANSPORT": kind}
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environ)
    assert ended.stdout.split("\n")[:2] == [f"told {new} closed", "parent"], ended.stderr
