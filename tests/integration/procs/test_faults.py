"""Faults that SIGMAFAIL injects into procs (G-20)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from sigmaos_ray import Proc

if TYPE_CHECKING:
    from pathlib import Path

    from sigmaos_ray import SigmaClnt

WAIT_S = 30.0


def failing(**events: dict[str, object]) -> dict[str, str]:
    return {"SIGMAFAIL": json.dumps({"events": events})}


@pytest.mark.parametrize("label", ["PROC_START_CRASH", "PROC_EXIT_CRASH"])
def test_a_proc_that_ends_at_a_point(sc: SigmaClnt, label: str) -> None:
    proc = Proc("programs.nop", env=failing(**{label: {}}))
    sc.spawn(proc)
    status = sc.wait_exit(proc.pid, WAIT_S)
    assert status.is_crash()
    assert status.msg == "exit status 5"
    after = Proc("programs.nop")
    sc.spawn(after)
    assert sc.wait_exit(after.pid, WAIT_S).is_ok()


def test_a_proc_that_ends_from_the_appearance_of_a_file(sc: SigmaClnt, tmp_path: Path) -> None:
    file = tmp_path / "now"
    waits = Proc("programs.spinner", env=failing(PROC_CRASH={"path": str(file)}))
    sc.spawn(waits)
    sc.wait_start(waits.pid, WAIT_S)
    file.touch()
    assert sc.wait_exit(waits.pid, WAIT_S).msg == "exit status 5"


def test_a_delay_and_a_fault_that_is_not_asked_for(sc: SigmaClnt) -> None:
    """What is written for one proc does not meet the next on the same worker."""
    late = Proc("programs.nop", env=failing(PROC_START_DELAY={"delay_ms": 50}))
    sc.spawn(late)
    assert sc.wait_exit(late.pid, WAIT_S).is_ok()
    never = Proc("programs.nop", env=failing(PROC_START_CRASH={"prob": 0.0}))
    sc.spawn(never)
    assert sc.wait_exit(never.pid, WAIT_S).is_ok()


def test_what_is_no_sigmafail_is_told_in_the_log(sc: SigmaClnt, log_dir: Path) -> None:
    proc = Proc("programs.nop", env={"SIGMAFAIL": "{"})
    sc.spawn(proc)
    assert sc.wait_exit(proc.pid, WAIT_S).is_ok()
    assert "SIGMAFAIL" in (log_dir / "procs" / f"{proc.pid}.log").read_text()
