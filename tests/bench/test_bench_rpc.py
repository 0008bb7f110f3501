"""Calls by pathname beside gRPC's own, and beside calls of Ray actors.

Claims: an echo of 100 bytes costs at most 0.22 of a unary call of grpcio and 0.25 of a Ray actor's; 1 MiB passes at 1.2
of grpcio's rate or more; of coroutines an echo costs less than over grpc.aio, and with 32 in flight there are at least
twice as many calls a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest
import ray
from grpc_child import METHOD, OPTIONS
from measure import compare, timed

from kernel.boot.raychoice import TOKEN_FILE_NAME
from sigmaos_ray import Proc
from sigmaos_ray.pb.sessp_pb2 import Frames, Request
from sigmaos_ray.pb.sigmap_pb2 import Twriteread
from sigmaos_ray.rpcclnt import AsyncRPCClnt, RPCClnt
from sigmaos_ray.sessp import plain
from user.example_echo_server.echo_pb2 import EchoReply, EchoRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from measure import Work

    from sigmaos_ray import SigmaClnt
    from sigmaos_ray.testing import Tstate

SERVER: Final = "name/bench-echo/server"
TEXT: Final = "x" * 100
LARGE: Final = "x" * (1 << 20)
IN_FLIGHT: Final = 32
STAGE_ROUNDS: Final = 7


@pytest.fixture(scope="module")
def sc(instance: Tstate) -> Iterator[SigmaClnt]:
    """A client of an instance with a server of ours."""
    server = Proc("example_echo_server", [SERVER], mcpu=100)
    instance.sc.spawn(server)
    instance.sc.wait_start(server.pid)
    yield instance.sc
    instance.sc.evict(server.pid)
    instance.sc.wait_exit(server.pid)


@contextlib.contextmanager
def grpc_server(kind: str) -> Iterator[str]:
    """The address of a server of grpcio in a process of its own."""
    command = [sys.executable, str(Path(__file__).with_name("grpc_child.py")), kind]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        yield f"127.0.0.1:{child.stdout.readline().strip()}"
        child.communicate("")


def ours_and_theirs(clnt: RPCClnt, channel: grpc.Channel, text: str) -> tuple[Work, Work]:
    unary = channel.unary_unary(
        METHOD, request_serializer=EchoRequest.SerializeToString, response_deserializer=EchoReply.FromString
    )

    def ours(times: int) -> None:
        for _ in range(times):
            assert len(clnt.rpc("EchoSrv.Echo", EchoRequest(text=text), EchoReply).text) == len(text)

    def theirs(times: int) -> None:
        for _ in range(times):
            assert len(unary(EchoRequest(text=text)).text) == len(text)

    return ours, theirs


def test_one_call_at_a_time(sc: SigmaClnt) -> None:
    clnt = RPCClnt(sc, SERVER)
    with grpc_server("plain") as address, grpc.insecure_channel(address, OPTIONS) as channel:
        ours, theirs = ours_and_theirs(clnt, channel, TEXT)
        compare("an echo of 100 bytes", ("ours", ours), ("grpcio", theirs), times=1000, goal=0.22)
        ours, theirs = ours_and_theirs(clnt, channel, LARGE)
        compare("an echo of 1 MiB", ("ours", ours), ("grpcio", theirs), times=30, goal=1.2, rates=True)
    clnt.close()


@contextlib.contextmanager
def raw_round_trips(kind: str, directory: Path) -> Iterator[Work]:
    """Of so many bytes as an echo has, over a Unix socket, to a process that answers as ``kind`` says."""
    path = str(directory / kind)
    command = [sys.executable, str(Path(__file__).with_name("raw_child.py")), kind, path]
    asked = EchoRequest(text=TEXT).SerializeToString()

    def bytes_pass(times: int) -> None:
        for _ in range(times):
            connection.sendall(asked)
            assert len(connection.recv(1 << 16)) == len(asked)

    def frames_pass(times: int) -> None:
        for number in range(times):
            request = Request(seqno=number + 1, writeread=Twriteread(fid=1, frames=[asked]))
            connection.sendall(plain.message(Frames(requests=[request]).SerializeToString()))
            [reply] = Frames.FromString(connection.recv(1 << 16)[plain.SIZE.size :]).replies
            assert reply.seqno == number + 1

    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child,
        socket.socket(socket.AF_UNIX) as connection,
    ):
        assert child.stdout is not None
        child.stdout.readline()
        connection.connect(path)
        yield frames_pass if kind == "frames" else bytes_pass
        child.communicate("")


def test_what_remains_above_a_sockets_round_trip(sc: SigmaClnt, tmp_path: Path) -> None:
    """By stage: the socket and two processes, a loop on the server's side, the messages, and all of a call. Medians of
    rounds that take turns."""
    clnt = RPCClnt(sc, SERVER)

    def calls(times: int) -> None:
        for _ in range(times):
            clnt.rpc("EchoSrv.Echo", EchoRequest(text=TEXT), EchoReply)

    with contextlib.ExitStack() as stack:
        stages = [(kind, stack.enter_context(raw_round_trips(kind, tmp_path))) for kind in ("thread", "loop", "frames")]
        stages.append(("call", calls))
        rounds: dict[str, list[float]] = {kind: [] for kind, _ in stages}
        for _ in range(STAGE_ROUNDS):
            for kind, work in stages:
                rounds[kind].append(timed(work, 500))
    took_us = {kind: median(each) * 1e6 for kind, each in rounds.items()}
    added = [f"{kind} +{took_us[kind] - took_us[before]:.0f}" for before, kind in itertools.pairwise(took_us)]
    print(f"\n  an echo in stages: a socket's round trip {took_us['thread']:.0f} us, {', '.join(added)} us")
    clnt.close()


@pytest.fixture
def driver(instance: Tstate) -> Iterator[None]:
    """This process as a Ray driver, on the instance's Ray, whose token stands in its state directory."""
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(instance.state_dir / TOKEN_FILE_NAME)
    ray.init(address=instance.instance.ray_address, log_to_driver=False, logging_level=logging.ERROR)
    yield
    ray.shutdown()


