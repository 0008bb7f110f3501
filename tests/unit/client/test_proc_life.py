"""A proc that touches no file says all that it has to say over the socket of its lease: no session, thread or loop."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest
from lease_agent import Agent

from sigmaos_ray import AsyncSigmaClnt, Proc, SigmaClnt, Status, loopthread, serr
from sigmaos_ray.config import ProcEnv
from sigmaos_ray.deadlines import ending_within
from sigmaos_ray.procclnt import lease, reports
from sigmaos_ray.sigmaclnt import close_all, rehearsal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sigmaos_ray.pb import proc_pb2 as pb

ROOT = Path(__file__).parents[3]


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Agent]:
    """Of a proc whose process this is."""
    made = Agent()
    monkeypatch.setenv("SIGMACONFIG", ProcEnv(pid="p1").to_json())
    lease.install(lease.ProcLease("p1", made.theirs))
    yield made
    close_all()
    lease.install(None)
    reports.take("p1")
    made.close()


@pytest.fixture
def no_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> NoReturn:
        pytest.fail("a loop thread")

    monkeypatch.setattr(loopthread, "shared", refuse)


def kinds(words: list[pb.ProcWord]) -> list[str | None]:
    return [word.WhichOneof("word") for word in words]


def life(sc: SigmaClnt) -> None:
    sc.started()
    sc.clnt_exit_ok()


@pytest.mark.usefixtures("no_loop")
def test_the_tutorials_program_needs_neither_thread_nor_loop(agent: Agent) -> None:
    threads_count = threading.active_count()
    sc = SigmaClnt()
    life(sc)
    started, reported = agent.words(2)
    assert started.started
    assert Status.from_pb(reported.reported) == Status.ok()
    assert threading.active_count() == threads_count
    assert sc.is_closed


class Host:
    """Of a proc that runs in this process, which is not its own."""

    pid = "p1"

    def __init__(self) -> None:
        self.words: list[pb.ProcWord] = []

    def send(self, word: pb.ProcWord) -> None:
        self.words.append(word)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    made = Host()
    monkeypatch.setenv("SIGMACONFIG", ProcEnv(pid="p1").to_json())
    lease.install_host(made)
    yield made
    close_all()
    lease.install_host(None)
    reports.take("p1")


@pytest.mark.usefixtures("no_loop")
def test_nor_does_one_in_its_workers_process(host: Host) -> None:
    sc = SigmaClnt()
    life(sc)
    assert kinds(host.words) == ["started", "reported"]
    assert reports.take("p1") == Status.ok()
    assert sc.is_closed


def test_a_worker_hears_only_its_own_proc_and_no_forked_child(host: Host) -> None:
    assert lease.hearer_of("p1") is host
    assert lease.hearer_of("p2") is None
    if not (child := os.fork()):
        os._exit(lease.hearer_of("p1") is not None)
    assert os.waitpid(child, 0)[1] == 0


def test_it_imports_no_grpc() -> None:
    script = (
        "import os, sys, threading\n"
        "from sigmaos_ray.sigmaclnt.rehearsal import rehearse\n"
        "rehearse()\n"
        "print(threading.active_count(), 'grpc' in sys.modules)\n"
    )
    run = [sys.executable, "-c", script]
    result = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert result.stdout.split() == ["1", "False"], result.stderr


@pytest.mark.usefixtures("no_loop")
def test_a_proc_exits_once_and_spawns_no_more(agent: Agent) -> None:
    with SigmaClnt() as sc:
        sc.exited(Status.info("first", 1))
        with pytest.raises(serr.Closed):
            sc.exited(Status.ok())
        with pytest.raises(serr.Closed):
            sc.clnt_exit_ok()
    assert Status.from_pb(agent.word().reported) == Status.info("first", 1)
    assert agent.is_silent()


def test_after_its_exit_a_proc_spawns_no_more(agent: Agent) -> None:
    with SigmaClnt() as sc:
        sc.exited(Status.ok())
        with pytest.raises(serr.Closed):
            sc.spawn(Proc("example"))


@pytest.mark.usefixtures("no_loop")
def test_an_eviction_ends_waits_in_threads(agent: Agent) -> None:
    with SigmaClnt() as sc, ThreadPoolExecutor(3) as threads:
        with pytest.raises(serr.Timeout, match="p1"):
            sc.wait_evict(0)
        waits = [threads.submit(sc.wait_evict, timeout_s) for timeout_s in (None, 30, 60)]
        agent.evict()
        for wait in waits:
            wait.result(10)
        sc.wait_evict()


def test_of_many_threads_one_exits(agent: Agent) -> None:
    def exits(number: int) -> bool:
        try:
            sc.exited(Status.info(str(number)))
        except serr.Closed:
            return False
        return True

    with SigmaClnt() as sc, ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: sc.started(), range(20)))
        assert kinds(agent.words(20)) == ["started"] * 20
        did = list(threads.map(exits, range(8)))
    assert did.count(True) == 1
    assert agent.word().reported.msg == str(did.index(True))
    assert agent.is_silent()


async def test_on_asyncio(agent: Agent) -> None:
    async with AsyncSigmaClnt() as sc:
        await sc.started()
        with pytest.raises(serr.Timeout):
            await sc.wait_evict(0.01)
        waits = [asyncio.create_task(sc.wait_evict()) for _ in range(3)]
        await asyncio.sleep(0)
        agent.evict()
        async with asyncio.timeout(10):
            await asyncio.gather(*waits)
        await sc.clnt_exit(Status.evicted())
    words = [word for word in agent.words(2) if word.WhichOneof("word") != "waits"]
    assert kinds(words) == ["started", "reported"]
    assert Status.from_pb(words[1].reported) == Status.evicted()


async def test_a_blocking_client_where_a_loop_runs(agent: Agent) -> None:
    with SigmaClnt() as sc:
        life(sc)
    assert kinds(agent.words(2)) == ["started", "reported"]


def test_a_client_of_another_pid_does_not_use_the_lease(agent: Agent) -> None:
    other = ProcEnv(pid="client-1", schedd_id="")
    with SigmaClnt(other) as sc, ending_within(0.2), pytest.raises(serr.SigmaError):
        sc.started()
    assert agent.is_silent()


def test_a_forked_child_goes_on_with_a_client_that_had_begun_nothing(agent: Agent) -> None:
    sc = SigmaClnt()
    sc.started()
    child = os.fork()
    if child == 0:
        try:
            sc.started()
            SigmaClnt().clnt_exit(Status.info("of the child"))
            close_all()
            os._exit(0)
        finally:
            os._exit(3)
    assert os.waitpid(child, 0)[1] == 0
    sc.clnt_exit_ok()
    words = agent.words(4)
    assert kinds(words) == ["started", "started", "reported", "reported"]
    assert words[2].reported.msg == "of the child"


@pytest.mark.usefixtures("no_loop")
@pytest.mark.parametrize("kind", ["grpc", "none such"])
def test_a_rehearsal_waits_for_nobody_whatever_connections_are_forced(
    monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Every proc's process has one behind it: one that waited would be the end of all procs."""
    monkeypatch.setenv("SIGMAOS_TRANSPORT", kind)
    rehearsal.rehearse()
    assert lease.installed() is None


def test_a_rehearsal_leaves_no_trace() -> None:
    for _ in range(2):
        rehearsal.rehearse()
    assert lease.installed() is None
    assert reports.take("rehearsal") is None
