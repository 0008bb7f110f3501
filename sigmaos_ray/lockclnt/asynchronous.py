"""Locks as files (Y-6): whoever makes the file holds the lock; it hangs on a lease of the lock's own, so a crash frees
it.

Nobody else's files hang on that lease: where it is unknown whether the file was made, or removed, the lease can be
ended, which settles it. For a lock whose holder must not act once it lost it, however late it notices, take an election
and its fence (``leaderclnt``): a lock only tells.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from typing import TYPE_CHECKING, Self

from sigmaos_ray import debug, serr
from sigmaos_ray.deadlines import within
from sigmaos_ray.leaseclnt import leases_of

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
        """Ours alone. It rests while we do not hold the lock, and is used again."""
        self._mark = b""
        """What our file holds, and no other: the name may be another holder's by the time we release it. Empty while we
        do not hold the lock."""
        self._is_given_back = False
        """True after a release that failed: the file may be there for a while."""

    @property
    def is_held(self) -> bool:
        """True while this object holds the lock, as far as it knows: not past its lease."""
        lease = self._lease
        if lease is None or not self._mark or self._is_given_back:
            return False
        return not (lease.is_over or lease.is_in_doubt)

    async def acquire(self, timeout_s: float | None = None) -> None:
        """Blocks until the lock is ours. Timeout past ``timeout_s`` (0: try once); Inval if we hold it already;
        NotFound without its directory; NotSupported on a server without leased files. If it fails, nothing stays, at
        the latest after the time of a lease."""
        if self.is_held:
            raise serr.Inval(self._pathname, "this lock is held by us")
        self._mark, self._is_given_back = b"", False
        try:
            async with within(timeout_s or None, self._pathname, "somebody else held it: not free"):
                self._mark = await self._acquire(once=timeout_s == 0)
        finally:
            if not self._mark and self._lease is not None:
                self._lease.rest()

    async def _acquire(self, *, once: bool) -> bytes:
        """The mark of the file that is made."""
        while True:
            lease, is_new = await self._own_lease()
            # Of this try alone: what a try of unknown outcome left behind is not taken for ours.
            mark = f"{self._sc.pid} {secrets.token_hex(8)}".encode()
            try:
                if await self._make(lease, mark):
                    return mark
            except serr.Exists:
                lease.rest()
                if once:
                    raise serr.Timeout(self._pathname, "somebody else holds it") from None
                # All that wait wake up at once, and one of them is first: there is no order among them.
                await self._sc.wait_remove(self._pathname)
            except serr.NotFound:
                lease.rest()
                # A lease that rested may be gone, with the server that knew it.
                self._lease = None
                if is_new:
                    raise

    async def _own_lease(self) -> tuple[AsyncLease, bool]:
        """The lease, kept from now on, and whether it was made just now."""
        lease = self._lease
        if lease is not None and not lease.is_over and lease.left_s > lease.ttl_s / 2:
            lease.keep_extending()
            return lease, False
        self._lease = lease = await self._leases.ask_own_lease(self._pathname)
        lease.keep_extending()
        return lease, True

    async def _make(self, lease: AsyncLease, mark: bytes) -> bool:
        """True if the file is made, and ours; False if that is unknown, and is undone. Raises what says that it is
        not made."""
        try:
            await self._sc.put_leased_file(self._pathname, mark, lease)
        except serr.IOErr as error:
            _log(f"{self._pathname}: {error}")
            if await self._is_marked(mark):
                return True
            # It may be on its way yet: without its lease it does not come.
            await self._drop(lease)
            return False
        except asyncio.CancelledError:
            await self._sc.core.behind.settle(self._drop(lease), "lock-undo")
            raise
        return True

    async def _is_marked(self, mark: bytes) -> bool:
        try:
            return await self._sc.get_file(self._pathname) == mark
        except serr.NotFound:
            return False

    async def _drop(self, lease: AsyncLease) -> None:
        """Ends the lease, and with it what may have been made."""
        if self._lease is lease:
            self._lease = None
        await lease.end()

    async def release(self) -> None:
        """Gives the lock to the next one. Inval if we do not hold it, or lost it: then it is left to who has it. If it
        fails by another error the lock goes with its lease, soon, and may be released again."""
        lease, mark = self._lease, self._mark
        if lease is None or not mark or lease.is_lost:
            self._mark = b""
            raise serr.Inval(self._pathname, "its lease ended" if mark else "this lock is not held by us")
        try:
            await self._sc.remove_own(self._pathname, mark)
        except serr.NotFound as error:
            if not self._is_given_back:
                self._mark = b""
                lease.rest()
                raise serr.Inval(self._pathname, "this lock was lost") from error
        except BaseException:
            self._is_given_back = True
            # Whatever becomes of it: nobody extends the lease any more.
            self._sc.core.behind.start(lease.end(), "lock-release")
            raise
        self._mark = b""
        lease.rest()

    async def __aenter__(self) -> Self:
        await self.acquire()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            await self.release()
            return
        # That the lock was lost, or cannot be released, is not told over the error of the block.
        with contextlib.suppress(serr.SigmaError):
            await self._sc.core.behind.settle(self.release(), "lock-release")
