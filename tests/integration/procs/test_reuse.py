"""Procs that run in the worker's own process."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sigmaos_ray import Proc, SigmaClnt, Status

WAIT_S = 60.0


def test_reuse(sc: SigmaClnt) -> None:
    pids = set()
    for _ in range(50):
        proc = Proc(os.getpid, reuse=True)
        sc.spawn(proc)
        status = sc.wait_exit(proc.pid, WAIT_S)
        assert status.is_ok(), status
        pids.add(status.data)
    assert len(pids) <= 3


def says(argv: list[str]) -> None:
    """What the file asks it to say, and then that it waits for more."""
    file = Path(argv[0])

    def until(wanted: str) -> None:
        while file.read_text() != wanted:
            time.sleep(0.01)

    sc = SigmaClnt()
    until("start")
    sc.started()
    until("exit")
    sc.exited(Status.info("", "said"))
    until("end")


def test_what_it_says_is_heard_while_it_runs(sc: SigmaClnt, tmp_path: Path) -> None:
    """By who waits when it says so, and by who asks later."""
    file = tmp_path / "say"
    file.write_text("")
    proc = Proc(says, [str(file)], reuse=True)
    sc.spawn(proc)
    with ThreadPoolExecutor() as pool:
        waits = [pool.submit(sc.wait_start, proc.pid, WAIT_S) for _ in range(2)]
        file.write_text("start")
        for wait in waits:
            wait.result()
    sc.wait_start(proc.pid, WAIT_S)
    file.write_text("exit")
    assert sc.wait_exit(proc.pid, WAIT_S).data == "said"
    file.write_text("end")
