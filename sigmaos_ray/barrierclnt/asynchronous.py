"""Barriers as directories (Y-6): parties come together before they go on, and again before they part.

Each party is a leased file, so that one which died does not count. ZooKeeper's double barrier is the model: the
``ready`` entry keeps a fast party's leaving from being taken for its not having come.
"""

from __future__ import annotations

import contextlib
import secrets
from typing import TYPE_CHECKING, Final, Self

from sigmaos_ray import serr
from sigmaos_ray.leaseclnt import leases_of

if TYPE_CHECKING:
    from types import TracebackType

    from sigmaos_ray.fslib import AsyncFsLib

READY: Final = "ready"


class AsyncBarrier:
    """One party of a barrier at the directory ``pn``, which is made if it is missing. An async context manager: all
    enter together, and leave together. The same directory serves again after all have left."""

    def __init__(self, sc: AsyncFsLib, pn: str, parties_count: int) -> None:
        if parties_count < 1:
            raise serr.Inval(pn, f"a barrier of {parties_count} parties")
        self._sc = sc
        self._leases = leases_of(sc)
        self._pathname = pn.rstrip("/")
        self._parties_count = parties_count
        self._name = f"{sc.pid}.{secrets.token_hex(4)}"
        self._ready = f"{self._pathname}/{READY}"

    async def enter(self, timeout_s: float | None = None) -> None:
        """Blocks until all parties are here. Timeout past ``timeout_s``: this party has left again. Exists if it is
        here already."""
        with contextlib.suppress(serr.Exists):
            await self._sc.mkdir(self._pathname)
        lease = await self._leases.ask_lease(self._pathname + "/")
        lease.keep_extending()
        await self._sc.put_leased_file(f"{self._pathname}/{self._name}", b"", lease)
        # First be seen, then count: of parties that come at the same time, the last one sees them all.
        try:
            await self._wait_for_all(timeout_s)
        except BaseException:
            await self._remove(self._name)
            raise

    async def _wait_for_all(self, timeout_s: float | None) -> None:
        if len(await self._parties()) >= self._parties_count:
            await self._sc.put_file(self._ready, b"")
        await self._sc.wait_create(self._ready, timeout_s)

    async def leave(self, timeout_s: float | None = None) -> None:
        """Blocks until all that are here have come to leave, or died. Timeout past ``timeout_s``: this party has left,
        others are still here."""
        await self._remove(self._name)

        async def all_left() -> bool:
            return not await self._parties()

        await self._sc.wait_until(f"{self._pathname}/", all_left, timeout_s)
        # Only now: a party that is still to see ``ready`` has an entry, and is waited for above.
        await self._remove(READY)

    async def _parties(self) -> list[str]:
        return [stat.name for stat in await self._sc.get_dir(self._pathname + "/") if stat.name != READY]

    async def _remove(self, name: str) -> None:
        with contextlib.suppress(serr.NotFound):
            await self._sc.remove(f"{self._pathname}/{name}")

    async def __aenter__(self) -> Self:
        await self.enter()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.leave()
