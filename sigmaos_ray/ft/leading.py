"""Programs of which one leads: each member waits until it leads or is evicted, and dies when it is deposed.

    leadership = Leadership(sc, "name/app/leader", ["name/app/state"])
    if not await leadership.lead():
        return Status.evicted()
    ...                              # serves; what it writes below name/app/state carries its fence
    await leadership.resign()

Dying is the safe way out for one that was deposed: what it has in memory is not what holds any more, and whoever
leads now may have changed it. A group of procs (``procgroupmgr``) starts it again, and it stands for election anew.

The file of a leader that was killed stays until its lease ends. Its contents say which process it was: candidates on
the same machine see that the process is gone, and remove the file at once.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any, Final

import msgspec

from sigmaos_ray import debug, decoding, serr
from sigmaos_ray.ft.tuning import LEADING
from sigmaos_ray.leaderclnt import AsyncLeaderClnt
from sigmaos_ray.machine import OsProcess
from sigmaos_ray.sigmap import Fence

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from sigmaos_ray.sigmaclnt import AsyncSigmaClnt

LOST_EXIT_CODE: Final = 3
"""Of a process that leads no more: its group takes it for a crash, and starts it again."""
_log = debug.selector("LEADER")


class LeaderData(msgspec.Struct, frozen=True):
    """The contents of a leader's file: where its process is."""

    pid: str
    process: OsProcess

    @classmethod
    def own(cls, sc: AsyncSigmaClnt) -> LeaderData:
        """Of this process."""
        return cls(sc.pid, OsProcess.own())


_decode: Final = decoding.json_decoder(LeaderData)


def die(why: str) -> None:
    """Ends this process at once, without a word to anybody: no answer may leave it any more."""
    debug.error(why)
    # Not sys.exit: what runs at the end of a block, or at exit, would still write and answer as a leader does.
    os._exit(LOST_EXIT_CODE)


class Leadership:
    """One proc's candidacy for the leader file ``pn``, in named. ``lead`` it, and ``resign`` at the end.

    ``dirs`` are fenced: what this proc changes below them while it leads, and until it resigned, is refused once
    another one leads. ``on_lost`` is called, on the loop, when the leadership is over without ``resign``; it must not
    return to work as a leader. By default the process dies with ``LOST_EXIT_CODE``.
    """

    def __init__(
        self, sc: AsyncSigmaClnt, pn: str, dirs: Sequence[str] = (), on_lost: Callable[[str], None] = die
    ) -> None:
        self._sc = sc
        self._pathname = pn
        self._dirs = list(dirs)
        self._on_lost = on_lost
        self._watcher: asyncio.Task[None] | None = None
        self.leader = AsyncLeaderClnt(sc, pn)
        """For its fence, and for directories that are to be fenced later."""

    @property
    def fence(self) -> Fence:
        """The stamp of the present leadership, or of the last one."""
        return self.leader.fence

    async def lead(self) -> bool:
        """Blocks until this proc leads: True, and the servers of ``dirs`` refuse older leaders. False if the proc is
        evicted first: then it holds nothing. Raises like ``AsyncLeaderClnt.lead_and_fence``."""
        if not await unless_evicted(self._sc, self._stand()):
            return False
        # What was lost while servers were told of the fence is not missed: ``lost`` stays set, and the watcher sees it
        # at once.
        self._watcher = asyncio.create_task(self._watch(), name=f"leading-{self._pathname}")
        return True

    async def _stand(self) -> None:
        # Beside the wait, and not once before it: a leader may die at any time while this one stands by.
        burying = asyncio.create_task(self._bury(), name=f"bury-{self._pathname}")
        try:
            await self.leader.lead_and_fence(msgspec.json.encode(LeaderData.own(self._sc)), self._dirs)
        finally:
            burying.cancel()
            await asyncio.wait({burying})

    async def _bury(self) -> None:
        while True:
            await bury_dead(self._sc, self._pathname)
            await asyncio.sleep(LEADING.look_s)

    async def _watch(self) -> None:
        await self.leader.lost.wait()
        self._on_lost(f"{self._pathname}: leads no more")

    def die(self, why: str) -> None:
        """Gives up as if the leadership were lost: for one that cannot tell any more what is written."""
        self._on_lost(f"{self._pathname}: {why}")

    async def resign(self) -> None:
        """Gives the leadership up, after the last write: what follows it may be refused. Whoever led calls it, evicted
        or not; may be repeated. Raises session errors: the leadership then ends with this client's lease."""
        # First of all, or giving it up would look like losing it.
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.wait({self._watcher})
            self._watcher = None
        await self.leader.release_leadership()
        # Last: until here each change carries the fence, so that none can follow the next leader's.
        await self.leader.unfence()


async def unless_evicted(sc: AsyncSigmaClnt, work: Awaitable[Any]) -> bool:
    """Does the work: True. If this proc is evicted first, or its schedd is gone, the work is cancelled, and False.
    Raises what the work raises."""
    working = asyncio.ensure_future(work)
    evicted = asyncio.create_task(sc.wait_evict(), name="unless-evicted")
    try:
        await asyncio.wait({working, evicted}, return_when=asyncio.FIRST_COMPLETED)
        # Done counts, also if the eviction came in the same moment: what was won is then the caller's to give back.
        if not working.done():
            return False
        working.result()
        return True
    finally:
        for task in (working, evicted):
            task.cancel()
        await asyncio.gather(working, evicted, return_exceptions=True)


async def bury_dead(sc: AsyncSigmaClnt, pn: str) -> bool:
    """Removes the leader file ``pn`` if its process is gone, and was of this machine; True if it did."""
    try:
        # The epoch, which is the file's first version, before the contents: if a next leader comes in between, the
        # fence is too old for its file; if the file was written again, it is no fence.
        epoch = (await sc.stat(pn)).qid.version
        leader = _decode(await sc.get_file(pn))
        if not leader.process.is_gone():
            return False
        await sc.remove(pn, Fence(pn, epoch))
    # No error of the candidate: the next look comes soon, and in the end the lease removes the file.
    except (serr.NotFound, serr.Stale, *serr.SESSION_ERRORS, msgspec.DecodeError) as error:
        _log(f"{pn}: {error}")
        return False
    _log(f"{pn}: {leader.pid} is dead")
    return True
