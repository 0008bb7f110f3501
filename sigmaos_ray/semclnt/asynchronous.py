"""Semaphores as files (Y-1 to Y-5): the file is there while the semaphore blocks, and gone once it is up.

Binary, and it stays up: after ``up`` every later ``down`` returns at once. All that wait are released together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sigmaos_ray import serr

if TYPE_CHECKING:
    from sigmaos_ray.fslib import AsyncFsLib


class AsyncSemaphore:
    """A semaphore at a pathname, whose directory exists. Any number of objects and clients may use one pathname."""

    def __init__(self, sc: AsyncFsLib, pn: str) -> None:
        self._sc = sc
        self._pathname = pn

    async def init(self, perm: int = 0o777) -> None:
        """Makes the semaphore block. One that blocks already is fine: what a crashed run left serves as well."""
        await self._sc.put_file(self._pathname, b"", perm)

    async def init_lease(self, lease: object, perm: int = 0o777) -> None:
        """Like ``init``, and ``down`` also returns when the lease ends: its owner died. Exists if it blocks already."""
        await self._sc.put_leased_file(self._pathname, b"", lease, perm)

    async def down(self, timeout_s: float | None = None) -> None:
        """Returns once the semaphore is up, at once if it is. Timeout past ``timeout_s``; NotFound without its
        directory; Unreachable if its server does not come back."""
        await self._sc.wait_remove(self._pathname, timeout_s)

    async def up(self) -> None:
        """Releases all that wait, now and later. NotFound if it is up already."""
        try:
            await self._sc.remove(self._pathname)
        except serr.IOErr:
            # The outcome is unknown, and only one is wanted: that the file is gone.
            await self._remove_again()

    async def _remove_again(self) -> None:
        try:
            await self._sc.remove(self._pathname)
        except serr.NotFound:
            return
