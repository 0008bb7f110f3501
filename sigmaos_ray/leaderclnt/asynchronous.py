"""Leadership with fences (L-32): a leader's changes are refused everywhere once another one leads.

named refuses a deposed leader's changes by itself. Any other server does so as soon as it heard of the newer fence, so
``lead_and_fence`` tells each server of the fenced directories before it returns (L-21).
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import msgspec

from sigmaos_ray import serr
from sigmaos_ray.electclnt import AsyncElectClnt
from sigmaos_ray.sigmap import FENCES, NO_FENCE, OWRITE, Fence, path

if TYPE_CHECKING:
    import asyncio
    import threading
    from collections.abc import Sequence

    from sigmaos_ray.fslib import AsyncFsLib


class AsyncLeaderClnt:
    """A candidate at ``pn`` whose changes below some directories carry its fence while it leads, and after."""

    def __init__(self, sc: AsyncFsLib, pn: str) -> None:
        self._sc = sc
        self._elect = AsyncElectClnt(sc, pn)
        self._dirs: list[str] = []

    @property
    def fence(self) -> Fence:
        """The stamp of the present leadership, or of the last one."""
        return self._elect.fence

    @property
    def lost(self) -> asyncio.Event:
        """Set once the leadership is over, or in doubt."""
        return self._elect.lost

    @property
    def lost_threaded(self) -> threading.Event:
        """The same for threads."""
        return self._elect.lost_threaded

    async def lead_and_fence(
        self, data: bytes = b"", dirs: Sequence[str] = (), timeout_s: float | None = None
    ) -> Fence:
        """Blocks until this client leads; from then on its changes below ``dirs`` carry the fence, and every server of
        one of them refuses older leaders. Raises like ``AsyncElectClnt.acquire_leadership``; if a server cannot be
        told, the leadership is given up and its error raised."""
        fence = await self._elect.acquire_leadership(data, timeout_s)
        try:
            for directory in dirs:
                await self.fence_dir(directory)
        except BaseException:
            with contextlib.suppress(serr.SigmaError):  # it ends with its lease; the first error is the one to tell
                await self._sc.core.behind.settle(self._elect.release_leadership(), "lead-undo")
            raise
        return fence

    async def fence_dir(self, directory: str) -> None:
        """One more: this leader's changes below it carry the fence from now on, and its server refuses older leaders.
        Blocks for the server; raises its error."""
        fence = self.fence
        # By its own name: each server knows the fences that it was told, and ``~any`` may be another one next time.
        resolved = (await self._sc.resolve_unions(directory)).rstrip("/")
        await self._sc.fence_dir(resolved, fence)
        self._dirs.append(resolved)
        server = await self._sc.server_of(f"{resolved}/x")
        shown = path.join(server, FENCES, fence.pathname.replace("/", "-"))
        # The server has seen the fence once this returns, and refuses older ones from then on.
        await self._sc.put_file(shown, msgspec.json.encode(fence), mode=OWRITE)

    async def release_leadership(self) -> None:
        """Gives the leadership up. What this client changes in the fenced directories afterwards is Stale, until
        ``unfence``."""
        await self._elect.release_leadership()

    async def unfence(self) -> None:
        """This client's changes no longer carry the fence: it is one among others now."""
        for directory in self._dirs:
            await self._sc.fence_dir(directory, NO_FENCE)
        self._dirs.clear()
