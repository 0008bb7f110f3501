"""Logs of ended procs stay within a bound."""

from __future__ import annotations

import asyncio
import os
import subprocess
from typing import TYPE_CHECKING

import msgspec

from kernel.schedd import retention
from kernel.schedd.retention import LogRetention, prune
from sigmaos_ray.config import LOCAL
from sigmaos_ray.runner import proclog

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

NOW_S = 1_000_000.0
LIMITS = msgspec.structs.replace(
    LOCAL.scheduling, proc_logs_bytes_max=1000, proc_logs_age_s_max=5000.0, proc_logs_poll_s=60.0
)


def _log(directory: Path, name: str, size_bytes: int, age_s: float, os_pid: int = 0) -> None:
    """``os_pid``: of the process that it is the log of; 0: one that has ended."""
    file = directory / f"{name}.log"
    file.write_bytes(proclog.header(name, "example", os_pid).ljust(size_bytes, b"x"))
    os.utime(file, (0, NOW_S - age_s))


def _names(directory: Path) -> list[str]:
    return sorted(file.name.removesuffix(".log") for file in directory.iterdir())


def test_what_is_too_old_goes(tmp_path: Path) -> None:
    _log(tmp_path, "old", 100, 5001)
    _log(tmp_path, "living", 100, 9000, os.getpid())
    _log(tmp_path, "young", 100, 4999)
    assert prune(tmp_path, LIMITS, NOW_S) == ["old.log"]
    assert _names(tmp_path) == ["living", "young"]


def test_what_is_too_much_goes_the_oldest_first(tmp_path: Path) -> None:
    for number, age_s in enumerate((400, 300, 200, 100, 59)):
        _log(tmp_path, f"p{number}", 400, age_s)
    _log(tmp_path, "living", 400, 500, os.getpid())
    (tmp_path / ".spares").mkdir()
    (tmp_path / "link.log").symlink_to("/etc/passwd")
    prune(tmp_path, LIMITS, NOW_S)
    assert _names(tmp_path) == [".spares", "link", "living", "p4"], "p4 was written just now"
    prune(tmp_path / "none", LIMITS, NOW_S)


def test_a_proc_that_has_ended(tmp_path: Path) -> None:
    """By its process, not by what its log says."""
    with subprocess.Popen(["sleep", "60"]) as process:
        _log(tmp_path, "p", 2000, 100, process.pid)
        assert prune(tmp_path, LIMITS, NOW_S) == []
        process.kill()
    assert prune(tmp_path, LIMITS, NOW_S) == ["p.log"]


async def test_it_is_looked_at_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also after an error."""
    looked = asyncio.Event()
    loop = asyncio.get_running_loop()
    calls = []

    def look(directory: Path, *_: object) -> list[str]:
        calls.append(directory)
        if len(calls) == 1:
            raise OSError(5, "Input/output error")
        loop.call_soon_threadsafe(looked.set)
        return []

    monkeypatch.setattr(retention, "prune", look)
    kept = LogRetention(str(tmp_path), msgspec.structs.replace(LIMITS, proc_logs_poll_s=0.001))
    kept.start()
    await looked.wait()
    await kept.stop()
    await kept.stop()
    assert calls[0] == tmp_path / proclog.DIR
    nothing = LogRetention("", LIMITS)
    nothing.start()
    await nothing.stop()
