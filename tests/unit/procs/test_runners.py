"""How processes that run procs ended, as their machine's schedd knows it: real processes, no Ray."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import msgspec
import pytest

from kernel.keeping import KeptFile, opening
from kernel.schedd.autopsies import Autopsies, AutopsyOrder
from kernel.schedd.begun import BegunRecord
from kernel.schedd.runners import end_group, exit_words
from sigmaos_ray.config import Scheduling
from sigmaos_ray.machine import OsProcess
from sigmaos_ray.runner import proclog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from kernel.schedd.runners import KeptRunners

WITHIN_S = 10.0
# A process as a worker is: it leads a group, and has a child that outlives it.
RUNNER = """
import os, subprocess, sys
os.setpgid(0, 0)
child = subprocess.Popen(["sleep", "600"])
print(child.pid, flush=True)
sys.stdin.readline()
os._exit(7)
"""


class Process:
    """A runner, and its child."""

    def __init__(self) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, "-c", RUNNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.popen.stdout is not None
        child = OsProcess.of(int(self.popen.stdout.readline()))
        own = OsProcess.of(self.popen.pid)
        assert child is not None
        assert own is not None
        self.own, self.child = own, child

    def end(self, *, reap: bool = True) -> None:
        """It ends with 7; its parent takes notice if ``reap``."""
        assert self.popen.stdin is not None
        if not self.popen.stdin.closed:
            self.popen.stdin.close()
        until(self.own.is_gone)
        if reap:
            self.popen.wait()

    def close(self) -> None:
        self.child.send(signal.SIGKILL)
        self.popen.kill()
        self.popen.wait()
        for stream in (self.popen.stdin, self.popen.stdout):
            if stream is not None:
                stream.close()


def until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline_s, "the state was not reached"
        time.sleep(0.01)


def order(worker: OsProcess, number: int = 1) -> AutopsyOrder:
    return AutopsyOrder(pid="p", number=number, lease_id="lease-1", worker=worker)


async def found(autopsies: Autopsies, worker: OsProcess) -> str | None:
    """How a worker ended."""
    return (await autopsies.find(order(worker))).words


def kept_in(directory: Path) -> KeptRunners:
    """What one schedd leaves to the next."""
    return KeptFile(opening(directory), "runners", list[OsProcess], syncs=False)


@pytest.fixture
async def autopsies(tmp_path: Path) -> AsyncIterator[Autopsies]:
    made = Autopsies(str(tmp_path), Scheduling(), kept_in(tmp_path))
    yield made
    await made.close()


@pytest.fixture
def process() -> Iterator[Process]:
    made = Process()
    yield made
    made.close()


def tells_exits() -> bool:
    """Linux 6.15 and later."""
    pid = os.fork()
    if pid == 0:
        os._exit(7)
    pidfd = os.pidfd_open(pid)
    os.waitpid(pid, 0)
    words = exit_words(pidfd)
    os.close(pidfd)
    return words == "exit status 7"


async def test_the_system_tells_how_it_ended(autopsies: Autopsies, process: Process) -> None:
    if not tells_exits():
        pytest.skip("this kernel does not tell how other's children ended")
    autopsies.runners.hello(process.own)
    assert autopsies.runners.watches(process.own)
    process.end()
    assert await found(autopsies, process.own) == "exit status 7"
    until(process.child.is_gone)


async def test_a_zombie_is_waited_for(autopsies: Autopsies, process: Process) -> None:
    """The system says how a process ended only once its parent took notice."""
    if not tells_exits():
        pytest.skip("this kernel does not tell how other's children ended")
    autopsies.runners.hello(process.own)
    process.end(reap=False)
    finding = asyncio.create_task(found(autopsies, process.own))
    await asyncio.sleep(0.05)  # in which it looks, and sees a zombie
    process.popen.wait()
    assert await finding == "exit status 7"


async def test_what_it_left_in_its_log_tells_where_the_system_does_not(
    autopsies: Autopsies, process: Process, tmp_path: Path
) -> None:
    process.end()  # before it said hello
    log = proclog.path(str(tmp_path), "p")
    log.parent.mkdir()
    log.write_bytes(proclog.header("p", "x", process.own.pid) + proclog.footer("p", "exit status 7"))
    assert await found(autopsies, process.own) == "exit status 7"
    log.write_bytes(proclog.header("p", "x", process.own.pid))
    assert await found(autopsies, process.own) == "signal: killed"


async def test_whether_a_proc_had_begun_outlives_its_worker(
    autopsies: Autopsies, process: Process, tmp_path: Path
) -> None:
    """What had not begun runs elsewhere; what had does not."""
    record = BegunRecord(str(tmp_path), process.own)
    record.write("lease-1", 6)
    record.write("lease-1", 7)
    autopsies.runners.hello(process.own)
    process.end()
    assert [(await autopsies.find(order(process.own, number))).has_begun for number in (6, 7, 8)] == [
        False,
        True,
        False,
    ]
    assert os.listdir(tmp_path / "procs" / ".begun") == []


async def test_a_worker_that_left_no_record_may_have_begun_anything(autopsies: Autopsies, process: Process) -> None:
    autopsies.runners.hello(process.own)
    process.end()
    assert (await autopsies.find(order(process.own))).has_begun is None


async def test_another_machine_is_not_touched(autopsies: Autopsies, process: Process) -> None:
    """A process there may have the number of one here."""
    elsewhere = msgspec.structs.replace(process.own, machine="another/pid:[1]")
    autopsies.runners.hello(elsewhere)
    assert not autopsies.runners.watches(elsewhere)
    assert await found(autopsies, elsewhere) is None
    process.end()
    end_group(elsewhere)
    assert process.child.is_alive()


async def test_a_number_that_is_anothers_by_now_is_not_touched(process: Process) -> None:
    """And the living have no children left behind."""
    end_group(process.own)
    earlier = msgspec.structs.replace(process.own, started_ticks=process.own.started_ticks - 1)
    end_group(earlier)
    assert process.own.is_alive()
    assert process.child.is_alive()
    process.end()
    end_group(process.own)
    until(process.child.is_gone)


async def test_what_a_runner_leaves_behind_is_ended_though_nobody_asks(autopsies: Autopsies, process: Process) -> None:
    """The schedd that owned its procs may be gone."""
    autopsies.runners.hello(process.own)
    process.end()
    deadline_s = time.monotonic() + WITHIN_S
    while not process.child.is_gone():
        assert time.monotonic() < deadline_s
        await asyncio.sleep(0.01)


async def test_the_next_schedd_goes_on_with_the_runners(autopsies: Autopsies, tmp_path: Path) -> None:
    """Those that ended meanwhile have left nothing behind; those that live are watched."""
    ended, alive = Process(), Process()
    try:
        for process in (ended, alive):
            autopsies.runners.hello(process.own)
        await autopsies.close()
        ended.end()
        assert ended.child.is_alive()
        later = Autopsies(str(tmp_path), Scheduling(), kept_in(tmp_path))
        later.runners.recover()
        until(ended.child.is_gone)
        assert later.runners.watches(alive.own)
        alive.end()
        assert await found(later, alive.own) in ("exit status 7", "signal: killed")
        await later.close()
    finally:
        ended.close()
        alive.close()
