"""A proc's own log: one file per proc, the program's lines untouched between a header and, after a crash, a footer.

The header tells which process ran the proc. The footer is what a dying process left about its cause; where there is
none, what Python and the C library printed on a fatal signal is read.
"""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sigmaos_ray.proc import Tpid

DIR: Final = "procs"
SPARES: Final = ".spares"
# Logs may be of any size, and what a dying process left is at the end.
_TAIL_BYTES: Final = 16 << 10
_HEADER: Final = re.compile(r"^== \S+ .* os_pid=(\d+) ")
_FOOTER: Final = re.compile(r"^== \S+ ended: (.+)$", re.MULTILINE)
# As Python's faulthandler prints it; after such a signal nothing of ours runs that could write a footer.
_FATAL: Final = re.compile(r"^Fatal Python error: (Segmentation fault|Aborted|Bus error|Illegal instruction)", re.M)


def path(log_dir: str, pid: Tpid) -> Path:
    """Where a proc's log is, if it has one."""
    return Path(log_dir) / DIR / f"{pid}.log"


def spare(log_dir: str, name: int | str) -> Path:
    """Where a process that runs procs writes while it is not clear that there is anything to keep. ``name`` begins with
    the number of the process that made the file."""
    return Path(log_dir) / DIR / SPARES / str(name)


def _begins_with(file: Path, wanted: bytes) -> bool:
    with file.open("rb") as opened:
        return opened.read(len(wanted)) == wanted


def rescue(log_dir: str, pid: Tpid) -> None:
    """Gives a proc its log if its process died before it could, in place of an older one of the same pid."""
    log = path(log_dir, pid)
    # By the header, since a spare log is named after its process, and numbers of processes are used again.
    wanted = f"== {pid} ".encode()
    for file in (Path(log_dir) / DIR / SPARES).glob("[0-9]*"):
        try:
            if _begins_with(file, wanted):
                file.replace(log)
                return
        except FileNotFoundError:  # its process lives, and has just used it
            continue


def header(pid: Tpid, program: str, os_pid: int) -> bytes:
    now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    return f"== {pid} {program} os_pid={os_pid} {now}\n".encode()


def footer(pid: Tpid, words: str) -> bytes:
    return f"== {pid} ended: {words}\n".encode()


def exit_words(code: int) -> str:
    """``exit status 7`` and its like, of what the program passed to ``exit``: the system keeps 8 bits of it."""
    return f"exit status {code & 0xFF}"


def wait_words(wait_status: int) -> str:
    """How a process ended, of its status of wait(2)."""
    if os.WIFSIGNALED(wait_status):
        return signal_words(os.WTERMSIG(wait_status))
    return exit_words(os.WEXITSTATUS(wait_status))


def signal_words(signal_number: int) -> str:
    """``signal: killed`` and its like."""
    try:
        words = signal.strsignal(signal_number)
    except ValueError:
        words = None
    return f"signal: {words.lower() if words else signal_number}"


KILLED: Final = signal_words(signal.SIGKILL)


def os_pid(log: Path) -> int | None:
    """Which process ran the proc; None if its log does not tell, or is not on this host."""
    try:
        with log.open("rb") as file:
            match = _HEADER.match(file.readline().decode(errors="replace"))
    except OSError:
        return None
    return int(match[1]) if match else None


def cause(log: Path) -> str | None:
    """What the process left about its end; None if it left nothing."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _TAIL_BYTES))
            tail = file.read().decode(errors="replace")
    except OSError:
        return None
    footers = _FOOTER.findall(tail)
    if footers:
        return str(footers[-1])
    fatal = _FATAL.search(tail)
    return f"signal: {fatal[1].lower()}" if fatal else None
