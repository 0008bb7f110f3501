"""A schedd's counters as Ray's metrics: on Ray's dashboard, and where Prometheus asks Ray."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from ray.util import metrics

from sigmaos_ray import config

if TYPE_CHECKING:
    from collections.abc import Callable

_GAUGES: Final = {
    "queued": "procs that wait for a place",
    "starting": "procs whose worker has not said yet that they run",
    "running": "procs that run",
    "exited": "procs that ended and were not collected",
    "reserved_mcpu": "thousandths of a core that procs have reserved",
    "reserved_mem_mb": "memory that procs have reserved, in MB",
}


class RayMetrics:
    """Tells Ray what ``report`` says, again and again, from ``start`` to ``stop``. On the loop of the caller."""

    def __init__(self, kernel_id: str, realm: str, report: Callable[[], dict[str, Any]]) -> None:
        self._report = report
        self._tags = {"kernel_id": kernel_id, "realm": realm}
        keys = tuple(self._tags)
        self._gauges = {name: metrics.Gauge(f"sigmaos_procs_{name}", words, keys) for name, words in _GAUGES.items()}
        self._spawned = metrics.Counter("sigmaos_procs_spawned", "procs that were spawned", keys)
        self._ended = metrics.Counter("sigmaos_procs_ended", "procs that ended, by how", (*keys, "how"))
        self._counted: dict[str, int] = {}
        """What Ray's counters have of each total; Ray is told the difference."""
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="schedd-metrics")

    async def _run(self) -> None:
        while True:
            self.tell()
            await asyncio.sleep(config.current().scheduling.metrics_period_s)

    def tell(self) -> None:
        """Once, now."""
        report = self._report()
        for name, gauge in self._gauges.items():
            gauge.set(report[name], self._tags)
        self._count(self._spawned, "", report["spawned"], self._tags)
        for how, count in report["ended"].items():
            self._count(self._ended, how, count, {**self._tags, "how": how})

    def _count(self, counter: metrics.Counter, key: str, total: int, tags: dict[str, str]) -> None:
        more = total - self._counted.get(key, 0)
        if more > 0:  # Ray refuses to count nothing
            counter.inc(more, tags)
            self._counted[key] = total

    async def stop(self) -> None:
        """Tells the last state. May be repeated."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
            self.tell()
