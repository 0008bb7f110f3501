"""A schedd killed with signal 9 while its procs wait, start, run and end (X-28, X-41): whoever waits is told, once; no
proc runs twice; no process of theirs is left; and the next schedd runs procs."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

import psutil
import pytest

from sigmaos_ray import Proc, serr
from sigmaos_ray.testing import Tstate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sigmaos_ray import SigmaClnt, Status

WITHIN_S = 60.0
COUNT = 60


@pytest.fixture(scope="module")
def ts() -> Iterator[Tstate]:
    """An instance of its own: what is killed here must not disturb the tests of others."""
    with Tstate(("named", "schedd")) as tstate:
        yield tstate


def mark(argv: list[str]) -> None:
    """Leaves its name when it begins and when it ends."""
    import time
    from pathlib import Path

    directory, name, nap_s = argv
    with Path(directory, "began").open("a") as file:
        file.write(f"{name}\n")
    time.sleep(float(nap_s))
    with Path(directory, "ended").open("a") as file:
        file.write(f"{name}\n")


def counted(file: Path) -> Counter[str]:
    return Counter(file.read_text().split()) if file.exists() else Counter()


def outcome(sc: SigmaClnt, proc: Proc) -> Status | serr.SigmaError:
    try:
        sc.spawn(proc)
        return sc.wait_exit(proc.pid, WITHIN_S)
    except serr.SigmaError as error:
        return error


def until_gone(marked: str) -> None:
    """Nobody tells when the last process of a lease has gone whose schedd is dead."""
    deadline_s = time.monotonic() + WITHIN_S
    while left := [process.pid for process in psutil.process_iter() if _has(process, marked)]:
        assert time.monotonic() < deadline_s, left
        time.sleep(0.1)


def _has(process: psutil.Process, marked: str) -> bool:
    try:
        return process.pid != os.getpid() and marked in process.environ().get("MARKED", "")
    except psutil.Error:
        return False


def kill_within(ts: Tstate, seed: int, directory: Path) -> Counter[str]:
    """Returns how the procs ended."""
    rng = random.Random(seed)
    naps_s = [rng.choice([0, 0, 0.02, 0.1, 1.0]) for _ in range(COUNT)]
    procs = {
        str(number): Proc(mark, [str(directory), str(number), str(nap_s)], env={"MARKED": str(directory)})
        for number, nap_s in enumerate(naps_s)
    }
    outcomes: dict[str, Status | serr.SigmaError] = {}

    def run(name: str) -> None:
        outcomes[name] = outcome(ts.sc, procs[name])

    threads = [threading.Thread(target=run, args=[name]) for name in procs]
    for thread in threads:
        thread.start()
    time.sleep(rng.uniform(0, 1.5))  # the moment is what is to be different each time
    os.kill(ts.instance.kernel_nodes[0].services["schedd"].pid, signal.SIGKILL)
    for thread in threads:
        thread.join()
    until_gone(str(directory))
    began, ended = counted(directory / "began"), counted(directory / "ended")
    for name in procs:
        told = outcomes[name]
        assert began[name] <= 1, f"{name} ran {began[name]} times"
        if isinstance(told, serr.SigmaError):
            assert isinstance(told, (*serr.SESSION_ERRORS, serr.NotFound)), told
        elif told.is_ok():
            assert ended[name] == 1
        else:
            assert told.is_crash(), told
    return Counter(type(told).__name__ for told in outcomes.values())


def goes_on(ts: Tstate) -> bool:
    """A proc runs to its end, once the next schedd is there."""
    deadline_s = time.monotonic() + WITHIN_S
    while isinstance(told := outcome(ts.sc, Proc("example")), serr.SigmaError):
        assert time.monotonic() < deadline_s, told
    return told.is_ok()


def test_a_schedd_killed_under_its_procs(ts: Tstate, tmp_path: Path) -> None:
    assert kill_within(ts, 1, tmp_path).total() == COUNT
    assert goes_on(ts)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(2, 12))
def test_long_schedds_killed_under_their_procs(ts: Tstate, tmp_path: Path, seed: int) -> None:
    kill_within(ts, seed, tmp_path)
    assert goes_on(ts)
