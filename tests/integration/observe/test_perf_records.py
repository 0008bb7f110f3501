"""``Perf`` in processes of their own: each kind of record, its graphs, signals, and systems that forbid ptrace."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import memray
import noptrace
import pytest
import worked

from sigmaos_ray import serr
from sigmaos_ray.perf import remote
from sigmaos_ray.perf.profile import Profile
from sigmaos_ray.perf.selection import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
TIMEOUT_S = 60


def environment(where: Path, spec: str, **more: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SIGMA")}
    path = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    named = {"SIGMAPERF": spec, "SIGMAOS_PERF_DIR": str(where), "SIGMADEBUGPID": "me", "PYTHONPATH": path}
    return clean | named | more


def run(where: Path, spec: str, how: str = "", **more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(HERE / "worked.py"), how]
    env = environment(where, spec, **more)
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=TIMEOUT_S, check=True)


@contextmanager
def waiting(where: Path, spec: str, how: str) -> Iterator[subprocess.Popen[str]]:
    """The program, once it has done its work and waits; it does not outlive the block."""
    command = [sys.executable, str(HERE / "worked.py"), how]
    with subprocess.Popen(
        command, env=environment(where, spec), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if line.startswith("waits"):
                    break
            yield process
        finally:
            process.kill()


def profile(where: Path, kind: Kind) -> Profile:
    return Profile.from_text((where / f"me-{kind.value}.out").read_text())


def spent_in(record: Profile, function: str) -> float:
    """Seconds, with what it called."""
    hits = (weight for stack, weight in record.stacks.items() if any(frame.startswith(function) for frame in stack))
    return sum(hits) / 1e6


def check_graphs(where: Path, kind: Kind, frame: str) -> None:
    assert frame in (where / f"me-{kind.value}.svg").read_text()
    scope = json.loads((where / f"me-{kind.value}.speedscope.json").read_text())
    assert any(frame in shown["name"] for shown in scope["shared"]["frames"])


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The records of one run with everything on."""
    where = tmp_path_factory.mktemp("perf")
    run(where, "".join(f"TEST{kind.suffix};" for kind in Kind) + "OTHER_PPROF;")
    return where


def test_cpu(everything: Path) -> None:
    record = profile(everything, Kind.CPU)
    assert spent_in(record, "compute") > worked.BUSY_S / 3
    assert spent_in(record, "compute") > 0.5 * record.total / 1e6
    check_graphs(everything, Kind.CPU, "compute")


def test_blocking(everything: Path) -> None:
    record = profile(everything, Kind.BLOCK)
    assert spent_in(record, "contend.<locals>.hold") > worked.HELD_S / 2
    check_graphs(everything, Kind.BLOCK, "hold")


def test_lock_contention_of_threads_and_tasks(everything: Path) -> None:
    record = profile(everything, Kind.MUTEX)
    assert spent_in(record, "contend (") > worked.HELD_S / 2
    assert spent_in(record, "wait_as_task") > worked.HELD_S / 2
    assert spent_in(record, "compute") == 0
    check_graphs(everything, Kind.MUTEX, "wait_as_task")


def test_memory(everything: Path) -> None:
    with memray.FileReader(everything / "me-pprof-mem.out") as reader:
        assert reader.metadata.peak_memory >= 8 << 20
    check_graphs(everything, Kind.MEMORY, "allocate")


def test_series(everything: Path) -> None:
    lines = (everything / "me-cpu.out").read_text().splitlines()
    assert len(lines) > 5
    assert all(re.fullmatch(r"\d+\.\d\d,\d+,\d+", line) for line in lines)
    assert re.fullmatch(rf"\d+us,{8 << 20}\n", (everything / "me-tpt.out").read_text())
    assert re.fullmatch(r"\d+us,2\.5\n", (everything / "me-val.out").read_text())


def test_nothing_is_recorded_that_is_not_selected(everything: Path, tmp_path: Path) -> None:
    assert not list(everything.glob("*other*"))
    where = tmp_path / "none"
    run(where, "OTHER_PPROF;TESTS_CPU;")
    assert not where.exists()
    run(where, "TEST_VAL")
    assert [file.name for file in where.iterdir()] == ["me-val.out"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_writes_the_records(tmp_path: Path, number: signal.Signals) -> None:
    with waiting(tmp_path, "TEST_PPROF;TEST_VAL", "wait") as process:
        process.send_signal(number)
        assert process.wait(TIMEOUT_S) == 143
    assert spent_in(profile(tmp_path, Kind.CPU), "compute") > 0
    assert (tmp_path / "me-val.out").exists()


@pytest.mark.skipif(not noptrace.is_possible(), reason="needs Linux")
def test_where_ptrace_is_forbidden_the_process_samples_itself(tmp_path: Path) -> None:
    stderr = run(tmp_path, "TEST_PPROF", "forbid").stderr
    assert re.search(
        r"by the sampler inside the process: the system forbids ptrace on process \d+ \(.+\): allow", stderr
    )
    assert spent_in(profile(tmp_path, Kind.CPU), "compute") > worked.BUSY_S / 3
    check_graphs(tmp_path, Kind.CPU, "compute")


def test_py_spy_can_be_declined(tmp_path: Path) -> None:
    run(tmp_path, "TEST_PPROF", SIGMAOS_PERF_PYSPY="0")
    record = profile(tmp_path, Kind.CPU)
    assert spent_in(record, "compute") == pytest.approx(worked.BUSY_S, rel=0.5)


# -- another process


def test_another_process_by_py_spy(tmp_path: Path) -> None:
    with waiting(tmp_path, "", "wait spin") as process:
        result = remote.take(remote.process_of(process.pid), Kind.CPU, 0.5, 100)
    assert spent_in(result.profile, "compute") > 0
    assert result.how == "py-spy"


def test_another_process_by_its_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGMAOS_PERF_PYSPY", "0")
    with waiting(tmp_path, "", "agent wait spin") as process:
        for kind, function in ((Kind.CPU, "compute"), (Kind.BLOCK, "Agent._run"), (Kind.MEMORY, "")):
            result = remote.take(remote.process_of(process.pid), kind, 0.3, 100)
            assert function == "" or kind is Kind.BLOCK or spent_in(result.profile, function) > 0
            assert "is recorded inside the process" in result.how
        with pytest.raises(serr.Inval, match="1001 times a second"):
            remote.take(remote.process_of(process.pid), Kind.CPU, 0.3, 1001)


def test_a_process_that_cannot_be_profiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGMAOS_PERF_PYSPY", "0")
    with waiting(tmp_path, "", "wait") as process, pytest.raises(serr.Unreachable, match="it runs no procs of SigmaOS"):
        remote.take(remote.process_of(process.pid), Kind.BLOCK, 0.1, 100)
    with pytest.raises(serr.NotFound, match="no such process on this machine"):
        remote.take(remote.process_of(process.pid), Kind.CPU, 0.1, 100)
