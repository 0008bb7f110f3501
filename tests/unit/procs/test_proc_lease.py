"""What a proc's process says to its lease and hears of it, over a socket of theirs."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NoReturn

import pytest
from lease_agent import Agent

from sigmaos_ray import config, serr
from sigmaos_ray.pb import proc_pb2 as pb
from sigmaos_ray.proc import Status
from sigmaos_ray.procclnt import lease as leases
from sigmaos_ray.procclnt.lease import ProcLease

if TYPE_CHECKING:
    from collections.abc import Iterator

WAIT_S = config.LOCAL.procs.wait_rpc_s


@pytest.fixture
def agent() -> Iterator[Agent]:
    made = Agent()
    yield made
    made.close()


@pytest.fixture
def lease(agent: Agent) -> Iterator[ProcLease]:
    made = ProcLease("p1", agent.theirs)
    leases.install(made)
    yield made
    leases.install(None)


def test_words_are_those_of_the_protocol(agent: Agent, lease: ProcLease) -> None:
    lease.started()
    lease.reported(Status.info("done", {"n": [1, 2]}))
    lease.send(pb.ProcWord(loaded=pb.ProcLoaded(modules=["a", "b.c"])))
    started, reported, loaded = agent.words(3)
    assert started.WhichOneof("word") == "started"
    assert started.started
    assert Status.from_pb(reported.reported) == Status.info("done", {"n": [1, 2]})
    assert list(loaded.loaded.modules) == ["a", "b.c"]


def test_a_lease_that_is_gone_is_unreachable(agent: Agent, lease: ProcLease) -> None:
    agent.socket.close()
    with pytest.raises(serr.Unreachable, match="p1"):
        lease.started()


def test_words_of_threads_and_forked_children_stay_whole(agent: Agent, lease: ProcLease) -> None:
    statuses = [Status.info(letter, letter * 300_000) for letter in "abcd"]
    children = []
    for status in statuses[2:]:
        child = os.fork()
        if child == 0:
            lease.reported(status)
            os._exit(0)
        children.append(child)
    with ThreadPoolExecutor(2) as threads:
        sent = [threads.submit(lease.reported, status) for status in statuses[:2]]
        came = [Status.from_pb(word.reported) for word in agent.words(4)]
        for each in sent:
            each.result()
    assert sorted(came, key=lambda status: status.msg) == statuses
    for child in children:
        assert os.waitpid(child, 0)[1] == 0


# -- eviction


def test_an_eviction_ends_the_wait_of_every_thread_and_loop_now_and_later(agent: Agent, lease: ProcLease) -> None:
    async def two() -> None:
        await asyncio.gather(lease.wait_evict_async(), lease.wait_evict_async(30))

    with ThreadPoolExecutor(3) as threads:
        waits = [threads.submit(lease.wait_evict), threads.submit(lease.wait_evict, 30.0)]
        waits.append(threads.submit(asyncio.run, two()))
        assert agent.word().waits
        assert not any(wait.done() for wait in waits)
        agent.evict()
        for wait in waits:
            wait.result(10)
    lease.wait_evict(0)
    asyncio.run(lease.wait_evict_async(0))


def test_the_end_of_the_lease_counts_as_an_eviction(agent: Agent, lease: ProcLease) -> None:
    agent.socket.close()
    lease.wait_evict()
    asyncio.run(lease.wait_evict_async())


@pytest.mark.parametrize("timeout_s", [0.0, 0.01, 2 * WAIT_S])
def test_waits_for_an_eviction_have_time_outs(lease: ProcLease, timeout_s: float) -> None:
    with pytest.raises(serr.Timeout, match=r"p1.*not evicted"):
        lease.wait_evict(timeout_s)
    with pytest.raises(serr.Timeout, match=r"p1.*not evicted"):
        asyncio.run(lease.wait_evict_async(timeout_s))


def test_a_time_out_of_years_waits(agent: Agent, lease: ProcLease) -> None:
    with ThreadPoolExecutor(1) as threads:
        wait = threads.submit(lease.wait_evict, 1e9)
        assert agent.word().waits
        agent.evict()
        wait.result(10)


def test_a_signal_interrupts_a_wait_for_an_eviction(agent: Agent, lease: ProcLease) -> None:
    def interrupt() -> None:
        agent.word()  # it waits by now
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    def handle(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, handle)
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            lease.wait_evict()
    finally:
        signal.signal(signal.SIGUSR1, before)
        thread.join()
    assert agent.word().WhichOneof("word") == "waits"  # and no more


def test_a_signal_handler_may_report_while_the_proc_waits(agent: Agent, lease: ProcLease) -> None:
    def handle(_number: int, _frame: object) -> None:
        lease.reported(Status.evicted())
        agent.evict()

    before = signal.signal(signal.SIGUSR1, handle)
    timer = threading.Timer(0.01, os.kill, [os.getpid(), signal.SIGUSR1])
    timer.start()
    try:
        lease.wait_evict()
    finally:
        signal.signal(signal.SIGUSR1, before)
        timer.join()
    assert agent.word().HasField("reported")


# -- waits for other procs


def test_short_waits_are_not_told(agent: Agent, lease: ProcLease) -> None:
    async def main() -> None:
        for _ in range(3):
            with lease.waiting():
                await asyncio.sleep(0)

    asyncio.run(main())
    with pytest.raises(serr.Timeout):
        lease.wait_evict(0.001)
    assert agent.is_silent()


def test_waits_are_told_once_and_no_more_when_none_is_left(agent: Agent, lease: ProcLease) -> None:
    async def wait(ends: threading.Event) -> None:
        with lease.waiting():
            await asyncio.to_thread(ends.wait, 10)

    ends = [threading.Event() for _ in range(3)]
    with ThreadPoolExecutor(3) as threads:
        waits = [threads.submit(asyncio.run, wait(each)) for each in ends]
        assert agent.word().waits
        time.sleep(2 * WAIT_S)  # each of the others has become long as well: not told again
        for end, waiting in zip(ends[:2], waits[:2], strict=True):
            end.set()
            waiting.result(10)
        assert agent.is_silent()
        ends[2].set()
        waits[2].result(10)
    word = agent.word()
    assert word.WhichOneof("word") == "waits"
    assert not word.waits
    assert agent.is_silent()


def test_a_wait_that_fails_is_a_wait_that_ended(agent: Agent, lease: ProcLease) -> None:
    async def main() -> None:
        with lease.waiting():
            await asyncio.sleep(2 * WAIT_S)
            raise serr.NotFound("p2")

    with pytest.raises(serr.NotFound):
        asyncio.run(main())
    assert [word.waits for word in agent.words(2)] == [True, False]


def test_a_wait_goes_on_though_the_lease_is_gone(agent: Agent, lease: ProcLease) -> None:
    agent.socket.close()

    async def main() -> str:
        with lease.waiting():
            await asyncio.sleep(2 * WAIT_S)
        return "done"

    assert asyncio.run(main()) == "done"


def test_no_thread_runs_for_a_wait(agent: Agent, lease: ProcLease) -> None:
    before = threading.active_count()
    with pytest.raises(serr.Timeout):
        lease.wait_evict(2 * WAIT_S)
    assert threading.active_count() == before


# -- forks


def test_a_forked_child_uses_the_lease_and_tells_its_own_waits(agent: Agent, lease: ProcLease) -> None:
    held = threading.Event()
    go_on = threading.Event()

    def hold() -> None:
        with lease._sending:
            held.set()
            go_on.wait(10)

    async def fork_in_a_wait() -> int:
        with lease.waiting():
            await asyncio.sleep(2 * WAIT_S)
            assert agent.word().waits
            thread = threading.Thread(target=hold)
            thread.start()
            held.wait(10)
            child = os.fork()
            if child == 0:
                if leases.installed() is not lease:
                    os._exit(2)
                _as_a_child(lease)
            go_on.set()
            thread.join()
            return child

    child = asyncio.run(fork_in_a_wait())
    words = agent.words(3)  # and the parent's wait is over
    assert [word.WhichOneof("word") for word in words].count("started") == 1
    assert sorted(word.waits for word in words if word.WhichOneof("word") == "waits") == [False, True]
    agent.evict()
    assert os.waitpid(child, 0)[1] == 0
    assert not agent.word().waits


def _as_a_child(lease: ProcLease) -> NoReturn:
    try:
        lease.started()
        lease.wait_evict(60)
        os._exit(0)
    finally:
        os._exit(3)


def test_nobody_has_a_lease_by_itself() -> None:
    assert leases.installed() is None
