"""Workers, templates and procs' processes killed at every stage: each end is told once, nothing runs twice, nothing is
left."""

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

from sigmaos_ray import Proc

if TYPE_CHECKING:
    from pathlib import Path

    from sigmaos_ray import SigmaClnt, Status

WAIT_S = 120.0


def workers(log_dir: Path) -> list[psutil.Process]:
    """Those of leases, by what they keep of what they began."""
    found = []
    for record in (log_dir / "procs" / ".begun").glob("*"):
        try:
            found.append(psutil.Process(int(record.name.partition("-")[0])))
        except psutil.NoSuchProcess:
            continue
    return found


def below(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


class Killer:
    """Kills one of them after another, for as long as the block lasts."""

    def __init__(self, log_dir: Path, rng: random.Random, pause_s: float) -> None:
        self._log_dir = log_dir
        self._rng = rng
        self._pause_s = pause_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._main, name="killer")
        self.killed: Counter[str] = Counter()

    def __enter__(self) -> Killer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _main(self) -> None:
        while not self._over.wait(self._rng.uniform(0, self._pause_s)):
            self.kill_one()

    def kill_one(self) -> None:
        candidates: list[tuple[str, psutil.Process]] = []
        for worker in workers(self._log_dir):
            candidates.append(("worker", worker))
            candidates += [("below", process) for process in below(worker)]
        if candidates:
            what, process = self._rng.choice(candidates)
            try:
                process.kill()
            except psutil.NoSuchProcess:
                return
            self.killed[what] += 1


def ran(directory: Path, file: str) -> Counter[str]:
    path = directory / file
    return Counter(path.read_text().split()) if path.exists() else Counter()


def check(procs: list[Proc], statuses: dict[str, Status], directory: Path) -> None:
    began, ended = ran(directory, "began"), ran(directory, "ended")
    for proc in procs:
        status = statuses[proc.pid]
        assert began[proc.pid] <= 1, f"{proc.pid} ran {began[proc.pid]} times"
        if status.is_ok():
            assert ended[proc.pid] == 1
            assert status.data == proc.pid
        else:
            assert status.is_crash(), status
            assert status.msg in ("signal: killed", "unknown: its worker process died"), status


def until_nothing_runs(directory: Path) -> None:
    """No process of those procs is left: each has the directory among its arguments, or as its proc's."""
    deadline_s = time.monotonic() + 20
    while left := [
        process.pid
        for process in psutil.process_iter()
        if process.pid != os.getpid() and _is_about(process, str(directory))
    ]:
        assert time.monotonic() < deadline_s, left
        time.sleep(0.1)


def _is_about(process: psutil.Process, directory: str) -> bool:
    try:
        return any(directory in variable for variable in process.environ().values())
    except psutil.Error:
        return False


def burst(sc: SigmaClnt, directory: Path, count: int, rng: random.Random) -> list[Proc]:
    procs = [
        Proc("programs.mark", [str(directory), str(rng.choice([0, 0, 0.01, 0.05]))], env={"MARKED": str(directory)})
        for _ in range(count)
    ]
    for proc in procs:
        sc.spawn(proc)
    return procs


def run_under_kills(
    sc: SigmaClnt, log_dir: Path, directory: Path, count: int, seed: int, pause_s: float
) -> Counter[str]:
    rng = random.Random(seed)
    with Killer(log_dir, rng, pause_s) as killer:
        procs = burst(sc, directory, count, rng)
        statuses = {proc.pid: sc.wait_exit(proc.pid, WAIT_S) for proc in procs}
    check(procs, statuses, directory)
    until_nothing_runs(directory)
    assert sum(status.is_ok() for status in statuses.values()) > count / 3
    return killer.killed


def test_each_end_is_told_once_and_nothing_runs_twice(sc: SigmaClnt, log_dir: Path, tmp_path: Path) -> None:
    assert run_under_kills(sc, log_dir, tmp_path, 60, seed=1, pause_s=0.4)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(20))
def test_long_under_kills(sc: SigmaClnt, log_dir: Path, tmp_path: Path, seed: int) -> None:
    run_under_kills(sc, log_dir, tmp_path, 300, seed=seed, pause_s=0.5)


def stop(process: psutil.Process) -> None:
    """Returns once none of its threads runs: the system wakes one of them first, and the others may go on meanwhile."""
    process.send_signal(signal.SIGSTOP)
    deadline_s = time.monotonic() + 10
    while not all(_is_stopped(f"/proc/{process.pid}/task/{thread.id}/stat") for thread in process.threads()):
        assert time.monotonic() < deadline_s
        time.sleep(0.001)


def _is_stopped(stat: str) -> bool:
    with open(stat) as file:
        return file.read().rpartition(")")[2].split()[0] == "T"


def test_what_an_idle_lease_was_handed_runs_elsewhere(sc: SigmaClnt, log_dir: Path, tmp_path: Path) -> None:
    """The worker stands still, as one does that is about to die: it has not begun what it was handed."""
    warm = Proc("programs.nop")
    sc.spawn(warm)
    assert sc.wait_exit(warm.pid, WAIT_S).is_ok()
    held = workers(log_dir)
    for worker in held:
        stop(worker)
    procs = burst(sc, tmp_path, 4, random.Random(1))
    time.sleep(0.5)  # they are handed out, to whichever idles: nothing tells that
    for worker in held:
        worker.kill()
    statuses = {proc.pid: sc.wait_exit(proc.pid, WAIT_S) for proc in procs}
    assert all(status.is_ok() for status in statuses.values()), statuses
    check(procs, statuses, tmp_path)
