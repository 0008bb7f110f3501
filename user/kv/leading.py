"""Leaders that take over at once from one that is known to be dead.

The file of a leader that was killed stays until its lease ends. If it was of this machine, and its process is gone,
whoever comes to stand in for it need not wait for that. Said of a leader by its own file: kernel node, process.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Final

import msgspec
import psutil

from sigmaos_ray import debug, decoding, serr
from sigmaos_ray.sigmap import FENCES, NAMED, Fence, path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sigmaos_ray import AsyncSigmaClnt
    from sigmaos_ray.leaderclnt import AsyncLeaderClnt

_LOOK_S: Final = 1.0
"""How often one that stands by looks whether the leader's process is there."""
_log = debug.selector("LEADER")


class LeaderData(msgspec.Struct, frozen=True):
    """The contents of a leader's file."""

    pid: str
    kernel_id: str
    process: int
    created_s: float
    """When the process was made: its number may be another's by now."""

    @classmethod
    def own(cls, sc: AsyncSigmaClnt) -> LeaderData:
        return cls(sc.pid, sc.kernel_id, os.getpid(), psutil.Process().create_time())

    def is_dead(self, kernel_id: str) -> bool:
        """True if the process is surely gone; asked on a kernel node."""
        if not self.kernel_id or self.kernel_id != kernel_id:
            return False
        try:
            return abs(psutil.Process(self.process).create_time() - self.created_s) > 1
        except psutil.NoSuchProcess:
            return True
        except psutil.Error:
            return False


_decode: Final = decoding.json_decoder(LeaderData)


async def lead(sc: AsyncSigmaClnt, leader: AsyncLeaderClnt, pn: str, dirs: Sequence[str]) -> bool:
    """Waits until this proc leads; False if it is evicted first."""
    leading = asyncio.create_task(_lead(sc, leader, pn, dirs), name="kv-lead")
    evicted = asyncio.create_task(sc.wait_evict(), name="kv-evicted")
    tasks: set[asyncio.Task[None]] = {leading, evicted}
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if not leading.done():
            return False
        leading.result()
        return True
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def _lead(sc: AsyncSigmaClnt, leader: AsyncLeaderClnt, pn: str, dirs: Sequence[str]) -> None:
    burying = asyncio.create_task(_bury(sc, pn), name="kv-bury")
    try:
        await leader.lead_and_fence(msgspec.json.encode(LeaderData.own(sc)), dirs)
    finally:
        burying.cancel()
        await asyncio.wait({burying})


async def _bury(sc: AsyncSigmaClnt, pn: str) -> None:
    while True:
        await bury_dead(sc, pn)
        await asyncio.sleep(_LOOK_S)


async def bury_dead(sc: AsyncSigmaClnt, pn: str) -> bool:
    """Removes the file of a leader whose process of this machine is gone; True if it did."""
    try:
        shown = path.join(NAMED, FENCES, pn.replace("/", "-"))
        epoch: int = (await sc.get_file_json(shown))["epoch"]
        data = _decode(await sc.get_file(pn))
        if not data.is_dead(sc.kernel_id):
            return False
        # The fence: if another one leads by now, this is of its predecessor, and refused.
        await sc.remove(pn, Fence(pn, epoch))
    except (serr.NotFound, serr.Stale, *serr.SESSION_ERRORS, msgspec.DecodeError) as error:
        _log(f"{pn}: {error}")
        return False
    _log(f"{pn}: {data.pid} is dead")
    return True


def end_when_lost(leader: AsyncLeaderClnt, what: str, exit_code: int) -> asyncio.Task[None]:
    """Ends the process once it leads no more: it must not act on what others change now. The caller cancels the task
    before it resigns."""

    async def watch() -> None:
        await leader.lost.wait()
        end(f"{what}: leads no more", exit_code)

    return asyncio.create_task(watch(), name="kv-lost")


def end(why: str, exit_code: int) -> None:
    """What is in memory may not be what holds: only a new life helps."""
    debug.error(f"kv: {why}")
    os._exit(exit_code)
