"""Logs of procs with a process of their own: there while they run, and only if there is something in them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from sigmaos_ray import config
from sigmaos_ray.runner import proclog

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest
    from leases import Lease


def test_all_that_it_prints(lease: Lease) -> None:
    def main() -> None:
        print("python")
        os.write(1, b"system\n")
        print("error", file=sys.stderr)
        subprocess.run(["echo", "child"], check=True)
        print(os.fsdecode(b"\xff"))
        print("unfinished", end="")

    running = lease.begin(main)
    running.result()
    assert running.log() == "python\nsystem\nerror\nchild\n\\udcff\nunfinished"
    log = proclog.path(str(lease.log_dir), running.pid)
    assert proclog.os_pid(log) == running.process.process.pid
    assert log.read_text().startswith(f"== {running.pid} main os_pid=")


def test_a_proc_that_prints_nothing_leaves_no_log(
    own_lease: Callable[..., Lease], monkeypatch: pytest.MonkeyPatch
) -> None:
    workers = msgspec.structs.replace(config.LOCAL.workers, notice_after_s=60.0)
    monkeypatch.setattr(config, "LOCAL", msgspec.structs.replace(config.LOCAL, workers=workers))
    lease = own_lease()
    for number in range(6):
        running = lease.begin(lambda argv: print(*argv, end=""), *["x"] * (number % 2))
        running.result()
        assert bool(lease.log(running.pid)) is bool(number % 2)
        assert running.log() == "x" * (number % 2)


def test_a_log_is_there_while_a_proc_runs(lease: Lease, tmp_path: Path) -> None:
    gate = tmp_path / "gate"

    def main(argv: list[str]) -> None:
        print("begins")
        while not Path(argv[0]).exists():
            time.sleep(0.01)
        print("ends")

    running = lease.begin(main, str(gate))
    while running.log() != "begins\n":
        time.sleep(0.01)
    gate.touch()
    running.result()
    assert running.log() == "begins\nends\n"


def test_standard_streams_that_were_closed(lease: Lease) -> None:
    def main() -> None:
        print("before")
        sys.stdout.close()
        os.close(1)
        os.close(2)

    running = lease.begin(main)
    assert running.result().is_ok()
    assert running.log() == "before\n"


def test_spare_logs_are_used_again(own_lease: Callable[..., Lease]) -> None:
    lease = own_lease()
    for _ in range(20):
        lease.status("no.such.program", fresh=True)
        lease.status(lambda: None, fresh=True)
    assert len(lease.spares()) <= 4
