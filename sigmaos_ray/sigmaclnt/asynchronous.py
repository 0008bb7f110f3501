"""``AsyncSigmaClnt``: a client's files and procs, on the loop that it was made on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from sigmaos_ray.fslib import AsyncFsLib
from sigmaos_ray.instance import find_proc_env
from sigmaos_ray.leaseclnt import AsyncLeaseClnt
from sigmaos_ray.procclnt import AsyncProcClnt

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Iterable, Sequence
    from types import TracebackType

    from sigmaos_ray.config import ProcEnv
    from sigmaos_ray.proc import Proc, Status
    from sigmaos_ray.procclnt import ProcInfo
    from sigmaos_ray.serr import SigmaError


class AsyncSigmaClnt(AsyncFsLib):
    """One client on asyncio. An async context manager; closing it ends its sessions.

    Every coroutine raises ``serr`` errors that carry the pathname. After ``close`` everything is Unreachable.
    """

    def __init__(self, proc_env: ProcEnv | None = None) -> None:
        super().__init__(proc_env or find_proc_env())
        self.leases = AsyncLeaseClnt(self)
        self.procclnt = AsyncProcClnt(self)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends the sessions; leases are left to expire, as a crash would. May be repeated."""
        await self.leases.stop_extending()
        await self.procclnt.close()
        await self.close_fs()

    async def spawn(self, proc: Proc) -> str:
        """Hands a proc to the node's schedd; returns its pid. Queued, not started."""
        return await self.procclnt.spawn(proc)

    async def spawn_burst(
        self, procs: Sequence[Proc], procs_per_schedd: int = 1
    ) -> tuple[list[Proc], list[SigmaError]]:
        """Spawns several procs in few messages, on all nodes in turns, ``procs_per_schedd`` on each. Returns those that
        were not spawned, and an error for each."""
        return await self.procclnt.spawn_burst(procs, procs_per_schedd)

    async def wait_start(self, pid: str, timeout_s: float | None = None) -> None:
        """Returns when the proc said that it started, or ended before it could. NotFound for an unknown pid."""
        await self.procclnt.wait_start(pid, timeout_s)

    async def wait_exit(self, pid: str, timeout_s: float | None = None, *, peek: bool = False) -> Status:
        """Waits for the end of a proc, and collects its status: a second wait by its parent is NotFound. ``peek``
        looks without collecting."""
        return await self.procclnt.wait_exit(pid, timeout_s, peek=peek)

    def as_completed(self, pids: Iterable[str], timeout_s: float | None = None) -> AsyncIterator[tuple[str, Status]]:
        """Pids and statuses of procs as they end, each pid once: ``async for pid, status in sc.as_completed(pids)``.
        What is told is collected, the rest is left. Timeout ``timeout_s`` after this call, if some have not ended."""
        return self.procclnt.as_completed(pids, timeout_s)

    def wait_exit_chan(self, pid: str = "") -> asyncio.Future[Status]:
        """A future that gets a proc's status, as ``wait_exit`` returns it. Without a pid it is about this proc: it gets
        ``Status.evicted()`` once the proc is asked to end. Cancelled when the client is closed."""
        return self.procclnt.wait_exit_chan(pid)

    async def evict(self, pid: str, grace_s: float | None = None) -> None:
        """Asks a proc to end; with ``grace_s`` it is killed after so long. A queued proc ends evicted."""
        await self.procclnt.evict(pid, grace_s)

    async def started(self) -> None:
        """A proc tells its parent that it runs."""
        await self.procclnt.started()

    async def exited(self, status: Status) -> None:
        """A proc reports its status; the first report counts. Afterwards it cannot spawn."""
        await self.procclnt.exited(status)

    async def wait_evict(self, timeout_s: float | None = None) -> None:
        """A proc waits until it is asked to end."""
        await self.procclnt.wait_evict(timeout_s)

    async def clnt_exit(self, status: Status) -> None:
        """Reports the status, ends leases, closes sessions."""
        await self.procclnt.exited(status)
        await leave(self)

    async def clnt_exit_ok(self) -> None:
        """``clnt_exit`` with OK."""
        await self.procclnt.exited_ok()
        await leave(self)

    async def procs(self) -> list[ProcInfo]:
        """What every schedd of the realm has: queued, running, and ended procs that nobody collected."""
        return await self.procclnt.procs()

    async def get_children(self) -> list[str]:
        """The pids of this client's procs, of a proc's all, that run, wait, or were not collected."""
        return await self.procclnt.get_children()


async def leave(clnt: AsyncSigmaClnt) -> None:
    """A client's last: ends its leases, and closes it."""
    await clnt.leases.end_leases()
    await clnt.close()
