"""Calls to schedds that wait for long: they must not outlast the schedd's host, which may go without a word.

A schedd's name goes with its lease, some seconds after its host. A connection to a host that is silent lives longer:
who waits for a proc follows the names, and gives up a schedd whose name is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from typing import TYPE_CHECKING, Protocol

from sigmaos_ray import debug, serr
from sigmaos_ray.sigmap import LOCAL, SCHEDD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sigmaos_ray.config import Procs

_log = debug.selector("PROCCLNT")


class Names(Protocol):
    """The names of schedds, as an ``AsyncDirCache`` follows them."""

    async def get_entries(self) -> list[str]:
        """Those that are there now. A SigmaError if they cannot be read."""

    async def stop_watching(self) -> None:
        """Follows them no more."""


class Lookout:
    """Looks after the schedds that calls are under way to. ``abandon(route, why)`` ends the calls to one. Used from one
    loop; costs nothing for calls that are answered soon. ``close`` ends it, and the following of ``names``."""

    def __init__(self, names: Names, limits: Procs, abandon: Callable[[str, str], None]) -> None:
        self._limits = limits
        self._abandon = abandon
        self._names = names
        self._calls: Counter[str] = Counter()
        """Under way, by route: a kernel id, or ``~local``."""
        self._kernel_ids: dict[str, str] = {}
        """What each route led to when it was last known."""
        self._gone_s: dict[str, float] = {}
        """Since when the names are gone of schedds that calls are under way to."""
        self._timer: asyncio.TimerHandle | None = None
        self._looking: asyncio.Task[None] | None = None

    def leads_to(self, route: str, kernel_id: str) -> None:
        """A schedd that was called by this route said who it is."""
        self._kernel_ids[route] = kernel_id

    def kernel_of(self, route: str) -> str:
        """The kernel id of the schedd that a route leads to; a route that no schedd answered on stands for itself."""
        return self._kernel_ids.get(route, route)

    @contextlib.contextmanager
    def calling(self, route: str) -> Iterator[None]:
        """Around a call that may wait for long."""
        self._calls[route] += 1
        self._look_later()
        try:
            yield
        finally:
            self._calls[route] -= 1
            if not self._calls[route]:
                del self._calls[route]

    def _look_later(self) -> None:
        if self._timer is None and self._looking is None:
            self._timer = asyncio.get_running_loop().call_later(self._limits.lookout_poll_s, self._begin)

    def _begin(self) -> None:
        self._timer = None
        if self._calls:
            self._looking = asyncio.create_task(self._look(), name="procclnt-lookout")
            self._looking.add_done_callback(self._looked)

    async def _look(self) -> None:
        """Once, if the names can be read: named may be away as well."""
        try:
            names = set(await self._names.get_entries())
        except serr.SigmaError as error:
            _log(f"names of schedds: {error}")
            return
        now_s = asyncio.get_running_loop().time()
        gone = {route for route in self._calls if self.kernel_of(route) not in {LOCAL, *names}}
        self._gone_s = {route: self._gone_s.get(route, now_s) for route in gone}
        for route, since_s in list(self._gone_s.items()):
            # One that stops in order takes its name away first, and tells then how its procs ended.
            if now_s - since_s >= self._limits.gone_grace_s:
                del self._gone_s[route]
                self._abandon(route, f"{SCHEDD}/{self.kernel_of(route)} is gone")

    def _looked(self, looking: asyncio.Task[None]) -> None:
        self._looking = None
        if not looking.cancelled():
            looking.result()
            if self._calls:
                self._look_later()

    async def close(self) -> None:
        """Looks no more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait({self._looking})
        await self._names.stop_watching()
