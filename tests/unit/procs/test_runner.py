"""The runner, in this very process: every program's end becomes a status, and the process is as before."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from sigmaos_ray import Proc, Status
from sigmaos_ray.config import ProcEnv
from sigmaos_ray.procclnt import reports
from sigmaos_ray.runner import children, proclog, program, redirect
from sigmaos_ray.runner.program import module_names
from sigmaos_ray.runner.run import run_program

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

INSTANCE = ProcEnv(pid="", kernel_id="sigma-1", realm="r")


def run(main: Callable[..., object], *args: str, log_dir: str = "", **env: str) -> Status:
    return run_program(Proc(main, list(args), pid="p", env=env).to_pb(), INSTANCE, log_dir)


def _raise(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize(
    ("main", "status"),
    [
        (lambda: None, Status.ok()),
        (lambda: {"a": 1}, Status.info("", {"a": 1})),
        (lambda: Status.fatal("no use"), Status.fatal("no use")),
        (lambda: sys.exit(), Status.ok()),
        (lambda: sys.exit(0), Status.ok()),
        (lambda: sys.exit(7), Status.crash("exit status 7")),
        (lambda: sys.exit(256 + 3), Status.crash("exit status 3")),
        (lambda: sys.exit("text"), Status.crash("exit status 1: text")),
        (lambda: _raise(ValueError("boom")), Status.err("ValueError: boom")),
        (lambda: _raise(KeyboardInterrupt()), Status.err("KeyboardInterrupt")),
        (lambda argv: argv, Status.info("", ["x"])),
    ],
)
def test_ends(main: Callable[..., object], status: Status) -> None:
    assert run(main, "x") == status


def test_coroutines_are_awaited() -> None:
    async def main(argv: list[str]) -> int:
        return len(argv)

    assert run(main, "x") == Status.info("", 1)


def test_return_value_that_cannot_travel() -> None:
    assert "bytes" in run(lambda: b"x").msg


def test_report_wins_over_the_end() -> None:
    def main() -> None:
        reports.report("p", Status.info("said"))
        raise ValueError

    assert run(main) == Status.info("said")
    assert not reports.reported("p")


def test_programs_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert module_names("echo-srv") == ["user.echo_srv", "echo_srv"]
    assert module_names("a.b") == ["a.b"]
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "prog_ok.py").write_text("def main(argv): return argv\n")
    (tmp_path / "prog_nomain.py").write_text("x = 1\n")
    (tmp_path / "prog_imports.py").write_text("import no_such_thing\n")
    (tmp_path / "prog_syntax.py").write_text("def\n")
    statuses = {
        name: run_program(Proc(name, ["a"]).to_pb(), INSTANCE)
        for name in ("prog_ok", "prog_nomain", "prog_imports", "prog_syntax", "prog_absent", "x.y.z")
    }
    assert statuses.pop("prog_ok").data == ["a"]
    assert all(status.is_err() and not status.is_crash() for status in statuses.values())
    assert "no main" in statuses["prog_nomain"].msg
    assert "no_such_thing" in statuses["prog_imports"].msg
    assert "SyntaxError" in statuses["prog_syntax"].msg
    assert "no module user.prog_absent or prog_absent" in statuses["prog_absent"].msg


def test_environment_of_a_proc() -> None:
    def main() -> dict[str, str | None]:
        names = ("SIGMACONFIG", "SIGMADEBUGPID", "SIGMADEBUG", "MINE")
        return {name: os.environ.get(name) for name in names}

    environ = run(main, MINE="1", SIGMADEBUG="X;").data
    assert isinstance(environ, dict)
    env = ProcEnv.from_json(environ["SIGMACONFIG"])
    assert (env.pid, env.kernel_id, env.realm, env.debug) == ("p", "sigma-1", "r", "X;")
    assert (environ["SIGMADEBUGPID"], environ["SIGMADEBUG"], environ["MINE"]) == ("p", "X;", "1")
    assert "SIGMACONFIG" not in os.environ


def test_process_is_put_back(tmp_path: Path) -> None:
    def main() -> None:
        os.environ["MESS"] = "1"
        os.environ.pop("HOME", None)
        os.chdir(tmp_path)
        os.umask(0o077)
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        sys.path.append("/mess")
        sys.argv.append("mess")
        sys.stdout = None

    def state() -> tuple[object, ...]:
        mask = os.umask(0o022)
        os.umask(mask)
        handlers = [signal.getsignal(number) for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT)]
        return dict(os.environ), os.getcwd(), mask, handlers, list(sys.path), list(sys.argv), sys.stdout, os._exit

    before = state()
    assert run(main) == Status.ok()
    assert state() == before


def test_children_end_with_the_proc() -> None:
    def main() -> int:
        return os.spawnlp(os.P_NOWAIT, "sleep", "sleep", "1000")

    keeper = subprocess.Popen(["sleep", "1000"])
    try:
        child = run(main).data
        assert not os.path.exists(f"/proc/{child}")
        assert keeper.poll() is None, "what was there before stays"
    finally:
        keeper.kill()
        keeper.wait()
    assert child not in children.own()


def test_output_goes_to_the_procs_log(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        os.write(1, b"out\n")
        os.write(2, b"err\n")
        subprocess.run(["echo", "child"], check=True)

    run(main, log_dir=str(tmp_path))
    os.write(1, b"after\n")
    log = proclog.path(str(tmp_path), "p")
    header, *lines = log.read_text().splitlines()
    assert lines == ["out", "err", "child"]
    assert header.startswith("== p main os_pid=")
    assert proclog.os_pid(log) == os.getpid()
    assert proclog.cause(log) is None
    assert capfd.readouterr().out == "after\n"


@pytest.mark.parametrize(
    ("tail", "words"),
    [
        (proclog.footer("p", "exit status 7"), "exit status 7"),
        (b"Fatal Python error: Segmentation fault\n\nmore\n", "signal: segmentation fault"),
        (b"nothing\n", None),
    ],
)
def test_cause_in_the_log(tmp_path: Path, tail: bytes, words: str | None) -> None:
    log = tmp_path / "p.log"
    log.write_bytes(proclog.header("p", "x", 42) + b"line\n" + tail)
    assert (proclog.cause(log), proclog.os_pid(log)) == (words, 42)
    assert proclog.cause(tmp_path / "absent") is None
    assert proclog.signal_words(9) == "signal: killed"


def test_a_proc_that_prints_nothing_leaves_no_log(tmp_path: Path) -> None:
    def main(argv: list[str]) -> None:
        if argv:
            os.write(1, b"line\n")

    for pid, args in (("quiet", []), ("loud", ["x"]), ("quiet-too", []), ("louder", ["x"])):
        run_program(Proc(main, args, pid=pid).to_pb(), INSTANCE, str(tmp_path))
    logs = proclog.path(str(tmp_path), "any").parent
    assert sorted(log.stem for log in logs.glob("*.log")) == ["loud", "louder"]
    for pid in ("loud", "louder"):
        header, *lines = proclog.path(str(tmp_path), pid).read_text().splitlines()
        assert header.startswith(f"== {pid} ")
        assert lines == ["line"]


def test_a_log_is_there_while_a_proc_runs(tmp_path: Path) -> None:
    log = proclog.path(str(tmp_path), "p")

    def main() -> bool:
        redirect.keep_log("another")
        before = log.exists()
        redirect.keep_log("p")
        return not before and proclog.os_pid(log) == os.getpid()

    assert run(main, log_dir=str(tmp_path)).data is True
    assert log.exists()


def test_the_log_of_a_proc_that_died_early_is_rescued(tmp_path: Path) -> None:
    spare = proclog.spare(str(tmp_path), 42)
    spare.parent.mkdir(parents=True)
    spare.write_bytes(proclog.header("p", "x", 42) + b"line\n")
    proclog.rescue(str(tmp_path), "q")
    assert not proclog.path(str(tmp_path), "q").exists()
    proclog.rescue(str(tmp_path), "p")
    assert proclog.os_pid(proclog.path(str(tmp_path), "p")) == 42


def test_programs_that_a_package_registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "registered_programs.py").write_text("def begin(argv):\n    return argv\n")
    info = tmp_path / "registered_programs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: registered-programs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        f"[{program.ENTRY_POINTS}]\nword-count = registered_programs:begin\nbroken = registered_programs:absent\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    program._entry_points.cache_clear()
    try:
        assert run_program(Proc("word-count", ["a"], pid="p").to_pb(), INSTANCE).data == ["a"]
        status = run_program(Proc("broken", pid="p").to_pb(), INSTANCE)
    finally:
        program._entry_points.cache_clear()
    assert status.is_err()
    assert "registered_programs:absent" in status.msg
