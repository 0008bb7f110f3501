"""How a proc's process ends: as Python programs do, and before its status is told; crashes in the kernel's words."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sigmaos_ray import Status
from sigmaos_ray.machine import OsProcess

if TYPE_CHECKING:
    from collections.abc import Callable

    from leases import Lease


def _raise(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize(
    ("main", "status"),
    [
        (lambda: None, Status.ok()),
        (lambda: {"a": 1}, Status.info("", {"a": 1})),
        (lambda: Status.fatal("no use"), Status.fatal("no use")),
        (lambda: sys.exit(), Status.ok()),
        (lambda: sys.exit(7), Status.crash("exit status 7")),
        (lambda: sys.exit("text"), Status.crash("exit status 1: text")),
        (lambda: os._exit(7), Status.crash("exit status 7")),
        (lambda: os._exit(0), Status.crash("exit status 0")),
        (lambda: os.abort(), Status.crash("signal: aborted")),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), Status.crash("signal: killed")),
        (lambda: os.kill(os.getpid(), signal.SIGTERM), Status.crash("signal: terminated")),
        (lambda: os.kill(os.getpid(), signal.SIGINT), Status.err("KeyboardInterrupt")),
        (lambda: os.execvp("sh", ["sh", "-c", "exit 3"]), Status.crash("exit status 3")),
        (lambda: _raise(ValueError("boom")), Status.err("ValueError: boom")),
        (lambda: _raise(ValueError(os.fsdecode(b"\xff"))), Status.err("ValueError: \\udcff")),
        (lambda: sys.exit(os.fsdecode(b"\xff")), Status.crash("exit status 1: \\udcff")),
        (lambda: os.fsdecode(b"\xff"), Status.info("", os.fsdecode(b"\xff"))),
        (lambda argv: argv, Status.info("", ["x"])),
    ],
)
def test_statuses(lease: Lease, main: Callable[..., object], status: Status) -> None:
    running = lease.begin(main, "x")
    assert running.result() == status
    if status.crashed and "exit status 1:" not in status.msg and status.msg != "exit status 7":
        assert f"ended: {status.msg}\n" in running.log()


def test_a_program_that_is_not_there(lease: Lease) -> None:
    running = lease.begin("no.such.program")
    assert "no.such.program" in running.result().msg
    assert "no.such.program" in running.log()


def test_what_it_reports_counts(lease: Lease) -> None:
    def main(argv: list[str]) -> None:
        from sigmaos_ray.procclnt import lease

        own = lease.installed()
        assert own is not None
        own.started()
        own.reported(Status.info("first"))
        own.reported(Status.info("second"))
        if argv:
            os._exit(1)
        raise ValueError

    for args in ([], ["x"]):
        running = lease.begin(main, *args)
        assert running.result() == Status.info("first")
        assert running.words.heard == ["started", Status.info("first")]


def test_an_eviction_is_heard(lease: Lease) -> None:
    def main() -> Status:
        from sigmaos_ray.procclnt import lease

        own = lease.installed()
        assert own is not None
        own.started()
        own.wait_evict(60)
        own.wait_evict(60)
        return Status.evicted()

    running = lease.begin(main)
    assert running.words.has_started.wait(60)
    running.call(running.process.evict)
    running.call(running.process.evict)
    assert running.result() == Status.evicted()


def test_an_eviction_that_comes_before_the_proc_began(lease: Lease) -> None:
    def main() -> None:
        from sigmaos_ray.procclnt import lease

        own = lease.installed()
        assert own is not None
        own.wait_evict(60)

    running = lease.begin(main, "x" * 1_000_000)
    running.call(running.process.evict)
    assert running.result() == Status.ok()


def test_its_end_comes_before_its_status(lease: Lease, tmp_path: Path) -> None:
    def main(argv: list[str]) -> None:
        import atexit
        import builtins
        import subprocess
        import threading

        out = Path(argv[0])

        def late() -> None:
            threading.main_thread().join()
            with (out / "thread").open("w") as file:
                file.write("x")

        class Finalized:
            def __del__(self) -> None:
                (out / "del").write_text("x")

        threading.Thread(target=late).start()
        atexit.register(lambda: (out / "atexit").write_text("x"))
        builtins.kept = (out / "unflushed").open("w")  # type: ignore[attr-defined]
        builtins.kept.write("x")  # type: ignore[attr-defined]
        cycle: list[Any] = [Finalized()]
        cycle.append(cycle)
        (out / "child").write_text(str(subprocess.Popen(["sleep", "1000"], start_new_session=True).pid))
        os.write(1, b"out ")
        print("printed", end="")

    running = lease.begin(main, str(tmp_path))
    assert running.result() == Status.ok()
    assert not OsProcess.of(int((tmp_path / "child").read_text()))
    left = {file.name: file.read_text() for file in tmp_path.iterdir() if file.name != "child"}
    assert left == dict.fromkeys(("thread", "atexit", "del", "unflushed"), "x")
    assert running.log() == "out printed"


def test_what_modules_hold_is_dropped(own_lease: Callable[..., Lease], folder: Path, tmp_path: Path) -> None:
    (folder / "holder.py").write_text(
        "import atexit\n"
        "class Held:\n"
        "    def __del__(self): self.out.write('deleted'); self.out.close()\n"
        "held = Held()\n"
        "def main(argv):\n"
        "    held.out = open(argv[0], 'w')\n"
    )
    lease = own_lease()
    for number in range(3):  # imported by the proc, and by the program's template
        out = tmp_path / f"out{number}"
        assert lease.status("holder", str(out)) == Status.ok()
        assert out.read_text() == "deleted"


def test_a_thread_that_exits_is_a_thread_that_ends(lease: Lease) -> None:
    def main() -> str:
        import threading

        thread = threading.Thread(target=lambda: sys.exit(7))
        thread.start()
        thread.join()
        return "went on"

    assert lease.status(main).data == "went on"


def test_a_forked_child_that_comes_back_is_not_the_proc(lease: Lease, tmp_path: Path) -> None:
    def main(argv: list[str]) -> Any:
        import atexit

        def note() -> None:
            with open(argv[0], "a") as file:
                file.write(f"{os.getpid()}\n")

        atexit.register(note)
        children = []
        for kind in ("returns", "raises", "exits"):
            child = os.fork()
            if not child:
                if kind == "raises":
                    raise ValueError("the child's")
                if kind == "exits":
                    sys.exit(9)
                return "the child's"
            _, status = os.waitpid(child, 0)
            children += [child, os.waitstatus_to_exitcode(status)]
        return [os.getpid(), *children]

    out = tmp_path / "out"
    status = lease.status(main, str(out))
    parent, first, code, second, error_code, third, exit_code = status.data
    assert [code, error_code, exit_code] == [0, 1, 9]
    assert out.read_text().split() == [str(each) for each in (first, second, third, parent)]


def test_a_crash_leaves_no_process(lease: Lease, tmp_path: Path) -> None:
    """Also of those that went into a session of their own, or whose parent had ended."""

    def main(argv: list[str]) -> None:
        import subprocess

        script = f"setsid sleep 1001 & echo $! >> {argv[0]}; sleep 1001 & echo $! >> {argv[0]}"
        subprocess.run(["sh", "-c", script], check=True)
        with open(argv[0], "a") as file:
            file.write(f"{subprocess.Popen(['sleep', '1001'], start_new_session=True).pid}\n")
        os._exit(3)

    out = tmp_path / "out"
    assert lease.status(main, str(out)) == Status.crash("exit status 3")
    left = [int(pid) for pid in out.read_text().split()]
    assert len(left) == 3
    assert not [pid for pid in left if OsProcess.of(pid)]


def _sleep(argv: list[str]) -> None:
    child = subprocess.Popen(["sleep", "1002"], start_new_session=True)
    Path(argv[0]).write_text(str(child.pid))
    time.sleep(1000)


def _read(file: Path) -> int:
    while not (file.exists() and file.read_text()):
        time.sleep(0.01)
    return int(file.read_text())


def test_a_proc_that_is_killed(lease: Lease, tmp_path: Path) -> None:
    running = lease.begin(_sleep, str(tmp_path / "child"))
    child = _read(tmp_path / "child")
    running.call(running.process.kill)
    assert running.result() == Status.crash("signal: killed")
    assert not OsProcess.of(child)
    assert running.process.process.is_gone()


def test_a_run_that_is_cancelled_kills_the_proc(lease: Lease, tmp_path: Path) -> None:
    running = lease.begin(_sleep, str(tmp_path / "child"))
    child = _read(tmp_path / "child")
    running.future.cancel()

    async def ended() -> int:
        return await running.process.ended

    assert lease.run(ended()) == signal.SIGKILL
    assert not OsProcess.of(child)
    assert "ended: signal: killed" in running.log()


def test_a_proc_that_writes_to_its_lease_itself(lease: Lease) -> None:
    def main() -> None:
        from sigmaos_ray.procclnt import lease

        own = lease.installed()
        assert own is not None
        own._socket.sendall(b"\xff" * 1000)
        time.sleep(1000)

    assert lease.status(main) == Status.crash("signal: killed")


def test_much_data(lease: Lease) -> None:
    assert lease.status(lambda: "x" * 5_000_000).data == "x" * 5_000_000


def test_daemons_that_run_on_print_nothing(lease: Lease) -> None:
    def main() -> None:
        import threading

        def spin() -> None:
            while True:
                time.sleep(0)

        for _ in range(3):
            threading.Thread(target=spin, daemon=True).start()

    running = lease.begin(main)
    assert running.result() == Status.ok()
    assert running.log() == ""


def test_stages_are_stamped(lease: Lease) -> None:
    running = lease.begin(lambda: time.sleep(0.01))
    running.result()
    times = running.times()
    assert times.worker_s <= times.main_s < times.ended_s
