"""Locks as files (Y-6): whoever makes the file holds the lock; it hangs on the holder's lease, so a crash frees it.

For a lock whose holder must not act once it lost it, however late it notices, take an election and its fence
(``leaderclnt``): a lock only tells.
"""

from __future__ import annotations

import contextlib
import secrets
from typing import TYPE_CHECKING, Self

from sigmaos_ray import debug, serr
from sigmaos_ray.deadlines import within
from sigmaos_ray.leaseclnt import leases_of, made_or_undone

if TYPE_CHECKING:
    from types import TracebackType

    from sigmaos_ray.fslib import AsyncFsLib
    from sigmaos_ray.leaseclnt import AsyncLease

_log = debug.selector("LOCKCLNT")


class AsyncLock:
    """A lock at a pathname, on any server with leased files; its directory exists. Not reentrant. Any number of
    objects and clients may use one pathname. An async context manager."""

    def __init__(self, sc: AsyncFsLib, pn: str) -> None:
        self._sc = sc
        self._leases = leases_of(sc)
        self._pathname = pn
        self._lease: AsyncLease | None = None
        self._mark = b""
        """What our file holds, and no other: the name may be another holder's by the time we release it."""

    @property
    def is_held(self) -> bool:
        """True while this object holds the lock, as far as it knows: not past its lease."""
        return self._lease is not None and not self._lease.is_in_doubt

    async def acquire(self, timeout_s: float | None = None) -> None:
        """Blocks until the lock is ours. Timeout past ``timeout_s`` (0: try once); Inval if we hold it already;
        NotFound without its directory; NotSupported on a server without leased files."""
        if self.is_held:
            raise serr.Inval(self._pathname, "this lock is held by us")
        async with within(timeout_s or None, self._pathname, "somebody else held it: not free"):
            self._lease = await self._acquire(once=timeout_s == 0)

    async def _acquire(self, *, once: bool) -> AsyncLease:
        while True:
            lease = await self._leases.ask_lease(self._pathname)
            lease.keep_extending()
            # Of this try alone: what a try of unknown outcome left behind is not taken for ours.
            self._mark = f"{self._sc.pid} {secrets.token_hex(8)}".encode()
            try:
                await made_or_undone(
                    self._sc.put_leased_file(self._pathname, self._mark, lease),
                    self._remove_quietly,
                )
            except serr.Exists:
                if once:
                    raise serr.Timeout(self._pathname, "somebody else holds it") from None
                # All that wait wake up at once, and one of them is first: there is no order among them.
                await self._sc.wait_remove(self._pathname)
            except serr.IOErr as error:
                # The file may be there, and be ours: it goes with the lease, and everything starts over.
                _log(f"{self._pathname}: {error}")
                await lease.give_up()
            else:
                return lease

    async def _remove_quietly(self, _: int | None) -> None:
        with contextlib.suppress(serr.NotFound):
            await self._sc.remove_own(self._pathname, self._mark)

    async def release(self) -> None:
        """Gives the lock to the next one. Inval if we do not hold it, or lost it: then it is left to who has it."""
        lease, self._lease = self._lease, None
        if lease is None or lease.is_lost:
            raise serr.Inval(self._pathname, "this lock is not held by us" if lease is None else "its lease ended")
        try:
            await self._sc.remove_own(self._pathname, self._mark)
        except serr.NotFound as error:
            raise serr.Inval(self._pathname, "this lock was lost") from error

    async def __aenter__(self) -> Self:
        await self.acquire()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # That the lock was lost as well is not told over the error of the block.
        if self.is_held or error is None:
            await self.release()
