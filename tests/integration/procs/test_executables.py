"""Programs that are executable files, and programs that a package registered (X-1, C-11)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import psutil
import pytest

from sigmaos_ray import Proc, SigmaClnt, Status, serr
from sigmaos_ray.runner import proclog

if TYPE_CHECKING:
    from pathlib import Path

WAIT_S = 60.0


def put(sc: SigmaClnt, name: str, script: str) -> str:
    pn = f"name/{name}"
    sc.put_file(pn, f"#!/bin/sh\n{script}\n".encode())
    return pn


def run(sc: SigmaClnt, proc: Proc) -> Status:
    sc.spawn(proc)
    return sc.wait_exit(proc.pid, WAIT_S)


def lines_of(log_dir: Path, pid: str) -> list[str]:
    return proclog.path(str(log_dir), pid).read_text().splitlines()[1:]


def test_arguments_environment_and_output(sc: SigmaClnt, log_dir: Path) -> None:
    pn = put(sc, "tell.sh", 'echo "$1,$2,$X"; echo "$SIGMACONFIG" >&2; echo "$SIGMADEBUGPID"')
    proc = Proc(pn, ["a", "b c"], env={"X": "1"})
    assert run(sc, proc) == Status.ok()
    arguments, config, pid = lines_of(log_dir, proc.pid)
    assert (arguments, pid) == ("a,b c,1", proc.pid)
    assert proc.pid in config
    assert proc.pid.startswith("tell.sh-")


@pytest.mark.parametrize(
    ("script", "status"),
    [
        ("exit 7", Status.crash("exit status 7")),
        ("kill -9 $$", Status.crash("signal: killed")),
        ("exit 0", Status.ok()),
    ],
)
def test_how_it_ends(sc: SigmaClnt, script: str, status: Status) -> None:
    assert run(sc, Proc(put(sc, "end.sh", script))) == status


def test_a_new_version_is_fetched(sc: SigmaClnt) -> None:
    for code in (3, 4, 4):
        assert run(sc, Proc(put(sc, "changing.sh", f"exit {code}"))).msg == f"exit status {code}"


def test_what_cannot_be_run(sc: SigmaClnt) -> None:
    sc.put_file("name/no-program", b"\x00not a program")
    for pn, why in (
        ("name/absent.sh", "not found"),
        ("name/no-program", "Exec format error"),
        ("name/schedd", "directory"),
    ):
        status = run(sc, Proc(pn))
        assert status.is_err()
        assert not status.is_crash()
        assert pn in status.msg
        assert why in status.msg
    for bad in ("/", "name/", "name/ux/~any", "name/x/"):
        with pytest.raises(serr.Inval):
            Proc(bad)


def test_an_eviction_terminates_it_and_its_children(sc: SigmaClnt) -> None:
    proc = Proc(put(sc, "server.sh", "sleep 1000 & sleep 1000 & wait"))
    sc.spawn(proc)
    sc.wait_start(proc.pid, WAIT_S)
    sc.evict(proc.pid)
    assert sc.wait_exit(proc.pid, WAIT_S) == Status.evicted()


def test_grace_ends_one_that_ignores_the_signal(sc: SigmaClnt) -> None:
    proc = Proc(put(sc, "deaf.sh", 'trap "" TERM; echo $$ > "$1"; while :; do sleep 1; done'), ["/proc/self/fd/1"])
    sc.spawn(proc)
    sc.wait_start(proc.pid, WAIT_S)
    [worker] = [info.os_pid for info in sc.procs() if info.pid == proc.pid and info.os_pid] or [0]
    children = psutil.Process(worker).children(recursive=True) if worker else []
    with ThreadPoolExecutor(1) as pool:
        wait = pool.submit(sc.wait_exit, proc.pid, WAIT_S)
        sc.evict(proc.pid, grace_s=0.3)
        assert wait.result().is_evicted()
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive


def test_it_may_report_for_itself(sc: SigmaClnt) -> None:
    script = (
        "exec python3 -c 'from sigmaos_ray import SigmaClnt, Status; SigmaClnt().clnt_exit(Status.info(\"me\", 5))'"
    )
    assert run(sc, Proc(put(sc, "python.sh", script.replace("python3", "$PYTHON")), env={"PYTHON": _python()})) == (
        Status.info("me", 5)
    )


def _python() -> str:
    import sys

    return sys.executable
