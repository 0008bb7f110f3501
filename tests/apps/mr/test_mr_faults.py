"""Whatever dies, is lost, or cut off: the output is that of a run without faults, or there is none (MR-10 to MR-13)."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from mrlab import Gate, Texts, counts, gated, raw_output, until, until_progress

from sigmaos_ray import serr
from user.mr import MapReduce, run, stop_job

if TYPE_CHECKING:
    from sigmaos_ray import SigmaClnt
    from sigmaos_ray.testing import Tstate
    from user.mr import JobResult

SIGMAOS = str(Path(sys.executable).with_name("sigmaos"))


@pytest.fixture(scope="module")
def faultless(sc: SigmaClnt, texts: Texts) -> list[bytes]:
    """The output of a run without faults, byte by byte."""
    result = run(sc, texts.job())
    assert counts(sc, result) == texts.words()
    return raw_output(sc, result.job)


def os_pid_of(sc: SigmaClnt, pid: str) -> int:
    """The process of a proc, once its schedd knows it."""
    os_pids: list[int] = []

    def is_known() -> bool:
        os_pids[:] = [info.os_pid for info in sc.procs() if info.pid == pid and info.os_pid]
        return bool(os_pids)

    until(is_known)
    return os_pids[0]


def leader_of(sc: SigmaClnt, running: MapReduce) -> str:
    """The pid of the coordinator that leads."""
    pid: str = sc.get_file_json(f"name/mr/{running.name}/coord-leader")["pid"]
    return pid


def ends_well(sc: SigmaClnt, running: MapReduce, faultless: list[bytes]) -> JobResult:
    result = running.wait()
    assert result.ok, result.error
    assert raw_output(sc, result.job) == faultless
    return result


def test_a_mapper_that_is_killed_runs_again(sc: SigmaClnt, texts: Texts, gate: Gate, faultless: list[bytes]) -> None:
    with MapReduce(sc, texts.job(), gated(gate, lambda name: "/given/runes" in name)) as running:
        until(lambda: bool(gate.came("map")))
        os.kill(gate.came("map")[0], signal.SIGKILL)
        until(lambda: len(gate.came("map")) == 2)
        gate.open()
        result = ends_well(sc, running, faultless)
    assert result.counters.nfail == 1


def test_a_reducer_that_is_killed_runs_again(sc: SigmaClnt, texts: Texts, gate: Gate, faultless: list[bytes]) -> None:
    with MapReduce(sc, texts.job(), gated(gate, lambda name: False, hold_reduce=True)) as running:
        until(lambda: len(gate.came("reduce")) == 2)
        os.kill(gate.came("reduce")[0], signal.SIGKILL)
        until(lambda: len(gate.came("reduce")) == 3)
        gate.open()
        result = ends_well(sc, running, faultless)
    assert result.counters.nfail == 1


def test_intermediate_files_that_are_lost_are_made_again(
    sc: SigmaClnt, texts: Texts, gate: Gate, faultless: list[bytes]
) -> None:
    with MapReduce(sc, texts.job(), gated(gate, lambda name: "/given/runes" in name)) as running:
        until_progress(running, lambda progress: progress.map.done == progress.map.total - 1 > 0)
        directory = f"name/ux/~local/mr/{running.name}"
        lost = sc.get_dir(directory)
        assert lost
        for stat in lost:
            sc.rmdir(f"{directory}/{stat.name}")
        gate.open()
        result = ends_well(sc, running, faultless)
    counters = result.counters
    assert (counters.nrestart, counters.nrecover_map, counters.nfail) == (2, len(lost), 0)


def test_a_coordinator_that_is_killed_is_followed_by_the_next(
    sc: SigmaClnt, texts: Texts, gate: Gate, faultless: list[bytes]
) -> None:
    with MapReduce(sc, texts.job(coordinators=2), gated(gate, lambda name: "/given/runes" in name)) as running:
        until(lambda: bool(gate.came("map")))
        first = leader_of(sc, running)
        os.kill(os_pid_of(sc, first), signal.SIGKILL)
        until(lambda: len(gate.came("map")) == 2)  # what was under way begins anew
        gate.open()
        result = ends_well(sc, running, faultless)
        assert running.group.nstart() == 3
    assert result.counters.nrecover_map >= 1


def test_a_task_server_that_is_killed_forgets_nothing(
    sc: SigmaClnt, texts: Texts, gate: Gate, faultless: list[bytes]
) -> None:
    with MapReduce(sc, texts.job(), gated(gate, lambda name: "/given/runes" in name)) as running:
        until_progress(running, lambda progress: progress.map.done == progress.map.total - 1 > 0)
        group = json.loads(sc.get_file(f"name/grpmgr/fttask-mr-{running.name}-mtasks"))
        os.kill(os_pid_of(sc, group["pids"][0]), signal.SIGKILL)
        gate.open()
        result = ends_well(sc, running, faultless)
    assert result.counters.nrecover_map == 0


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param("MRMAP_CRASH", marks=pytest.mark.soak),  # a worker process anew for each: most of a minute
        "MRMAP_PARTITION",
        "MRREDUCE_CRASH",
        "MRREDUCE_PARTITION",
    ],
)
def test_tasks_that_die_or_are_cut_off_at_any_moment(
    sc: SigmaClnt, texts: Texts, faultless: list[bytes], fault: str
) -> None:
    fail = {"seed": 11, "events": {fault: {"maxinterval_ms": 300, "prob": 0.4, "n": 1}}}
    with MapReduce(sc, texts.job(binsz=200_000, nreduce=2), env={"SIGMAFAIL": json.dumps(fail)}) as running:
        ends_well(sc, running, faultless)


def test_a_job_outlives_its_client(sc: SigmaClnt, tstate_all: Tstate, texts: Texts, tmp_path: Path) -> None:
    (tmp_path / "held.py").write_text(
        "import os, time\nfrom user.mr.wc import cut, map_block as count\n\n\n"
        f"def map_block(name, block, into):\n    while not os.path.exists({str(tmp_path / 'open')!r}):\n"
        "        time.sleep(0.01)\n    count(name, block, into)\n"
    )
    (tmp_path / "job.yml").write_text(
        f"{{app: held.py, coordinators: 1, input: {texts.input}, output: {texts.root}/out}}"
    )
    name = f"orphan-{secrets.token_hex(4)}"
    command = [
        SIGMAOS,
        "--state-dir",
        str(tstate_all.state_dir),
        "mr",
        "run",
        str(tmp_path / "job.yml"),
        "--name",
        name,
    ]
    client = subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def running() -> bool:
        try:
            return bool(sc.get_file_json(f"name/mr/{name}/progress")["map"]["running"])
        except serr.NotFound:
            return False

    until(running)
    client.kill()
    client.wait()
    (tmp_path / "open").touch()
    sc.wait_create(f"name/mr/{name}/result", 60)
    assert sc.get_file_json(f"name/mr/{name}/result")["ok"]

    def remaining() -> list[str]:
        groups = [
            stat.name for stat in sc.get_dir("name/grpmgr") if stat.name.startswith("fttask") and name in stat.name
        ]
        return groups + [
            info.pid for info in sc.procs() if info.state != "exited" and any(name in arg for arg in info.args)
        ]

    until(lambda: not remaining())
    sc.run(stop_job(sc.asynchronous, name))
    assert not [stat.name for stat in sc.get_dir("name/grpmgr") if name in stat.name]
