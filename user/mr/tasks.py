"""What mappers and reducers have in common: how they begin, and how they report what went wrong.

A coordinator tells three ends of a task apart: fatal, which ends the job; an error of the program's own, which some
more tries may cure; and being cut off, which says nothing about the task.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec

from sigmaos_ray import AsyncSigmaClnt, Status, crash, serr
from user.mr.paths import MrPaths

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Work = Callable[[AsyncSigmaClnt, MrPaths, int], Awaitable[Status]]

CUT_OFF: Final = {"cut_off": True}
"""The data of the status of a task that could not reach a server: its next run may."""
RESTART: Final = "restart"
"""The message of a reducer that lost some of its input; its data are the numbers of the map tasks."""
_CUT_OFF: Final = (*serr.SESSION_ERRORS, serr.UnknownFid, serr.Timeout)


async def perform(
    argv: list[str], crashes: str, partitions: str, work: Callable[[AsyncSigmaClnt, MrPaths, int], Awaitable[Status]]
) -> Status:
    """Does a task as a proc: the first two arguments are the job and the task's number. ``crashes`` and ``partitions``:
    its selectors of ``SIGMAFAIL``. The status of the work, or of its error."""
    paths, task = MrPaths(argv[0]), int(argv[1])
    async with AsyncSigmaClnt() as sc:
        await sc.started()
        loop = asyncio.get_running_loop()

        def cut_off() -> None:
            asyncio.run_coroutine_threadsafe(sc.disconnect("name"), loop)

        with crash.arm(crashes), crash.arm(partitions, cut_off):
            try:
                return await work(sc, paths, task)
            # Inval says that the job, its app or its input is wrong: it would be the same the next time.
            except (serr.Inval, msgspec.DecodeError) as error:
                return Status.fatal(str(error))
            except serr.SigmaError as error:
                return Status.err(str(error), CUT_OFF if isinstance(error, _CUT_OFF) else None)
