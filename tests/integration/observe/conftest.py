"""What these tests share: ``sigmaos`` as a user calls it, on the session's instance, and a proc that is busy."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from command import Sigmaos

from sigmaos_ray import Proc

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sigmaos_ray.testing import Tstate

TIMEOUT_S = 60


@pytest.fixture
def sigmaos(
    tstate_all: Tstate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Sigmaos:
    """Its files go to a directory of the test's."""
    monkeypatch.setenv("SIGMAOS_PERF_DIR", str(tmp_path / "records"))
    return Sigmaos(tstate_all.state_dir, capsys)


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
