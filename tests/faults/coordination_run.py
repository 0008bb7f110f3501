"""Nameds on an etcd of their own, task servers and processes of clients, to be troubled as a plan says; and the check
of what all of them recorded."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import aetcd
import libfaketime
import msgspec
from coordination_clients import LAST, LEASE_S, ProcessRequest, RunRequest
from coordination_history import FinalState, Record, check, read
from cutter import Cutter
from nameds import Nameds

from sigmaos_ray import serr
from sigmaos_ray.ft.fttask import AsyncFtTaskClnt, TaskStatus
from sigmaos_ray.instance import Instance
from sigmaos_ray.sigmap import STATSD, Endpoint

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence
    from types import TracebackType

    from coordination_plan import Fault, Step
    from etcd_child import EtcdChild
    from nameds import NamedChild

    from sigmaos_ray.sigmaclnt import AsyncSigmaClnt

WITHIN_S: Final = 60.0
_LOOK_S: Final = 0.1
_NAMEDS_COUNT: Final = 3
_TASKS_PER_RUN: Final = 40
_SERVICE: Final = "coordination"
_SLOW_S: Final = (0.01, 0.05, 0.15)
_JUMPS_S: Final = (-86400, -3600, -30, 30, 3600, 86400)


class Clock:
    """The wall clock of some processes; their steady clock, and that of etcd, goes on as it does."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.jump(0)

    @property
    def environ(self) -> dict[str, str]:
        library = Path(libfaketime.__file__).parent / "vendor/libfaketime/src/libfaketime.so.1"
        return {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def jump(self, by_s: int) -> None:
        """Sets it to the true time and so many seconds."""
        temporary = self._file.with_suffix(".new")
        temporary.write_text(f"{by_s:+d}s\n")
        temporary.replace(self._file)


class Child:
    """A process of ours behind a link to named, that is started anew when it was killed."""

    def __init__(self, script: str, link: Cutter, arguments: Callable[[], Sequence[str]], clock: Clock | None) -> None:
        self._script = str(Path(__file__).with_name(script))
        self._arguments = arguments
        self._environ = clock.environ if clock is not None else None
        self.link = link
        self.process: asyncio.subprocess.Process | None = None

    @property
    def lives(self) -> bool:
        return self.process is not None and self.process.returncode is None

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            self._script,
            *self._arguments(),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=os.environ | (self._environ or {}),
        )

    async def ask(self, line: bytes) -> str:
        """The answer to a line."""
        assert self.process is not None
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(line + b"\n")
        answer = await asyncio.wait_for(self.process.stdout.readline(), WITHIN_S)
        assert answer, f"{self._script} ended: {self.process.returncode}"
        return answer.decode().strip()

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    async def end(self, *, kill: bool) -> None:
        assert self.process is not None
        assert self.process.stdin is not None
        if kill:
            _send(self, signal.SIGKILL)
        self.process.stdin.close()
        await asyncio.wait_for(self.process.wait(), WITHIN_S)


