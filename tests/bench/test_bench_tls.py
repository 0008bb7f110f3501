"""What TLS costs: the same calls over TCP with it and without.

Aim: a call costs at most 1.25 of what it costs without. Encryption alone takes some 10 us of a round trip of 100 bytes,
and 0.9 us for each KiB that goes there and back: what is large, and calls of threads, which take 100 us without, cost
more than that.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

import pytest
from measure import compare
from tlsplaces import LIMITS, host_place

from sigmaos_ray import SigmaClnt
from sigmaos_ray.config import ProcEnv
from sigmaos_ray.rpcclnt import AsyncRPCClnt, RPCClnt
from sigmaos_ray.sigmap import Endpoint
from sigmaos_ray.tls.authority import Authority
from user.example_echo_server.echo_pb2 import EchoReply, EchoRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from measure import Work

GOAL: Final = 1.25
SIZES: Final = {"100 bytes": (100, 1000), "64 KiB": (1 << 16, 300), "1 MiB": (1 << 20, 40)}
"""Bytes, and how many calls."""
OPENED: Final = 20


@contextlib.contextmanager
def served(place: str) -> Iterator[ProcEnv]:
    """A client of a server in a process of its own, as another host's would be: without a Unix socket."""
    command = [sys.executable, str(Path(__file__).with_name("tls_child.py")), place]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        address, plain = (each.replace("127.0.0.1", "localhost") for each in child.stdout.readline().split())
        endpoint = Endpoint(addrs=(address,), plain=((address, plain),))
        yield ProcEnv(pid="bench", named=endpoint, tls=place)
        child.communicate("")


@pytest.fixture(params=["plain", "grpc"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("SIGMAOS_TRANSPORT", request.param)
    return str(request.param)


@pytest.fixture
def both(kind: str, tmp_path: Path) -> Iterator[tuple[ProcEnv, ProcEnv]]:
    """With TLS, and without."""
    place = host_place(tmp_path / "host", Authority.at(tmp_path / "boot", LIMITS))
    with served(place) as secured, served("") as open_:
        yield secured, open_


def calls(sc: SigmaClnt, size: int) -> Work:
    clnt, text = RPCClnt(sc, "name/"), "x" * size

    def work(times: int) -> None:
        for _ in range(times):
            assert len(clnt.rpc("Echo.Say", EchoRequest(text=text), EchoReply).text) == size

    return work


def coroutine_calls(sc: SigmaClnt, size: int) -> Work:
    text = "x" * size

    async def some(times: int) -> None:
        clnt = AsyncRPCClnt(sc.asynchronous, "name/")
        for _ in range(times):
            assert len((await clnt.rpc("Echo.Say", EchoRequest(text=text), EchoReply)).text) == size
        await clnt.close()

    return lambda times: sc.run(some(times))


@pytest.mark.parametrize("size", SIZES)
def test_calls(both: tuple[ProcEnv, ProcEnv], kind: str, size: str) -> None:
    size_bytes, times = SIZES[size]
    with SigmaClnt(both[0]) as secured, SigmaClnt(both[1]) as open_:
        for who, make in (("threads", calls), ("coroutines", coroutine_calls)):
            compare(
                f"an echo of {size} over {kind}, from {who}",
                ("with TLS", make(secured, size_bytes)),
                ("without", make(open_, size_bytes)),
                times=times,
                goal=GOAL,
            )


def test_opening_a_session(both: tuple[ProcEnv, ProcEnv], kind: str) -> None:
    def opened_s(env: ProcEnv) -> float:
        began_s = time.perf_counter()
        with SigmaClnt(env) as sc:
            sc.stat("name/")
            return time.perf_counter() - began_s

    secured_s, open_s = (median([opened_s(env) for _ in range(OPENED)]) for env in both)
    print(f"a session over {kind}: {secured_s * 1e3:.1f} ms with TLS, {open_s * 1e3:.1f} ms without")
