"""Looks at the load of a store's servers, and has groups added and removed by it (KV-10)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from sigmaos_ray import debug, serr
from user.kv import config as cfg
from user.kv.tuning import MONITOR

if TYPE_CHECKING:
    from user.kv import kv_pb2 as pb

_log = debug.selector("KVMON")


class MonitoredStore(Protocol):
    """What a monitor needs of the balancer that leads."""

    @property
    def job(self) -> str:
        """Which store it is."""

    @property
    def config(self) -> cfg.KvConfig:
        """As it was written last."""

    async def server_stats(self, group: str) -> pb.ServerStatsReply:
        """How a group's leader is."""

    async def add(self, group: str, members_count: int) -> str:
        """Adds a group, of a name that is chosen there if it is empty; returns its name."""

    async def remove(self, group: str) -> None:
        """Removes a group."""


class Monitor:
    """Looks on for the balancer that leads, from one look to the next."""

    def __init__(self, store: MonitoredStore) -> None:
        self._store = store
        self._last: dict[str, tuple[str, float, float]] = {}
        """Per group: its server's pid, and the CPU time and the age it had at the last look, in seconds."""
        self._wanted: tuple[str, str] | None = None
        self._looks_count = 0

    async def run(self) -> None:
        """Looks on until it is cancelled."""
        while True:
            await asyncio.sleep(MONITOR.interval_s)
            auto = self._store.config.auto
            if not auto.groups_max:
                # Looks from before the pause would make one long average with those behind it.
                self._last.clear()
                continue
            try:
                await self._look(auto)
            except serr.SigmaError as error:  # a server is away, or there is no room for one: the next look tells
                debug.error(f"kv {self._store.job}: {error}")

    async def _look(self, auto: cfg.Auto) -> None:
        utilization = await self._utilization()
        wanted = cfg.scaled(utilization, auto)
        if not self._is_lasting(wanted) or wanted is None:
            return
        self._looks_count = 0
        # Shares change now: the next average is to begin behind that.
        self._last.clear()
        what, group = wanted
        _log(f"{what} {group}: {utilization}")
        if what == "add":
            await self._store.add("", auto.members)
        else:
            await self._store.remove(group)

    def _is_lasting(self, wanted: tuple[str, str] | None) -> bool:
        """Whether enough looks in a row wanted the same, this one included."""
        self._looks_count = self._looks_count + 1 if wanted is not None and wanted == self._wanted else 1
        self._wanted = wanted
        return self._looks_count >= MONITOR.looks_min

    async def _utilization(self) -> dict[str, float]:
        """Of each active group's server, which part of a core it used since the last look; nothing while one is new: an
        average without it would say that there is too much to do, or too little."""
        groups = self._store.config.of_state(cfg.ACTIVE)
        looks = await asyncio.gather(*(self._store.server_stats(group) for group in groups))
        utilization: dict[str, float] = {}
        for group, look in zip(groups, looks, strict=True):
            before = self._last.get(group)
            self._last[group] = (look.pid, look.cpu_s, look.uptime_s)
            # Another pid is another process, whose CPU time began with 0.
            if before is not None and before[0] == look.pid and look.uptime_s > before[2]:
                utilization[group] = (look.cpu_s - before[1]) / (look.uptime_s - before[2])
        return utilization if len(utilization) == len(groups) else {}