class Coordination:
    """An async context manager. ``run`` may be called again and again: what died is replaced."""

    def __init__(self, etcd: EtcdChild, directory: Path, clients_count: int = 3, tasks_count: int = 2) -> None:
        self._etcd = etcd
        self._directory = directory
        self._clocks = {name: Clock(directory / f"clock-{name}") for name in ("nameds", "clients")}
        self._nameds = Nameds(etcd.endpoint, directory, count=_NAMEDS_COUNT, environ=self._clocks["nameds"].environ)
        self._stack = contextlib.AsyncExitStack()
        self._lives_count = 0
        self._runs_count = 0
        self._clients_count, self._tasks_count = clients_count, tasks_count
        self._clients: list[Child] = []
        self._servers: list[Child] = []
        self._request: RunRequest | None = None
        self._sc: AsyncSigmaClnt | None = None
        self._final = FinalState()
        self._keeper: asyncio.Task[None] | None = None
        self._closing = False

    @property
    def sc(self) -> AsyncSigmaClnt:
        assert self._sc is not None
        return self._sc

    async def __aenter__(self) -> Self:
        stack = self._stack
        await stack.enter_async_context(self._nameds)
        self._sc = await self._nameds.clnt()
        for number in range(self._clients_count + self._tasks_count):
            link = await stack.enter_async_context(Cutter((await self._nameds.leader()).address))
            state_file = self._write_state(f"link-{number}", link)
            if number < self._clients_count:
                child = Child(
                    "coordination_clients.py", link, self._naming(number, state_file), self._clocks["clients"]
                )
                self._clients.append(child)
            else:
                arguments = [state_file, self._nameds.realm, _SERVICE]
                child = Child("coordination_tasks.py", link, lambda arguments=arguments: arguments, None)  # type: ignore[misc]
                self._servers.append(child)
        stack.push_async_callback(_cancel_and_wait, asyncio.create_task(self._follow(), name="links"))
        await asyncio.gather(*(child.start() for child in (*self._clients, *self._servers)))
        self._keeper = asyncio.create_task(self._keep(), name="keeper")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._end_keeping()
        children = [child for child in (*self._clients, *self._servers) if child.lives]
        await asyncio.gather(*(child.end(kill=kind is not None) for child in children))
        try:
            if kind is None:
                await self._check_sessions()
        finally:
            await self._stack.aclose()

    def _naming(self, number: int, state_file: str) -> Callable[[], Sequence[str]]:
        def arguments() -> Sequence[str]:
            self._lives_count += 1
            process = f"c{number}x{self._lives_count}"
            request = ProcessRequest(state_file=state_file, realm=self._nameds.realm, process=process)
            return [msgspec.json.encode(request).decode()]

        return arguments

    def _write_state(self, name: str, link: Cutter) -> str:
        """The state file of a process whose way to named is a link."""
        file = self._directory / f"{name}.json"
        endpoint = Endpoint(addrs=(link.address,))
        instance = Instance(realm=self._nameds.realm, state_dir=str(self._directory), boot_pid=0, named=endpoint)
        file.write_bytes(instance.to_json())
        return str(file)

    async def _follow(self) -> None:
        """All links lead to the leader."""
        current = ""
        while True:
            with contextlib.suppress(TimeoutError):
                candidates = await self._nameds.until(
                    lambda nameds: bool(nameds) and nameds[0].serves and nameds[0].endpoint.addrs[0] != current  # noqa: B023
                )
                current = candidates[0].endpoint.addrs[0]
                for child in (*self._clients, *self._servers):
                    child.link.lead_to(current)

    async def run(self, seed: int, steps: Iterable[Step]) -> tuple[list[Record], list[str]]:
        """What was recorded, and what must not have happened."""
        self._runs_count += 1
        name = f"run{self._runs_count}"
        steps = list(steps)
        await self._prepare(name, seed, len(steps))
        for number, step in enumerate(steps):
            await asyncio.sleep(step.pause_s)
            await self._trouble(step)
            await self._raise(number)
        await self._quieten(name)
        records = read(self._directory.glob(f"{name}-*.jsonl"))
        await self._look(name)
        return records, check(records, self._final)

    async def _prepare(self, name: str, seed: int, semaphores_count: int) -> None:
        directory = f"name/ux/{name}"
        self._final = FinalState()
        self._request = RunRequest(
            directory=directory, records="", seed=seed, semaphores_count=semaphores_count, service_id=_SERVICE
        )
        await self.sc.mkdir(directory)
        for part in ("entries", "locked", "files", "semaphores"):
            await self.sc.mkdir(f"{directory}/{part}")
        for number in range(semaphores_count):
            await self.sc.put_file(f"{directory}/semaphores/{number}", b"")
        await self._tasks().submit_tasks(dict.fromkeys(self._task_ids(), b""))
        await asyncio.gather(*(self._employ(number) for number in range(self._clients_count)))

    def _tasks(self) -> AsyncFtTaskClnt:
        return AsyncFtTaskClnt(self.sc, _SERVICE)

    def _task_ids(self) -> range:
        return range(self._runs_count * 1000, self._runs_count * 1000 + _TASKS_PER_RUN)

    async def _employ(self, number: int) -> None:
        assert self._request is not None
        name = self._request.directory.rpartition("/")[2]
        self._lives_count += 1
        file = self._directory / f"{name}-{number}-{self._lives_count}.jsonl"
        request = msgspec.structs.replace(self._request, records=str(file))
        assert await self._clients[number].ask(msgspec.json.encode(request)) == "works"

    async def _keep(self) -> None:
        """What boot and the managers of groups do: who ended is replaced."""
        nameds = self._nameds.children
        while not self._closing:
            for named in [named for named in nameds if named.process.returncode is not None]:
                nameds.remove(named)
                await named.end()
            if len(nameds) < _NAMEDS_COUNT:
                with contextlib.suppress(AssertionError):  # it could not start: tried again
                    await self._nameds.add()
            for server in self._servers:
                if not server.lives:
                    await server.start()
            await asyncio.sleep(_LOOK_S)

    async def _end_keeping(self) -> None:
        """Not in the middle of a replacement."""
        self._closing = True
        assert self._keeper is not None
        await self._keeper

    async def _leader(self) -> NamedChild:
        """The one that leads and serves, of those that live then."""
        async with asyncio.timeout(WITHIN_S):
            while True:
                candidates = await self._nameds.until(lambda nameds: bool(nameds) and nameds[0].serves)
                for child in self._nameds.children:
                    if child.address == candidates[0].endpoint.addrs[0] and child.process.returncode is None:
                        return child
                await asyncio.sleep(_LOOK_S)

    async def _trouble(self, step: Step) -> None:
        """All faults of a step at once; returns when they are over and the dead are replaced."""
        leader = await self._leader()
        await asyncio.gather(*(self._befall(fault, leader) for fault in step.faults))
        await self._mend()

    async def _befall(self, fault: Fault, leader: NamedChild) -> None:
        followers = [child for child in self._nameds.children if child is not leader]
        victims: dict[str, NamedChild | Child] = {
            "leader": leader,
            "follower": followers[fault.draw % len(followers)] if followers else leader,
            "client": self._clients[fault.draw % len(self._clients)],
            "tasks": self._servers[fault.draw % len(self._servers)],
        }
        match fault.how, fault.whom:
            case "kill", "etcd":
                await asyncio.to_thread(self._etcd.kill)
                await asyncio.to_thread(self._etcd.start)
            case "slow", _:
                await self._slow_down(_SLOW_S[fault.draw % len(_SLOW_S)], fault.lasts_s)
            case "full", _:
                await fill_up(self._etcd.endpoint, fault.lasts_s)
            case "jump", whom:
                self._clocks[whom].jump(_JUMPS_S[fault.draw % len(_JUMPS_S)])
            case "kill", whom:
                _send(victims[whom], signal.SIGKILL)
                await _wait_ended(victims[whom])
            case "stop", whom:
                _send(victims[whom], signal.SIGSTOP)
                await asyncio.sleep(fault.lasts_s)
                _send(victims[whom], signal.SIGCONT)
            case "cut", whom:
                await _cut(victims[whom].link, fault.lasts_s)

    async def _slow_down(self, by_s: float, lasts_s: float) -> None:
        links = [child.link for child in self._nameds.children]
        for link in links:
            link.delay_s = by_s
        await asyncio.sleep(lasts_s)
        for link in links:
            link.delay_s = 0.0

    async def _mend(self) -> None:
        """Returns once somebody leads; clients that were killed take part anew."""
        await self._leader()
        for number, client in enumerate(self._clients):
            if not client.lives:
                await client.start()
                await self._employ(number)

    async def _insist(self, call: Callable[[], Awaitable[object]], done: type[serr.SigmaError]) -> None:
        """Until it is known to have taken effect."""
        deadline_s = time.monotonic() + WITHIN_S
        while True:
            try:
                await call()
                return
            except done:
                return
            except serr.SigmaError:
                if time.monotonic() > deadline_s:
                    raise
                await asyncio.sleep(_LOOK_S)

    async def _raise(self, number: int) -> None:
        assert self._request is not None
        self._final.raised_s[str(number)] = time.monotonic()
        pn = f"{self._request.directory}/semaphores/{number}"
        await self._insist(lambda: self.sc.remove(pn), serr.NotFound)

    async def _quieten(self, name: str) -> None:
        await self._mend()
        for client in self._clients:
            assert client.lives
        assert set(await asyncio.gather(*(client.ask(b"quiet") for client in self._clients))) == {"quiet"}
        await self._insist(lambda: self.sc.put_file(f"name/ux/{name}/files/{LAST}", b""), serr.Exists)
        assert set(await asyncio.gather(*(client.ask(b"stop") for client in self._clients))) == {"stopped"}

    async def _look(self, name: str) -> None:
        """What is there now. Tasks that a client left are done by us."""
        directory, final = f"name/ux/{name}", self._final
        final.entries = await self._versions(f"{directory}/entries")
        final.locked = await self._versions(f"{directory}/locked")
        final.files = [stat.name for stat in await self.sc.get_dir(f"{directory}/files")]
        tasks = self._tasks()
        await tasks.move_tasks_by_status(TaskStatus.WIP, TaskStatus.TODO)
        while ids := (await tasks.acquire_tasks(wait=False, limit=0)).ids:
            await tasks.add_task_outputs(dict.fromkeys(ids, b"the run's end"))
        outputs = await tasks.get_task_outputs(self._task_ids())
        final.tasks_done = {number: output.decode() for number, output in outputs.items()}
        for leased in ("leader", "lock"):
            try:
                await self.sc.wait_remove(f"{directory}/{leased}", 5 * LEASE_S)
            except serr.Timeout:
                final.left_behind.append(f"{directory}/{leased}")
        await self.sc.rmdir(directory)

    async def _versions(self, directory: str) -> dict[str, int]:
        return {stat.name: stat.qid.version for stat in await self.sc.get_dir(directory)}

    async def _check_sessions(self) -> None:
        """Of the clients that ended nothing is left in named: no session, no fid."""
        deadline_s = time.monotonic() + WITHIN_S
        while True:
            stats = await self.sc.get_file_json(f"name/{STATSD}")
            if stats["session_count"] == 1 and stats["fid_count"] <= 5:
                return
            assert time.monotonic() < deadline_s, f"left behind in named: {stats}"
            await asyncio.sleep(_LOOK_S)


async def fill_up(endpoint: str, lasts_s: float) -> None:
    """etcd's own alarm that its space is used up, for a while; without an etcd, nothing."""
    host, _, port = endpoint.rpartition(":")
    client = aetcd.Client(host, int(port), timeout=5)
    await client.connect()
    try:
        with contextlib.suppress(aetcd.exceptions.ClientError):
            await client.create_alarm()
            await asyncio.sleep(lasts_s)
        while True:
            try:
                await client.disarm_alarm()
                return
            except aetcd.exceptions.ClientError:  # it is being started
                await asyncio.sleep(_LOOK_S)
    finally:
        await client.close()


def _send(victim: NamedChild | Child, number: signal.Signals) -> None:
    """It may have ended by itself: nameds and task servers do when they lose their leadership."""
    with contextlib.suppress(ProcessLookupError):
        victim.send(number)


async def _wait_ended(victim: NamedChild | Child) -> None:
    """The loop hears of a child's end a little later than it ends."""
    assert victim.process is not None
    await victim.process.wait()


async def _cut(link: Cutter, lasts_s: float) -> None:
    link.down = True
    link.cut()
    await asyncio.sleep(lasts_s)
    link.down = False


async def _cancel_and_wait(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.result()
