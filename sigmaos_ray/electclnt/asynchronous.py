"""Election (L-30, L-31): who makes the leader file leads, for as long as it is there.

The file hangs on a lease of the candidate's own, so it goes soon after its maker died, and ending the lease settles
whether it was made where that is unknown. Its pathname, and the revision of named's
store at which it was made, are the leader's fence: epochs grow from leader to leader, and named refuses what a deposed
leader still sends (``leaderclnt``).
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Self

from sigmaos_ray import debug, serr
from sigmaos_ray.deadlines import within
from sigmaos_ray.leaseclnt import leases_of
from sigmaos_ray.sigmap import DEV_NAMED, DMDEVICE, NAMED, NO_FENCE, Fence, path

if TYPE_CHECKING:
    from types import TracebackType

    from sigmaos_ray.fslib import AsyncFsLib
    from sigmaos_ray.leaseclnt import AsyncLease

_log = debug.selector("ELECTCLNT")

LEADER_PERM = DMDEVICE | 0o777


class AsyncElectClnt:
    """One candidate for the leadership at ``pn``, a pathname in named. Several in one process are rivals like others.

    An async context manager: leads inside the block, and gives the leadership up at its end.
    """

    def __init__(self, sc: AsyncFsLib, pn: str) -> None:
        self._sc = sc
        self._leases = leases_of(sc)
        self._pathname = "/".join(path.split(pn))
        self._fence = NO_FENCE
        self._lease: AsyncLease | None = None
        """Ours alone. It rests while we do not lead, and is used again."""
        self._object = 0
        """The qid path of this candidate's last leader file."""
        self._watcher: asyncio.Task[None] | None = None
        self._lost = asyncio.Event()
        self._lost_threaded = threading.Event()

    @property
    def lost(self) -> asyncio.Event:
        """Set once the leadership is over, or in doubt: the lease could not be extended in time."""
        return self._lost

    @property
    def lost_threaded(self) -> threading.Event:
        """The same for threads."""
        return self._lost_threaded

    @property
    def fence(self) -> Fence:
        """The stamp of the present leadership, or of the last one; empty before the first."""
        return self._fence

    async def acquire_leadership(self, data: bytes = b"", timeout_s: float | None = None) -> Fence:
        """Blocks until this candidate leads; the leader file then holds ``data``. Missing directories are made.
        Timeout past ``timeout_s`` (0: try once); Inval if it leads already; NotSupported outside of named. If it fails,
        no leader file of ours stays, at the latest after the time of a lease."""
        if self._watcher is not None and not self.lost.is_set():
            raise serr.Inval(self._pathname, "this candidate leads already")
        # Before ``lost`` is cleared: the watcher of the last leadership sets it once more as it ends.
        await self._stop_watching()
        try:
            async with within(timeout_s or None, self._pathname, "somebody else led: no leadership"):
                lease = await self._campaign(data, once=timeout_s == 0)
        except BaseException:  # who gave up, or was cancelled, keeps no lease alive
            if self._lease is not None:
                self._lease.rest()
            raise
        self.lost.clear()
        self.lost_threaded.clear()
        self._watcher = asyncio.create_task(self._watch(lease, self._fence), name=f"elect-{self._pathname}")
        _log(f"{self._pathname}: leads, epoch {self._fence.epoch}")
        return self._fence

    async def _campaign(self, data: bytes, *, once: bool) -> AsyncLease:
        await self._make_parent()
        while True:
            # Each time anew: the lease may have ended while somebody else led.
            lease = await self._own_lease()
            try:
                self._fence = Fence(self._pathname, await self._make_leader_file(data, lease.id))
            except serr.Exists:
                lease.rest()
                if once:
                    raise serr.Timeout(self._pathname, "somebody else leads") from None
                await self._sc.wait_remove(self._pathname)
            except (serr.NotFound, serr.IOErr) as error:
                # The lease is gone; or the file may be there, or still come, and must not be waited for: it is our own
                # then. Without its lease it goes.
                _log(f"{self._pathname}: {error}")
                await self._drop(lease)
                await self._make_parent()
            except asyncio.CancelledError:
                await self._sc.core.behind.settle(self._drop(lease), "elect-undo")
                raise
            else:
                return lease

    async def _own_lease(self) -> AsyncLease:
        lease = self._lease
        if lease is None or lease.is_over or lease.left_s < lease.ttl_s / 2:
            lease = self._lease = await self._leases.ask_own_lease(self._pathname)
        lease.keep_extending()
        return lease

    async def _drop(self, lease: AsyncLease) -> None:
        """Ends the lease, and with it the leader file that may have been made."""
        if self._lease is lease:
            self._lease = None
        await lease.end()

    async def _make_parent(self) -> None:
        parts = path.split(self._pathname)
        if len(parts) < 2 or parts[0] != NAMED:
            raise serr.Inval(self._pathname, f"an election is held at a pathname below {NAMED!r}")
        parent = "/".join(parts[:-1]) + "/"
        await self._sc.makedirs(parent)
        if (await self._sc.stat(parent)).dev != DEV_NAMED:
            raise serr.NotSupported(self._pathname, "elections are held in named, which keeps their epochs")
        # Where links lead today: named knows the leader's fence by the pathname at which the file stands.
        self._pathname = "/".join([*await self._sc.core.behind_links(parts[:-1]), parts[-1]])

    async def _make_leader_file(self, data: bytes, lease_id: int) -> int:
        """The epoch: the revision at which the file was made."""
        made = await self._sc.create_whole(self._pathname, data, LEADER_PERM, lease_id)
        self._object = made.path
        return made.version

    async def _watch(self, lease: AsyncLease, fence: Fence) -> None:
        """Until the leadership is over: by the lease's end, or by the file's."""
        # The lease tells of trouble between this process and named; the file, that somebody else removed it.
        over = {
            asyncio.create_task(lease.lost.wait(), name="elect-lease"),
            asyncio.create_task(self._wait_deposed(), name="elect-file"),
        }
        try:
            await asyncio.wait(over, return_when=asyncio.FIRST_COMPLETED)
            _log(f"{self._pathname}: epoch {fence.epoch} is over")
        finally:
            for task in over:
                task.cancel()
            await asyncio.wait(over)
            lease.rest()
            self._set_lost()

    def _set_lost(self) -> None:
        self.lost.set()
        self.lost_threaded.set()

    async def _wait_deposed(self) -> None:
        directory, _, name = self._pathname.rpartition("/")
        while True:
            try:
                async with self._sc.watch_dir(directory) as watch:
                    while await self._leads():
                        while all(event.name != name for event in await watch.read()):
                            continue
                    return
            except (*serr.SESSION_ERRORS, serr.Version) as error:  # named is being replaced; the lease tells how long
                _log(f"{self._pathname}: {error}")
                await asyncio.sleep(self._sc.config.walk.retry_pause_s)
            except serr.NotFound:
                return

    async def _leads(self) -> bool:
        """True while the file is there, and is this leadership's: one of that name may be the next leader's already."""
        try:
            return (await self._sc.stat(self._pathname)).qid.path == self._object
        except serr.NotFound:
            return False

    async def release_leadership(self) -> None:
        """Gives the leadership up at once; that it was over already is fine. ``fence`` stays what it was. If it fails,
        it ends with its lease, soon."""
        await self._stop_watching()
        self._set_lost()
        if not self._fence:
            return
        try:
            with contextlib.suppress(serr.NotFound, serr.Stale):
                await self._remove_leader_file()
        except BaseException:  # also who is cancelled lets others lead
            if self._lease is not None:
                self._sc.core.behind.start(self._drop(self._lease), "elect-release")
            raise

    async def _remove_leader_file(self) -> None:
        try:
            await self._sc.remove(self._pathname, self._fence)
        except serr.IOErr:
            # Perhaps done. The fence makes asking again safe.
            await self._sc.remove(self._pathname, self._fence)

    async def _stop_watching(self) -> None:
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.cancel()
            await asyncio.wait({watcher})

    async def __aenter__(self) -> Self:
        await self.acquire_leadership()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.release_leadership()
