"""Counters of a server, shown as ``.statsd`` and ``rpc/stats`` (R-8)."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, Final

import msgspec

from sigmaos_ray import config
from sigmaos_ray.protsrv.latency import Latency

if TYPE_CHECKING:
    from collections.abc import Callable

WAITS_OF: Final = {op: f"{op}_waits" for op in ("read", "write", "open")} | {"writeread": "writeread"}
"""Requests that may wait for other clients (watches, pipes) or for a handler: how their latencies are called then. They
are no load of the server's own."""
_WAITS: Final = frozenset(WAITS_OF.values())


class ServerLoad:
    """How many requests are worked on at a time, and how much of a core the process uses: decaying averages over 1, 10
    and 60 s, as a machine's load averages. ``tick`` once a second. Pure."""

    def __init__(self, now_s: float, cpu_s: float) -> None:
        self._began_s = self._last_s = now_s
        self._worked_s = 0.0
        self._cpu_s = cpu_s
        self._windows_s = config.current().serving.load_windows_s
        self.averages = [0.0] * len(self._windows_s)
        self.util_percent = 0.0

    def tick(self, now_s: float, worked_s: float, cpu_s: float) -> None:
        """Takes the averages on to ``now_s``, a moment of one steady clock. ``worked_s``: the time that requests took
        so far, all together; ``cpu_s``: of the process."""
        interval_s = now_s - self._last_s
        if interval_s <= 0:
            return
        now_load = (worked_s - self._worked_s) / interval_s
        for place, over_s in enumerate(self._windows_s):
            # By the time that has passed, not by ticks: on a busy loop they come late, and then the load is what
            # counts.
            keeps = math.exp(-interval_s / over_s)
            self.averages[place] = self.averages[place] * keeps + now_load * (1 - keeps)
        self.util_percent = 100 * (cpu_s - self._cpu_s) / interval_s
        self._last_s, self._worked_s, self._cpu_s = now_s, worked_s, cpu_s

    def queue_mean(self, now_s: float) -> float:
        """Requests worked on at a time, over the server's whole life."""
        return self._worked_s / (now_s - self._began_s) if now_s > self._began_s else 0.0


class ServerStats:
    """Counts and latencies of requests by kind and of RPCs by method, sessions, fids, watches, load. Plain numbers,
    touched from the server's loop only. ``start`` and ``stop`` keep the load's averages."""

    def __init__(self) -> None:
        self.started_s = time.time()
        """Seconds since 1970, for people."""
        self.ops: Counter[str] = Counter()
        """Requests that began, by kind."""
        self.errors: Counter[str] = Counter()
        """Requests that failed, by code."""
        self.session_count = 0
        self.fid_count = 0
        self.watch_count = 0
        self.rpcs: Counter[str] = Counter()
        """RPCs that began, by method."""
        self.latencies: defaultdict[str, Latency] = defaultdict(Latency)
        """Of requests, by kind; of those that wait see ``WAITS_OF``."""
        self.rpc_latencies: defaultdict[str, Latency] = defaultdict(Latency)
        self.sections: dict[str, Callable[[], dict[str, Any]]] = {}
        """What a server adds of its own, by name; called at each read."""
        self._load = ServerLoad(time.monotonic(), time.process_time())
        self._ticking: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Averages the load from now on, on the running loop, until ``stop``."""
        self._ticking = asyncio.get_running_loop().call_later(config.current().serving.load_tick_s, self._tick)

    def _tick(self) -> None:
        self._load.tick(time.monotonic(), self._worked_s(), time.process_time())
        self.start()

    def stop(self) -> None:
        """May be repeated."""
        if self._ticking is not None:
            self._ticking.cancel()
            self._ticking = None

    def _worked_s(self) -> float:
        return sum(latency.total_ns for kind, latency in self.latencies.items() if kind not in _WAITS) / 1e9

    def to_json(self) -> bytes:
        """What a read of ``.statsd`` returns."""
        shown = {
            "started_s": self.started_s,
            "ops": dict(self.ops),
            "errors": dict(self.errors),
            "rpcs": dict(self.rpcs),
            "session_count": self.session_count,
            "fid_count": self.fid_count,
            "watch_count": self.watch_count,
            "load": self._load_report(),
            "latency": {kind: latency.report() for kind, latency in sorted(self.latencies.items())},
            "rpc_latency": self._rpc_report(),
            **{name: report() for name, report in self.sections.items()},
        }
        return msgspec.json.format(msgspec.json.encode(shown), indent=2) + b"\n"

    def _load_report(self) -> dict[str, Any]:
        # A latency is counted at the end of each request, so what has begun and has none yet is under way.
        load = self._load
        started = sum(self.ops.values())
        return {
            "in_flight": started - sum(latency.count for latency in self.latencies.values()),
            "queue_mean": round(load.queue_mean(time.monotonic()), 4),
            "averages": [round(average, 4) for average in load.averages],
            "util_percent": round(load.util_percent, 1),
        }

    def _rpc_report(self) -> dict[str, Any]:
        return {method: latency.report() for method, latency in sorted(self.rpc_latencies.items())}

    def rpcs_to_json(self) -> bytes:
        """What a read of ``rpc/stats`` returns: by method, calls that began and latencies of those that ended."""
        empty = Latency()
        shown = {
            method: {"calls": calls, **self.rpc_latencies.get(method, empty).report()}
            for method, calls in sorted(self.rpcs.items())
        }
        return msgspec.json.format(msgspec.json.encode(shown), indent=2) + b"\n"
