"""Looks at the load of a store's servers, and has groups added and removed by it (KV-10)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from sigmaos_ray import debug, serr
from user.kv import config as cfg
from user.kv import kv_pb2 as pb

if TYPE_CHECKING:
    from user.kv.balancer import Balancer

INTERVAL_S: Final = 1.0
_LOOKS_MIN: Final = 3
"""So many times in a row the same must follow from the load, before it is done: starting a server costs."""
_log = debug.selector("KVMON")


class Monitor:
    """Of the balancer that leads."""

    def __init__(self, balancer: Balancer) -> None:
        self._balancer = balancer
        self._last: dict[str, tuple[str, float, float]] = {}
        """Per group: its process, and the CPU time and the age it had."""
        self._wanted: tuple[str, str] | None = None
        self._looks_count = 0

    async def run(self) -> None:
        """For ever."""
        while True:
            await asyncio.sleep(INTERVAL_S)
            auto = self._balancer.config.auto
            if not auto.groups_max:
                self._last.clear()
                continue
            try:
                await self._look(auto)
            except serr.SigmaError as error:
                debug.error(f"kv {self._balancer.paths.job}: {error}")

    async def _look(self, auto: cfg.Auto) -> None:
        utilization = await self._utilization()
        wanted = cfg.scaled(utilization, auto)
        self._looks_count = self._looks_count + 1 if wanted is not None and wanted == self._wanted else 1
        self._wanted = wanted
        if wanted is None or self._looks_count < _LOOKS_MIN:
            return
        self._looks_count = 0
        self._last.clear()
        what, group = wanted
        _log(f"{what} {group}: {utilization}")
        if what == "add":
            await self._balancer.add("", auto.members)
        else:
            await self._balancer.remove(group)

    async def _utilization(self) -> dict[str, float]:
        """Of each active group's server, which part of a core it used since the last look; nothing while one is new."""
        groups = self._balancer.config.of_state(cfg.ACTIVE)
        looks = await asyncio.gather(
            *(self._balancer.server(g).rpc("KvMove.Stats", pb.NothingRequest(), pb.ServerStatsReply, 5) for g in groups)
        )
        found: dict[str, float] = {}
        for group, look in zip(groups, looks, strict=True):
            before = self._last.get(group)
            self._last[group] = (look.pid, look.cpu_s, look.uptime_s)
            if before is not None and before[0] == look.pid and look.uptime_s > before[2]:
                found[group] = (look.cpu_s - before[1]) / (look.uptime_s - before[2])
        return found if len(found) == len(groups) else {}
