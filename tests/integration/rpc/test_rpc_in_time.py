"""A call's time-out covers all that it waits for, at a server that is stopped (SIGSTOP): the system goes on taking
connections for it, and nobody greets there. There is room for a busy machine here."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sigmaos_ray import serr
from sigmaos_ray.config import ProcEnv
from sigmaos_ray.pb.rpc_pb2 import RpcReply, RpcRequest
from sigmaos_ray.rpcclnt import AsyncRPCClnt, RPCClnt
from sigmaos_ray.sigmaclnt import SigmaClnt
from sigmaos_ray.sigmap import Endpoint

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator, Sequence

TIMEOUT_S = 1.0
SLACK_S = 1.5


@pytest.fixture
def child() -> Iterator[tuple[subprocess.Popen[bytes], ProcEnv]]:
    command = [sys.executable, str(Path(__file__).with_name("rpc_child.py"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        endpoint = Endpoint.from_bytes(bytes.fromhex(process.stdout.readline().decode()))
        assert endpoint is not None
        try:
            yield process, ProcEnv(pid="test", named=endpoint)
        finally:
            process.send_signal(signal.SIGCONT)


@pytest.fixture
def sc(child: tuple[subprocess.Popen[bytes], ProcEnv]) -> Iterator[SigmaClnt]:
    clnt = SigmaClnt(child[1])
    yield clnt
    child[0].send_signal(signal.SIGCONT)
    clnt.close()


def _call(clnt: RPCClnt, words: str = "x", timeout_s: float = TIMEOUT_S) -> RpcReply:
    return clnt.rpc("Probe.Large", RpcRequest(method=words), RpcReply, timeout_s)


def _times_out(clnt: RPCClnt, words: str = "x") -> float:
    """How long it took."""
    began_s = time.monotonic()
    with pytest.raises(serr.Timeout, match=r"no reply in (1 s|time)"):
        _call(clnt, words)
    return time.monotonic() - began_s


@pytest.mark.parametrize("transport", ["plain", "grpc"])
def test_calls_of_threads_end_in_time(
    child: tuple[subprocess.Popen[bytes], ProcEnv],
    sc: SigmaClnt,
    transport: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of a channel that was used, of one that is to be opened, with data of any size, and of many threads at a time."""
    monkeypatch.setenv("SIGMAOS_TRANSPORT", transport)
    warm, cold = RPCClnt(sc, "name/"), RPCClnt(sc, "name/")
    # Several at a time: connections that are kept for later, none of which is greeted by then.
    threads = [threading.Thread(target=_call, args=(warm, "x", 60.0)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    child[0].send_signal(signal.SIGSTOP)
    assert _times_out(warm) < TIMEOUT_S + SLACK_S
    assert _times_out(warm, "x" * (5 << 20)) < TIMEOUT_S + SLACK_S
    assert _times_out(cold) < TIMEOUT_S + SLACK_S
    took_s: list[float] = []
    threads = [threading.Thread(target=lambda: took_s.append(_times_out(warm))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(took_s) == 8
    assert max(took_s) < TIMEOUT_S + SLACK_S
    child[0].send_signal(signal.SIGCONT)
    assert _call(warm, "back", 60.0).raised == "back"


async def test_calls_on_a_loop_end_in_time(child: tuple[subprocess.Popen[bytes], ProcEnv], sc: SigmaClnt) -> None:
    async def call(clnt: AsyncRPCClnt) -> float:
        began_s = time.monotonic()
        with pytest.raises(serr.Timeout):
            await clnt.rpc("Probe.Large", RpcRequest(), RpcReply, TIMEOUT_S)
        return time.monotonic() - began_s

    child[0].send_signal(signal.SIGSTOP)
    calls = [call(AsyncRPCClnt(sc.asynchronous, "name/")) for _ in range(4)]
    assert max(await asyncio.to_thread(sc.run, _gathered(calls))) < TIMEOUT_S + SLACK_S


async def _gathered(calls: Sequence[Awaitable[float]]) -> list[float]:
    return await asyncio.gather(*calls)
