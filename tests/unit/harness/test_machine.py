"""Processes as values: known by machine, number and start."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from typing import TYPE_CHECKING

import msgspec
import pytest

from sigmaos_ray.machine import OsProcess, machine

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "600"])
    yield process
    process.kill()
    process.wait()


def test_a_process_lives_until_it_ends(sleeper: subprocess.Popen[bytes]) -> None:
    process = OsProcess.of(sleeper.pid)
    assert process is not None
    assert process.is_alive()
    assert not process.is_gone()
    assert process.send(signal.SIGKILL)
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert process.is_gone(), "a zombie has ended"
    sleeper.wait()
    assert process.is_gone()
    assert not process.send(signal.SIGKILL)
    assert OsProcess.of(sleeper.pid) is None


def test_a_number_that_was_given_again_is_another_process(sleeper: subprocess.Popen[bytes]) -> None:
    process = OsProcess.of(sleeper.pid)
    assert process is not None
    earlier = msgspec.structs.replace(process, started_ticks=process.started_ticks - 1)
    assert earlier.is_gone()
    assert not earlier.send(signal.SIGKILL)
    assert process.is_alive()


def test_of_another_machine_nothing_is_known_and_nothing_done(sleeper: subprocess.Popen[bytes]) -> None:
    process = OsProcess.of(sleeper.pid)
    assert process is not None
    elsewhere = msgspec.structs.replace(process, machine="another/pid:[1]")
    assert not elsewhere.is_here
    assert not elsewhere.is_gone()
    assert not elsewhere.is_alive()
    assert elsewhere.open() is None
    assert not elsewhere.send(signal.SIGKILL)
    assert sleeper.poll() is None


def test_own_process() -> None:
    own = OsProcess.own()
    assert own == OsProcess.of(os.getpid())
    assert own.machine == machine()
    assert own.is_alive()


def test_a_thread_is_no_process() -> None:
    """Though the kernel gives it a number of the same kind."""
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    try:
        assert thread.native_id is not None
        assert OsProcess.of(thread.native_id) is None
        assert msgspec.structs.replace(OsProcess.own(), pid=thread.native_id).open() is None
    finally:
        over.set()
        thread.join()
