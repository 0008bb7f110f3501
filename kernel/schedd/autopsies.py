"""How procs ended whose process died, found out on the machine where they ran."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from kernel.schedd.runners import Runners, end_group
from sigmaos_ray.machine import OsProcess
from sigmaos_ray.proc import Tpid
from sigmaos_ray.runner import proclog

if TYPE_CHECKING:
    from pathlib import Path

    from kernel.schedd.runners import KeptRunners
    from sigmaos_ray.config import Scheduling


class AutopsyOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be found out: of a proc, and the lease that it was handed to."""

    pid: Tpid
    number: int
    lease_id: str
    worker: OsProcess
    process: OsProcess | None = None
    """The proc's own, if the schedd heard of it."""


class Autopsy(msgspec.Struct, frozen=True, kw_only=True):
    """What was found."""

    words: str | None = None
    """How the worker ended, in those of X-11; None: it did not run here, or nothing tells."""
    has_begun: bool | None = None
    """Whether the proc had begun; None: nobody knows."""


class Autopsies:
    """Of all runners of this machine that said hello, whichever schedd owns their procs. Used from one loop; ``close``
    when nobody asks any more."""

    def __init__(self, log_dir: str, limits: Scheduling, kept: KeptRunners) -> None:
        """``log_dir``: where procs of this node have their logs; "" if they have none."""
        self._log_dir = log_dir
        self.runners = Runners(limits, kept, log_dir)

    async def find(self, order: AutopsyOrder) -> Autopsy:
        """How the worker ended that a proc was handed to; also ends what it left behind, and gives the proc its log. Of
        a worker of another machine nothing is known here."""
        log = proclog.path(self._log_dir, order.pid)
        if self._log_dir:
            proclog.rescue(self._log_dir, order.pid)
        worker = order.worker
        if not worker.is_here:
            return Autopsy()
        words = await self.runners.cause(worker)
        end_group(worker)
        if order.process is not None and order.process != worker:
            end_group(order.process)
        has_begun = self.runners.has_begun(worker, order.lease_id, order.number)
        return Autopsy(words=words or self._left(log), has_begun=has_begun)

    def _left(self, log: Path) -> str | None:
        """Where the system does not tell: the word that it left in its log. A kill leaves no time for one."""
        if not self._log_dir:
            return None
        return proclog.cause(log) or proclog.KILLED

    async def close(self) -> None:
        await self.runners.close()
