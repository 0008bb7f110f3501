"""An agent for profiles that a process starts when somebody asks for one: so that no proc pays for a thread of it.

The request is a signal that nothing else uses, and that Python's main thread answers. It is sent only to a process that
catches it: any other would end.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

REQUEST: Final = signal.SIGRTMAX


def answer_when_asked(start: Callable[[], object]) -> None:
    """From now on ``start`` is called when somebody asks. In the main thread."""
    signal.signal(REQUEST, lambda _number, _frame: start())


def request(os_pid: int) -> bool:
    """Asks a process of this machine to start its agent; False if it is none that would."""
    try:
        if not _caught(os_pid) >> (REQUEST - 1) & 1:
            return False
        os.kill(os_pid, REQUEST)
    except (OSError, ValueError):
        return False
    return True


def _caught(os_pid: int) -> int:
    """The signals that a process catches, a bit for each."""
    for line in Path(f"/proc/{os_pid}/status").read_text().splitlines():
        if line.startswith("SigCgt:"):
            return int(line.split()[1], 16)
    return 0
