"""Groups of procs that are kept alive (L-40 to L-45): n members of one program, started again when they crash.

Members find out who they are in ``SIGMAREPL`` (``<number>,<n>``) and which life this is in ``SIGMAGEN`` (from 1 on).
The manager lives in the process that made it; a persisted group is recovered by another process after that one died,
with the members that still run.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Final, Self

import msgspec

from sigmaos_ray import debug, decoding, serr
from sigmaos_ray.ft.groupstate import GroupState
from sigmaos_ray.proc import Proc, Status

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from sigmaos_ray.proc import Program, Tpid
    from sigmaos_ray.sigmaclnt import AsyncSigmaClnt, SigmaClnt

_log = debug.selector("GROUPMGR")

DIR: Final = "name/grpmgr"
"""Where persisted groups are."""
REPL: Final = "SIGMAREPL"
GEN: Final = "SIGMAGEN"
"""Environment variables of members."""


class MemberReport(msgspec.Struct, frozen=True):
    """What became of one member: how often it was started, and how its last life ended (None: it never ended)."""

    starts_count: int
    status: Status | None


class GroupRecord(msgspec.Struct, frozen=True):
    """A persisted group, as its file holds it: what its manager was made of, and its members."""

    n: int
    program: str
    args: list[str]
    mcpu: float
    job: str
    env: dict[str, str] = {}
    pids: list[str] = []
    """Of each member: the present life, or the last one."""
    starts: list[int] = []
    """Of each member: how often it was started."""


decode_record: Final = decoding.json_decoder(GroupRecord)
"""Raises msgspec.DecodeError."""


class AsyncProcGroupMgr:
    """A group of ``n`` members (0: one) of ``program``, called with ``[job, *args]``.

    ``start`` it once; ``stop`` or ``wait`` end it, and so does the end of its context. Members that fail are started
    again, at first after 200 ms, then less and less often, up to every 5 s. Inval for a group that could never be
    started.
    """

    def __init__(
        self,
        sc: AsyncSigmaClnt,
        n: int,
        program: Program,
        args: Sequence[str] = (),
        mcpu: float = 0,
        job: str = "",
        env: dict[str, str] | None = None,
    ) -> None:
        if n < 0:
            raise serr.Inval("n", f"{n} members")
        self._sc = sc
        self._n = n
        self._program = program
        self._args = list(args)
        self._mcpu = mcpu
        self._job = job
        self._env = dict(env or {})
        self._state = GroupState(n)
        self._tasks: list[asyncio.Task[None]] = []
        # Lives that an earlier manager began, by member's number; "" once one is over, or where there was none.
        self._adopted: list[Tpid] = []
        self._stopping = asyncio.Event()
        self._persisted = False
        self._proc(0, "check")  # raises Inval now, not in a task that nobody waits for yet

    @property
    def job(self) -> str:
        """Its name, and its members' first argument."""
        return self._job

    def nstart(self) -> int:
        """How often members were started, all together."""
        return self._state.nstart()

    def pids(self) -> list[Tpid]:
        """The present lives, or the last ones."""
        return [member.pid for member in self._state.members]

    async def start(self) -> None:
        """Starts all members; returns once each of them runs, or has failed for the first time. Inval if it was
        started before."""
        if self._tasks:
            raise serr.Inval(self._job or "group", "was started before")
        loop = asyncio.get_running_loop()
        first_lives: list[asyncio.Future[None]] = []
        for number in range(len(self._state.members)):
            first: asyncio.Future[None] = loop.create_future()
            first_lives.append(first)
            self._tasks.append(asyncio.create_task(self._keep(number, first), name=f"group-{self._job}-{number}"))
        await asyncio.wait(first_lives)

    def _proc(self, number: int, generation: int | str) -> Proc:
        env = {**self._env, REPL: f"{number},{self._n}", GEN: str(generation)}
        return Proc(self._program, [self._job, *self._args], mcpu=self._mcpu, env=env)

    async def _keep(self, number: int, first: asyncio.Future[None]) -> None:
        """Keeps one member alive, from life to life. ``first`` is done once its first life runs, or never will."""
        try:
            while not self._state.ending:
                pause_s = await self._live(number, first)
                if pause_s is None:
                    return
                # ``stop`` ends a pause early; where another member ended the group, the loop's condition does, after
                # it.
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), pause_s)
        finally:
            _resolve(first)

    async def _live(self, number: int, first: asyncio.Future[None]) -> float | None:
        """One life, from its spawn to its end; how long to wait before the next one, in seconds, None if there is
        none."""
        began_s = time.monotonic()
        adopted = self._adopted[number] if number < len(self._adopted) else ""
        try:
            pid = adopted or await self._spawn(number)
            if self._stopping.is_set():  # ``stop`` evicted whom it knew while this one was on its way
                await self._sc.evict(pid)
            await self._sc.wait_start(pid)
            _resolve(first)
            # The status of one that another client spawned is that client's to collect: here it is only looked at.
            status = await self._sc.wait_exit(pid, peek=bool(adopted))
        # Also NotFound of an adopted life: it ended, and its status was collected, before this manager came.
        except serr.SigmaError as error:
            # No next life could be spawned. The member may run on, and whoever recovers the group finds it.
            if self._sc.is_closed:
                return None
            _log(f"{self._job} {number}: {error}")
            if isinstance(error, serr.IOErr):  # it may run all the same: never beside the next one
                await self._evict(self._state.members[number].pid)
            return self._state.failed(number)
        finally:
            _resolve(first)
            # However it ended, the next life is one that this manager starts.
            if adopted:
                self._adopted[number] = ""
        _log(f"{self._job} {number}: {pid} ended: {status}")
        return self._state.exited(number, status, time.monotonic() - began_s)

    async def _spawn(self, number: int) -> Tpid:
        proc = self._proc(number, self._state.members[number].starts_count + 1)
        # Noted before anybody is asked: if the spawn's fate stays unknown, this is the pid to evict.
        self._state.starting(number, proc.pid)
        # Before the spawn: whoever recovers the group finds a pid that may not run, but never misses one that does.
        if self._persisted:
            await self.persist()
        await self._sc.spawn(proc)
        return proc.pid

    async def wait(self) -> list[MemberReport]:
        """Blocks until the group ended by itself, or was stopped, and all members are gone; what became of them."""
        if self._tasks:
            await asyncio.wait(self._tasks)
            for task in self._tasks:
                if not task.cancelled():
                    task.result()
        return [MemberReport(member.starts_count, member.status) for member in self._state.members]

    async def stop(self) -> list[MemberReport]:
        """Evicts all members at the same time, whatever they wait for, and blocks until they are gone, without a limit.
        A persisted group is forgotten. May be repeated."""
        # Before the evictions: no member that ends by one is started again.
        self._state.ending = True
        self._stopping.set()
        await asyncio.gather(*(self._evict(pid) for pid in self.pids() if pid))
        reports = await self.wait()
        if self._persisted:
            with contextlib.suppress(serr.NotFound):
                await self._sc.remove(f"{DIR}/{self._job}")
            # Only now: what could not be removed, a second call removes.
            self._persisted = False
        return reports

    async def _evict(self, pid: Tpid) -> None:
        try:
            await self._sc.evict(pid)
        except (serr.NotFound, *serr.SESSION_ERRORS) as error:  # it ended, or its schedd did and will end it
            _log(f"evict {pid}: {error}")

    async def crash(self) -> None:
        """Abandons the group: members go on, and nobody starts them again, until somebody recovers it. May be
        repeated."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def persist(self) -> None:
        """Writes what a recovery needs to ``name/grpmgr/<job>``, now and with each new life. Inval for a group without
        a job, or of a function."""
        if not self._job or not isinstance(self._program, str):
            raise serr.Inval(self._job or "group", "only a named job of a named program can be persisted")
        members = self._state.members
        record = GroupRecord(
            self._n,
            self._program,
            self._args,
            self._mcpu,
            self._job,
            self._env,
            [member.pid for member in members],
            [member.starts_count for member in members],
        )
        await self._sc.makedirs(DIR)
        await self._sc.put_file(f"{DIR}/{self._job}", msgspec.json.encode(record))
        self._persisted = True

    @classmethod
    async def recover(cls, sc: AsyncSigmaClnt) -> list[Self]:
        """All persisted groups, not started: ``start`` takes on what still runs, and starts what does not."""
        try:
            names = [stat.name for stat in await sc.get_dir(DIR)]
        except serr.NotFound:
            return []
        return [await cls._recovered(sc, name) for name in names]

    @classmethod
    async def recover_job(cls, sc: AsyncSigmaClnt, job: str) -> Self:
        """Like ``recover``, one group. NotFound if it is not persisted, Inval for what is no group."""
        return await cls._recovered(sc, job)

    @classmethod
    async def _recovered(cls, sc: AsyncSigmaClnt, name: str) -> Self:
        try:
            record = decode_record(await sc.get_file(f"{DIR}/{name}"))
        except msgspec.DecodeError as error:
            raise serr.Inval(f"{DIR}/{name}", f"not a persisted group: {error}") from error
        manager = cls(sc, record.n, record.program, record.args, record.mcpu, record.job, record.env)
        manager._persisted = True
        manager._adopted = list(record.pids)
        for member, pid, starts in zip(manager._state.members, record.pids, record.starts, strict=False):
            # Counted on from there: SIGMAGEN must not tell a member that was started before that this is its first
            # life.
            member.pid, member.starts_count = pid, starts
        return manager

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class ProcGroupMgr:
    """The blocking face of ``AsyncProcGroupMgr``: also a context manager."""

    def __init__(
        self,
        sc: SigmaClnt,
        n: int,
        program: Program,
        args: Sequence[str] = (),
        mcpu: float = 0,
        job: str = "",
        env: dict[str, str] | None = None,
    ) -> None:
        self._sc = sc
        self._manager = AsyncProcGroupMgr(sc.asynchronous, n, program, args, mcpu, job, env)

    @classmethod
    def _of(cls, sc: SigmaClnt, manager: AsyncProcGroupMgr) -> Self:
        face = cls.__new__(cls)
        face._sc, face._manager = sc, manager
        return face

    @property
    def job(self) -> str:
        """See ``AsyncProcGroupMgr.job``."""
        return self._manager.job

    def nstart(self) -> int:
        """See ``AsyncProcGroupMgr.nstart``."""
        return self._manager.nstart()

    def pids(self) -> list[Tpid]:
        """See ``AsyncProcGroupMgr.pids``."""
        return self._manager.pids()

    def start(self) -> None:
        """See ``AsyncProcGroupMgr.start``."""
        self._sc.run(self._manager.start())

    def wait(self) -> list[MemberReport]:
        """See ``AsyncProcGroupMgr.wait``."""
        return self._sc.run(self._manager.wait())

    def stop(self) -> list[MemberReport]:
        """See ``AsyncProcGroupMgr.stop``."""
        return self._sc.run(self._manager.stop())

    def crash(self) -> None:
        """See ``AsyncProcGroupMgr.crash``."""
        self._sc.run(self._manager.crash())

    def persist(self) -> None:
        """See ``AsyncProcGroupMgr.persist``."""
        self._sc.run(self._manager.persist())

    @classmethod
    def recover(cls, sc: SigmaClnt) -> list[Self]:
        """See ``AsyncProcGroupMgr.recover``."""
        return [cls._of(sc, manager) for manager in sc.run(AsyncProcGroupMgr.recover(sc.asynchronous))]

    @classmethod
    def recover_job(cls, sc: SigmaClnt, job: str) -> Self:
        """See ``AsyncProcGroupMgr.recover_job``."""
        return cls._of(sc, sc.run(AsyncProcGroupMgr.recover_job(sc.asynchronous, job)))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
