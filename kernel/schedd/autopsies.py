"""How procs ended whose process died, found out on the machine where they ran."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.schedd.runners import Runners, end_group
from sigmaos_ray.runner import proclog

if TYPE_CHECKING:
    from pathlib import Path

    from kernel.schedd.runners import KeptRunners
    from sigmaos_ray.config import Scheduling
    from sigmaos_ray.machine import OsProcess
    from sigmaos_ray.proc import Tpid


class Autopsies:
    """Of all runners of this machine that said hello, whichever schedd owns their procs. Used from one loop; ``close``
    when nobody asks any more."""

    def __init__(self, log_dir: str, limits: Scheduling, kept: KeptRunners) -> None:
        """``log_dir``: where procs of this node have their logs; "" if they have none."""
        self._log_dir = log_dir
        self.runners = Runners(limits, kept)

    async def find(self, pid: Tpid, process: OsProcess | None) -> str | None:
        """How the process that ran a proc ended, in the words of X-11; also ends what it left behind, and gives the
        proc its log. ``process`` is None if its death was the first that was heard of it. None: it did not run here, or
        nothing tells."""
        log = proclog.path(self._log_dir, pid)
        if self._log_dir:
            proclog.rescue(self._log_dir, pid)
        was_known = process is not None
        process = process or self._of_log(log)
        if process is None or not process.is_here:
            return None
        words = await self.runners.cause(process)
        # A log of an earlier proc of the same pid may have led to a process that has nothing to do with this one.
        if not was_known and not process.is_gone():
            return None
        end_group(process)
        return words or self._left(log)

    def _of_log(self, log: Path) -> OsProcess | None:
        """Of a proc that died before its worker's notice came, only the head of its log knows the process."""
        os_pid = proclog.os_pid(log) if self._log_dir else None
        return None if os_pid is None else self.runners.of_number(os_pid)

    def _left(self, log: Path) -> str | None:
        """Where the system does not tell: the word that it left in its log. A kill leaves no time for one."""
        if not self._log_dir:
            return None
        return proclog.cause(log) or proclog.KILLED

    async def close(self) -> None:
        await self.runners.close()
