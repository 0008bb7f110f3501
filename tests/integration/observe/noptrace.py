"""A process whose memory the system lets nobody read who has no privilege, and whose children have none."""

from __future__ import annotations

import ctypes
import sys
from typing import Final

_PR_SET_DUMPABLE: Final = 4
_PR_CAPBSET_DROP: Final = 24
_CAP_SYS_PTRACE: Final = 19


def is_possible() -> bool:
    return sys.platform == "linux"


def forbid() -> None:
    """From now on nobody may trace this process: its children least of all, even where they are root's."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_CAPBSET_DROP, _CAP_SYS_PTRACE, 0, 0, 0)  # refused to who has no privilege to give up
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "PR_SET_DUMPABLE")
