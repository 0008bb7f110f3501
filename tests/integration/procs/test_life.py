"""The life of procs on a real Ray: X-10 to X-31."""

from __future__ import annotations

import os
import select
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from sigmaos_ray import Proc, SigmaClnt, Status, serr
from sigmaos_ray.runner import proclog

if TYPE_CHECKING:
    from pathlib import Path

WAIT_S = 30.0


def run(sc: SigmaClnt, proc: Proc) -> Status:
    sc.spawn(proc)
    return sc.wait_exit(proc.pid, WAIT_S)


def test_status_message_and_data_arrive(sc: SigmaClnt) -> None:
    proc = Proc("programs.echo_args", ["a", "b c"], env={"X": "1"})
    sc.spawn(proc)
    sc.wait_start(proc.pid, WAIT_S)
    status = sc.wait_exit(proc.pid, WAIT_S)
    assert (status.is_ok(), status.msg) == (True, "Hello world")
    assert status.data == {
        "argv": ["a", "b c"],
        "sys_argv": ["programs.echo_args", "a", "b c"],
        "pid": proc.pid,
        "kernel_id": sc.kernel_id,
        "x": "1",
    }


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("exit7", "exit status 7"),
        ("sysexit3", "exit status 3"),
        ("text", "exit status 1: no more"),
        ("SIGKILL", "signal: killed"),
        ("SIGTERM", "signal: terminated"),
        ("SIGSEGV", "signal: segmentation fault"),
    ],
)
def test_crash_words_of_tasks(sc: SigmaClnt, how: str, words: str) -> None:
    status = run(sc, Proc("programs.die", [how]))
    assert status.is_crash()
    assert status.is_err()
    assert status.msg == words


@pytest.mark.parametrize(("how", "words"), [("exit7", "exit status 7"), ("SIGKILL", "signal: killed")])
def test_crash_words_of_actors(sc: SigmaClnt, how: str, words: str) -> None:
    proc = Proc("programs.die", [how, "started"], mcpu=500)
    sc.spawn(proc)
    sc.wait_start(proc.pid, WAIT_S)
    status = sc.wait_exit(proc.pid, WAIT_S)
    assert status.is_crash()
    assert status.msg == words


def test_exit_zero_is_ok_and_an_exception_an_error(sc: SigmaClnt, log_dir: Path) -> None:
    assert run(sc, Proc("programs.die", ["sysexit0"])) == Status.ok()
    proc = Proc("programs.die", ["raise"])
    assert run(sc, proc) == Status.err("ValueError: boom")
    assert "Traceback" in proclog.path(str(log_dir), proc.pid).read_text()


def test_first_report_wins(sc: SigmaClnt) -> None:
    assert run(sc, Proc("programs.die", ["report"])) == Status.info("reported", 1.5)


@pytest.mark.parametrize("mcpu", [0, 500])
def test_unknown_program_is_an_error_status(sc: SigmaClnt, mcpu: int) -> None:
    proc = Proc("nosuchprogram", mcpu=mcpu)
    sc.spawn(proc)
    sc.wait_start(proc.pid, WAIT_S)
    status = sc.wait_exit(proc.pid, WAIT_S)
    assert status.is_err()
    assert not status.is_crash()
    assert "nosuchprogram" in status.msg


def test_callables(sc: SigmaClnt) -> None:
    offset = 40

    def add(argv: list[str]) -> int:
        return offset + int(argv[0])

    assert run(sc, Proc(add, ["2"])).data == 42
    assert run(sc, Proc(lambda: {"a": [1, 2.5]})).data == {"a": [1, 2.5]}
    assert run(sc, Proc(_module_function)).data == "by value"


def _module_function() -> str:
    return "by value"


