"""Starting and stopping a task service."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Self

from sigmaos_ray import serr
from sigmaos_ray.ft.fttask.clnt import AsyncFtTaskClnt
from sigmaos_ray.ft.fttask.paths import PROGRAM, checked_id, leader_pathname, state_pathname
from sigmaos_ray.ft.procgroupmgr import AsyncProcGroupMgr

if TYPE_CHECKING:
    from types import TracebackType

    from sigmaos_ray.sigmaclnt import AsyncSigmaClnt, SigmaClnt


class AsyncFtTaskSrvMgr:
    """The servers of the service ``service_id``: ``n`` of them, of which one leads. Those that die are replaced while
    this manager lives. ``start`` it, and ``stop`` it, or use it as a context.

    What the service keeps outlives its servers: a manager of the same id goes on with it, until ``clear``.
    """

    def __init__(self, sc: AsyncSigmaClnt, service_id: str, n: int = 1, mcpu: float = 0) -> None:
        self._sc = sc
        self._service_id = checked_id(service_id)
        self._group = AsyncProcGroupMgr(sc, n, PROGRAM, [service_id], mcpu, f"fttask-{service_id}")

    @property
    def service_id(self) -> str:
        """For clients."""
        return self._service_id

    @property
    def group(self) -> AsyncProcGroupMgr:
        """The servers as a group of procs."""
        return self._group

    async def start(self) -> None:
        """Returns once a server answers. Unreachable, with what became of the servers, if none does. They are ended
        then, and also if this call is cancelled."""
        try:
            await self._group.start()
            await AsyncFtTaskClnt(self._sc, self._service_id).ping()
        except serr.Unreachable as error:
            await self._group.stop()
            # A program that fails at each start is told by its servers' ends alone: that nobody answers does not say
            # why.
            ends = [str(member.status) for member in await self._group.wait() if member.status is not None]
            raise serr.Unreachable(error.obj, f"{error.msg}; servers ended: {'; '.join(ends) or 'none'}") from error
        except BaseException:
            await self._group.stop()
            raise

    async def stop(self) -> None:
        """Ends the servers, and returns once they are gone. May be repeated."""
        await self._group.stop()

    async def clear(self) -> None:
        """Removes all tasks. Stop the servers first: one that runs has them in memory."""
        for pn in (state_pathname(self._service_id), leader_pathname(self._service_id)):
            with contextlib.suppress(serr.NotFound):
                if await self._sc.is_dir(pn):
                    await self._sc.rmdir(pn)
                else:
                    await self._sc.remove(pn)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()


class FtTaskSrvMgr:
    """The blocking face of ``AsyncFtTaskSrvMgr``: also a context manager."""

    def __init__(self, sc: SigmaClnt, service_id: str, n: int = 1, mcpu: float = 0) -> None:
        self._sc = sc
        self._manager = AsyncFtTaskSrvMgr(sc.asynchronous, service_id, n, mcpu)

    @property
    def service_id(self) -> str:
        """For clients."""
        return self._manager.service_id

    @property
    def group(self) -> AsyncProcGroupMgr:
        """The servers as a group of procs: for looking, not for calling."""
        return self._manager.group

    def start(self) -> None:
        """See ``AsyncFtTaskSrvMgr.start``."""
        self._sc.run(self._manager.start())

    def stop(self) -> None:
        """See ``AsyncFtTaskSrvMgr.stop``."""
        self._sc.run(self._manager.stop())

    def clear(self) -> None:
        """See ``AsyncFtTaskSrvMgr.clear``."""
        self._sc.run(self._manager.clear())

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