def test_beside_a_ray_actor(driver: None, sc: SigmaClnt) -> None:
    class Echo:
        def echo(self, text: str) -> str:
            return text

    actors: Any = ray.remote(num_cpus=0)(Echo)
    actor = actors.remote()
    clnt = RPCClnt(sc, SERVER)

    def ours(times: int) -> None:
        for _ in range(times):
            clnt.rpc("EchoSrv.Echo", EchoRequest(text=TEXT), EchoReply)

    def theirs(times: int) -> None:
        for _ in range(times):
            ray.get(actor.echo.remote(TEXT))

    compare("an echo of 100 bytes", ("ours", ours), ("a Ray actor", theirs), times=500, goal=0.25)
    ray.kill(actor)
    clnt.close()


def test_on_asyncio(sc: SigmaClnt) -> None:
    """So many tasks that call, one call at a time each."""
    clnt = AsyncRPCClnt(sc.asynchronous, SERVER)

    async def many(call: object, times: int, tasks_count: int) -> None:
        async def caller() -> None:
            for _ in range(times // tasks_count):
                await call()  # type: ignore[operator]

        await asyncio.gather(*(caller() for _ in range(tasks_count)))

    async def our_call() -> None:
        await clnt.rpc("EchoSrv.Echo", EchoRequest(text=TEXT), EchoReply)

    with grpc_server("aio") as address, ThreadPoolExecutor(1) as thread, asyncio.Runner() as runner:

        async def dial() -> grpc.aio.Channel:
            return grpc.aio.insecure_channel(address)

        channel = thread.submit(runner.run, dial()).result()
        unary = channel.unary_unary(
            METHOD, request_serializer=EchoRequest.SerializeToString, response_deserializer=EchoReply.FromString
        )

        async def their_call() -> None:
            await unary(EchoRequest(text=TEXT))

        def ours(tasks_count: int) -> Work:
            return lambda times: sc.run(many(our_call, times, tasks_count))

        def theirs(tasks_count: int) -> Work:
            return lambda times: thread.submit(runner.run, many(their_call, times, tasks_count)).result()

        compare("an echo of a coroutine", ("ours", ours(1)), ("grpc.aio", theirs(1)), times=500, goal=1.0)
        what = f"echoes, {IN_FLIGHT} in flight"
        ours_many, theirs_many = ("ours", ours(IN_FLIGHT)), ("grpc.aio", theirs(IN_FLIGHT))
        compare(what, ours_many, theirs_many, times=3200, goal=2.0, rates=True)
        thread.submit(runner.run, channel.close()).result()
    sc.run(clnt.close())
