"""A process of clients that elect, lock, wait, watch and work, and record it: ``python coordination_clients.py JSON``.

What to do comes on its standard input, and it answers on its standard output:
a RunRequest -> "works"; "quiet" -> "quiet" once nothing is changed any more; "stop" -> "stopped" once nothing is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sys
import time
from typing import TYPE_CHECKING, Final

import msgspec
from coordination_history import OK, Record

from sigmaos_ray import config, serr
from sigmaos_ray.config import ProcEnv
from sigmaos_ray.ft.fttask import AsyncFtTaskClnt
from sigmaos_ray.leaderclnt import AsyncLeaderClnt
from sigmaos_ray.lockclnt import AsyncLock
from sigmaos_ray.semclnt import AsyncSemaphore
from sigmaos_ray.sessp.channel import close_channels
from sigmaos_ray.sigmaclnt import AsyncSigmaClnt
from sigmaos_ray.sigmap import OEXCL, OWRITE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from sigmaos_ray.fslib.watches import WatchEvent

LEASE_S: Final = 2
LAST: Final = "last"
"""A watcher that heard of this file has heard of all."""
_WITHIN_S: Final = 30.0
_PAUSE_S: Final = 0.02
_TRY_S: Final = 1.5


class ProcessRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a process is started with."""

    state_file: str
    realm: str
    process: str


class RunRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One run."""

    directory: str
    records: str
    seed: int
    semaphores_count: int
    service_id: str


class ShortLeased(AsyncSigmaClnt):
    """A client whose leases are as short as etcd grants."""

    @property
    def config(self) -> config.Config:
        return msgspec.structs.replace(super().config, lease=config.Leases(ttl_s=LEASE_S))


class Roles:
    """What one process does in one run."""

    def __init__(self, process: ProcessRequest, run: RunRequest) -> None:
        env = ProcEnv(pid=process.process, realm=process.realm, state_file=process.state_file)
        self._name = process.process
        self._run = run
        self._chance = random.Random(f"{run.seed} {process.process}")
        self._file = os.open(run.records, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._leading, self._sc = ShortLeased(env), ShortLeased(env)
        self._quiet = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._last: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [self._start(role) for role in (self._lead, self._depose, self._lock, self._make, self._work)]
        self._last = [self._start(role) for role in (self._pass, self._watch)]

    def _start(self, role: Callable[[], Coroutine[None, None, None]]) -> asyncio.Task[None]:
        return asyncio.create_task(role(), name=role.__name__)

    async def quiet(self) -> None:
        self._quiet.set()
        await self._end(self._tasks)

    async def stop(self) -> None:
        await self._end(self._last)
        for sc in (self._leading, self._sc):
            await sc.leases.end_leases()
            await sc.close()
        os.close(self._file)

    async def _end(self, tasks: list[asyncio.Task[None]]) -> None:
        _, late = await asyncio.wait(tasks, timeout=_WITHIN_S)
        for task in late:
            self._record("stuck", task.get_name(), 0, time.monotonic())
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def _record(self, kind: str, key: str, number: int, began_s: float, error: serr.SigmaError | None = None) -> None:
        outcome = type(error).__name__ if error is not None else OK
        record = Record(self._name, kind, key, number, began_s, time.monotonic(), outcome, str(error or ""))
        os.write(self._file, msgspec.json.encode(record) + b"\n")

    async def _change(self, kind: str, key: str, number: int, call: Awaitable[object]) -> str:
        """The outcome of a call, which is recorded."""
        began_s = time.monotonic()
        try:
            await call
        except serr.SigmaError as error:
            self._record(kind, key, number, began_s, error)
            return type(error).__name__
        self._record(kind, key, number, began_s)
        return OK

    def _pn(self, *names: str) -> str:
        return "/".join([self._run.directory, *names])

    async def _lead(self) -> None:
        """Leads for a while, writes under its fence, and goes on to write when it leads no more, until it is
        refused."""
        sc = self._leading
        while not self._quiet.is_set():
            leader, began_s = AsyncLeaderClnt(sc, self._pn("leader")), time.monotonic()
            try:
                fence = await leader.lead_and_fence(self._name.encode(), [self._pn("entries")], _TRY_S)
            except serr.SigmaError:
                await asyncio.sleep(_PAUSE_S)
                continue
            self._record("lead", "", fence.epoch, began_s)
            for number in range(self._chance.randint(3, 30)):
                name = f"{fence.epoch}-{self._name}-{number}"
                call = sc.put_file(self._pn("entries", name), b"", mode=OWRITE | OEXCL)
                if await self._change("write", name, fence.epoch, call) == "Stale":
                    break
                await asyncio.sleep(_PAUSE_S)
            with contextlib.suppress(serr.SigmaError):
                await leader.release_leadership()
            await leader.unfence()
            await asyncio.sleep(_PAUSE_S)

    async def _depose(self) -> None:
        """Now and then takes the leadership from whoever has it, as an operator could, or the end of a lease."""
        while not self._quiet.is_set():
            await asyncio.sleep(self._chance.uniform(0.2, 1.0))
            with contextlib.suppress(serr.SigmaError):
                await self._sc.remove(self._pn("leader"))

    async def _lock(self) -> None:
        while not self._quiet.is_set():
            lock = AsyncLock(self._sc, self._pn("lock"))
            try:
                await lock.acquire(_TRY_S)
                began_s = time.monotonic()
                version = (await self._sc.stat(self._pn("lock"))).qid.version
                if lock.is_held:
                    self._record("held", "", version, began_s)
                    await self._work_locked(lock, version)
                await lock.release()
            except serr.SigmaError:
                await asyncio.sleep(_PAUSE_S)
            await asyncio.sleep(_PAUSE_S)

    async def _work_locked(self, lock: AsyncLock, version: int) -> None:
        for number in range(self._chance.randint(1, 8)):
            name, began_s = f"{version}-{self._name}-{number}", time.monotonic()
            await self._sc.put_file(self._pn("locked", name), b"", mode=OWRITE | OEXCL)
            written_s = time.monotonic()
            if not lock.is_held:
                return
            self._record("locked", name, version, began_s)
            self._record("held", "", version, written_s)
            await asyncio.sleep(_PAUSE_S)

    async def _make(self) -> None:
        """Files come, and some go again."""
        number = 0
        while not self._quiet.is_set():
            number += 1
            name = f"{self._name}-{number}"
            outcome = await self._change("make", name, 0, self._sc.put_file(self._pn("files", name), b""))
            if outcome == OK and number % 3 == 0:
                await self._change("unmake", name, 0, self._sc.remove(self._pn("files", name)))
            await asyncio.sleep(_PAUSE_S)

    async def _work(self) -> None:
        clnt = AsyncFtTaskClnt(self._sc, self._run.service_id)
        while not self._quiet.is_set():
            began_s = time.monotonic()
            try:
                ids = (await clnt.acquire_tasks(wait=False, limit=2)).ids
            except serr.SigmaError:
                ids = []
            for number in ids:
                self._record("acquire", "", number, began_s)
                await asyncio.sleep(self._chance.random() * _PAUSE_S)
                await self._change("output", "", number, clnt.add_task_outputs({number: self._name.encode()}))
            await asyncio.sleep(_PAUSE_S)

    async def _pass(self) -> None:
        """Waits at all semaphores, one after the other."""
        for number in range(self._run.semaphores_count):
            semaphore, began_s = AsyncSemaphore(self._sc, self._pn("semaphores", str(number))), time.monotonic()
            while True:
                try:
                    await semaphore.down()
                    break
                except serr.SigmaError:
                    await asyncio.sleep(_PAUSE_S)
            self._record("down", str(number), 0, began_s)

    async def _watch(self) -> None:
        """Keeps a view of the files that come and go: from a listing, and then from the watch, for as long as it
        lasts."""
        view: set[str] = set()
        began_s = time.monotonic()
        while LAST not in view:
            try:
                async with self._sc.watch_dir(self._pn("files")) as watch:
                    view = {stat.name for stat in await self._sc.get_dir(self._pn("files"))}
                    while LAST not in view:
                        self._apply(view, await watch.read())
            except serr.SigmaError:
                await asyncio.sleep(_PAUSE_S)
        self._record("view", " ".join(sorted(view)), 0, began_s)

    def _apply(self, view: set[str], events: list[WatchEvent]) -> None:
        for event in events:
            (view.add if event.kind == "created" else view.discard)(event.name)


async def _main(process: ProcessRequest) -> None:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    roles: Roles | None = None
    while line := (await reader.readline()).strip():
        match line, roles:
            case b"quiet", Roles():
                await roles.quiet()
                answer = "quiet"
            case b"stop", Roles():
                await roles.stop()
                answer = "stopped"
            case _:
                roles = Roles(process, msgspec.json.decode(line, type=RunRequest))
                roles.start()
                answer = "works"
        print(answer, flush=True)
    await close_channels()


if __name__ == "__main__":
    asyncio.run(_main(msgspec.json.decode(sys.argv[1], type=ProcessRequest)))