def test_wait_exit_collects(sc: SigmaClnt, other: SigmaClnt) -> None:
    proc = Proc("programs.nop")
    sc.spawn(proc)
    assert other.wait_exit(proc.pid, WAIT_S).is_ok()
    assert sc.wait_exit(proc.pid, WAIT_S, peek=True).is_ok()
    assert sc.wait_exit(proc.pid, WAIT_S).is_ok()
    for client in (sc, other):
        with pytest.raises(serr.NotFound):
            client.wait_exit(proc.pid)
    with pytest.raises(serr.NotFound):
        sc.evict(proc.pid)
    assert proc.pid not in [info.pid for info in sc.procs()]


def test_unknown_pid_fails_at_once(sc: SigmaClnt) -> None:
    for call in (sc.wait_start, sc.wait_exit, sc.evict):
        with pytest.raises(serr.NotFound):
            call("nobody")


def test_two_threads_wait_for_one_proc(sc: SigmaClnt) -> None:
    proc = Proc("programs.spinner")
    sc.spawn(proc)
    with ThreadPoolExecutor(2) as pool:
        waits = [pool.submit(sc.wait_exit, proc.pid, WAIT_S) for _ in range(2)]
        sc.wait_start(proc.pid, WAIT_S)
        sc.evict(proc.pid)
        assert [wait.result().is_evicted() for wait in waits] == [True, True]
    with pytest.raises(serr.NotFound):
        sc.wait_exit(proc.pid)


def test_time_out_leaves_the_status(sc: SigmaClnt) -> None:
    proc = Proc("programs.spinner")
    sc.spawn(proc)
    for timeout_s in (0, 0.05):
        with pytest.raises(serr.Timeout):
            sc.wait_exit(proc.pid, timeout_s)
    sc.evict(proc.pid)
    assert sc.wait_exit(proc.pid, WAIT_S).is_evicted()


def test_same_pid_twice(sc: SigmaClnt) -> None:
    proc = Proc("programs.spinner")
    sc.spawn(proc)
    with pytest.raises(serr.Exists):
        sc.spawn(Proc("programs.nop", pid=proc.pid))
    sc.evict(proc.pid)
    assert sc.wait_exit(proc.pid, WAIT_S).is_evicted()
    assert run(sc, Proc("programs.nop", pid=proc.pid)).is_ok()


@pytest.mark.parametrize("parent", ["parent", "crashing_parent"])
def test_children_outlive_their_parent(sc: SigmaClnt, parent: str) -> None:
    child = f"orphan-of-{parent}"
    status = run(sc, Proc(f"programs.{parent}", ["programs.spinner", child]))
    assert status.is_crash() if parent == "crashing_parent" else status.data == child
    assert child in [stat.name for stat in sc.get_dir(f"name/schedd/{sc.kernel_id}/pids")]
    with ThreadPoolExecutor(1) as pool:
        wait = pool.submit(sc.wait_exit, child, WAIT_S, peek=True)
        sc.evict(child)
        assert wait.result().is_evicted()
    with pytest.raises(serr.NotFound):
        sc.wait_exit(child)


def test_pids_and_queue_as_files(sc: SigmaClnt) -> None:
    here = f"name/schedd/{sc.kernel_id}"
    proc = Proc("programs.spinner", ["x"])
    sc.spawn(proc)
    sc.wait_start(proc.pid, WAIT_S)
    info = sc.get_file_json(f"{here}/pids/{proc.pid}")
    assert (info["pid"], info["args"], info["state"]) == (proc.pid, ["x"], "running")
    waiting = Proc("programs.nop", mcpu=64_000)
    sc.spawn(waiting)
    assert sc.get_file_json(f"{here}/queue/{waiting.pid}")["state"] == "queued"
    [info] = [info for info in sc.procs() if info.pid == waiting.pid]
    assert "64 cores, more than any node has (2)" in info.note
    for pid in (proc.pid, waiting.pid):
        sc.evict(pid)
        assert sc.wait_exit(pid, WAIT_S).is_evicted()
        for directory in ("pids", "queue"):
            with pytest.raises(serr.NotFound):
                sc.stat(f"{here}/{directory}/{pid}")


