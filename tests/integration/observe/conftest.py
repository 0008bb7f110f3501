"""What these tests share: ``sigmaos`` as a user calls it, on the session's instance, and a proc that is busy."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from sigmaos_ray import Proc
from sigmaos_ray.cli import context, main

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from command import Sigmaos

    from sigmaos_ray.testing import Tstate

TIMEOUT_S = 60


@pytest.fixture
def sigmaos(
    tstate_all: Tstate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Sigmaos]:
    """Runs a command; its files go to a directory of their own. In this process: a shell would take a second each."""
    monkeypatch.setenv("SIGMAOS_STATE_DIR", str(tstate_all.state_dir))
    monkeypatch.setenv("SIGMAOS_PERF_DIR", str(tmp_path / "records"))

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", ["sigmaos", *arguments])
        with pytest.raises(SystemExit) as exit_info:
            main.main()
        output = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, int(exit_info.value.code or 0), output.out, output.err)

    yield run
    context.options.__init__()  # type: ignore[misc]


@pytest.fixture(scope="module")
def busy(tstate_all: Tstate) -> Iterator[str]:
    """The pid of a proc that spins, and whose process is known."""
    sc = tstate_all.sc
    proc = Proc("tests.integration.observe.busy", ["and spins"], env={"SIGMADEBUG": "BUSY;SPAWN_LAT;"})
    sc.spawn(proc)
    sc.wait_start(proc.pid, TIMEOUT_S)
    deadline_s = time.monotonic() + TIMEOUT_S
    while not any(info.pid == proc.pid and info.os_pid for info in sc.procs()):
        assert time.monotonic() < deadline_s, "the schedd does not know the proc's process"
        time.sleep(0.01)
    yield proc.pid
    sc.evict(proc.pid)
    assert sc.wait_exit(proc.pid, TIMEOUT_S).is_ok()