def test_queued_best_effort_proc_ends_evicted(sc: SigmaClnt) -> None:
    proc = Proc("programs.nop", mem_mb=10_000_000)
    sc.spawn(proc)
    with pytest.raises(serr.Timeout):
        sc.wait_start(proc.pid, 0.2)
    sc.evict(proc.pid)
    assert sc.wait_exit(proc.pid, WAIT_S).is_evicted()


@pytest.mark.parametrize("mcpu", [0, 500])
def test_grace_ends_what_does_not_heed(sc: SigmaClnt, mcpu: int) -> None:
    proc = Proc("programs.stubborn", mcpu=mcpu)
    sc.spawn(proc)
    sc.wait_start(proc.pid, WAIT_S)
    sc.evict(proc.pid, grace_s=0.3)
    status = sc.wait_exit(proc.pid, WAIT_S)
    assert status.is_evicted()
    assert "signal: killed" in status.msg


@pytest.mark.parametrize("reuse", [False, True])
def test_a_proc_finds_nothing_that_another_one_left(sc: SigmaClnt, log_dir: Path, reuse: bool) -> None:
    """It has a process of its own, or one that was put back."""
    seen: dict[int, int] = {}
    for _ in range(8):
        proc = Proc("programs.messy", reuse=reuse)
        status = run(sc, proc)
        assert isinstance(status.data, dict)
        report = dict(status.data)
        for child in report.pop("children"):
            assert not os.path.exists(f"/proc/{child}")
        os_pid = report.pop("os_pid")
        seen[os_pid] = seen.get(os_pid, 0) + 1
        assert (report["mess"], report["usr1"], report["path"]) == (None, False, False)
        assert report["umask"] != 0o077
        assert report["cwd"] != "/"
        lines = proclog.path(str(log_dir), proc.pid).read_text().splitlines()
        assert lines[0].startswith(f"== {proc.pid} programs.messy os_pid={os_pid}")
        assert lines[1:] == ["a line", "a child's line", "an error line"]
    assert (max(seen.values()) > 1) is reuse


def test_children_of_a_killed_proc_die(sc: SigmaClnt) -> None:
    status = run(sc, Proc("programs.die", ["children", "name/child-pid"]))
    assert status.msg == "signal: killed"
    child = int(sc.get_file("name/child-pid"))
    sc.remove("name/child-pid")
    try:
        pidfd = os.pidfd_open(child)
    except ProcessLookupError:
        return
    try:
        assert select.select([pidfd], [], [], 5)[0], "the child lives on"
    finally:
        os.close(pidfd)


def test_fresh_is_a_process_of_its_own(sc: SigmaClnt) -> None:
    warm = {run(sc, Proc(_os_pid)).data for _ in range(3)}
    first, second = (run(sc, Proc(_os_pid, fresh=True)) for _ in range(2))
    assert first.data != second.data
    assert not {first.data, second.data} & warm


def _os_pid() -> int:
    return os.getpid()


def test_started_and_exited_outside_of_a_proc(sc: SigmaClnt) -> None:
    with pytest.raises(serr.NotFound):
        sc.started()
    with pytest.raises(serr.NotFound):
        sc.wait_evict(1)


def packs_arrow(_argv: list[str]) -> Status:
    import sys

    before = [name for name in ("pydantic", "pyarrow") if name in sys.modules]
    import pyarrow
    import ray

    column = ray.get(ray.put(pyarrow.table({"number": list(range(1000))}).slice(7, 2)))["number"].to_pylist()
    return Status.info("", {"before": before, "column": column})


def test_a_worker_has_what_ray_registers_once_it_is_needed(sc: SigmaClnt) -> None:
    """Most never pay for importing it."""
    status = run(sc, Proc(packs_arrow, fresh=True))
    assert status.data == {"before": [], "column": [7, 8]}, status
