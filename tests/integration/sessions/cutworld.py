"""A client whose threads and tasks work at once, on a session whose connections are cut at random; and a look at what
came of each call."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

from cutter import Cutter
from msgspec.structs import replace

from sigmaos_ray import config as configuration
from sigmaos_ray import loopthread, serr
from sigmaos_ray.blocking import FsLib
from sigmaos_ray.config import ProcEnv
from sigmaos_ray.fslib import AsyncFsLib
from sigmaos_ray.memfs import MemFs
from sigmaos_ray.pb.rpc_pb2 import RpcReply, RpcRequest
from sigmaos_ray.protsrv.server import FileServer
from sigmaos_ray.protsrv.watch import WatchTable
from sigmaos_ray.rpcclnt import AsyncRPCClnt, RPCClnt
from sigmaos_ray.sigmap import OAPPEND, OWRITE, Endpoint

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from sigmaos_ray.rpcsrv import RpcContext

THREADS_COUNT: Final = 4
TASKS_COUNT: Final = 3
CALLS_COUNT: Final = 40
"""Of each thread and task."""
ENDS_S: Final = 120.0

NEVER, MAYBE, ONCE = "never", "maybe", "once"
"""How often a call ran, as its caller knows it."""


class Counting:
    """A service that counts."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    async def Add(self, ctx: RpcContext, request: RpcRequest) -> RpcReply:
        self.counts[request.method] += 1
        if len(self.counts) % 3 == 0:
            await asyncio.sleep(0.001)  # some are cut while they run
        return RpcReply(raised=request.method)


class BlockingFs(FsLib):
    """A blocking client of its own settings."""

    def __init__(self, clnt: AsyncFsLib) -> None:
        self._clnt = clnt

    @property
    def asynchronous(self) -> AsyncFsLib:
        return self._clnt

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return loopthread.shared().run(coroutine)


class CutWorld:
    """One run. ``kind`` of the main connection; those beside it are plain. ``dies``: sessions end soon without a main
    connection, else they last whatever is cut; ``stops``: the server does, in the middle."""

    def __init__(self, seed: int, kind: str, *, dies: bool = False, stops: bool = False) -> None:
        self.seed = seed
        self.dice = random.Random(seed)
        self.kind = kind
        self.dies = dies
        self.stops = stops
        self.counting = Counting()
        self.fates: dict[str, str] = {}
        """Of appends and RPCs, by what they wrote or called."""
        self.put: dict[str, list[str]] = {}
        """By worker: what its file may hold."""
        self.calls_count = 0
        """Calls that returned, whatever came of them."""
        self.has_stopped = False
        self.wrong: list[str] = []

    # -- what there is

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return loopthread.shared().run(coroutine)

    async def start(self) -> None:
        config = self._config()
        watches = WatchTable()
        root = MemFs(watches).root
        self.server = FileServer(root, watches, services=[self.counting], config=config)
        self.looking = FileServer(root, watches)
        endpoint = await self.server.start()
        [(address, plain_address)] = endpoint.plain
        self.main = await Cutter(address if self.kind == "grpc" else plain_address).__aenter__()
        self.beside = await Cutter(plain_address).__aenter__()
        # The endpoint says nothing of plain connections where the main one is to be a stream: the welcome does then.
        self.server._sessions.plain_address = self.beside.address
        plain = () if self.kind == "grpc" else ((self.main.address, self.main.address),)
        named = Endpoint(addrs=(self.main.address,), plain=plain)
        self.clnt = AsyncFsLib(ProcEnv(pid="mix", named=named), config)
        self.blocking = BlockingFs(self.clnt)

    def _config(self) -> configuration.Config:
        base = configuration.current()
        session = replace(base.session, resume_timeout_s=30.0, session_timeout_s=60.0, connect_timeout_s=10.0)
        if self.dies:
            session = replace(base.session, resume_timeout_s=0.1, session_timeout_s=0.2)
        elif self.stops:
            session = replace(session, resume_timeout_s=1.0)
        patience_s = 0.5 if self.dies or self.stops else 30.0
        return replace(base, session=session, walk=replace(base.walk, patience_s=patience_s))

    async def stop(self) -> None:
        await self.clnt.close_fs()
        for cutter in (self.main, self.beside):
            await cutter.__aexit__(None, None, None)
        await self.server.stop()
        await self.looking.stop()

    # -- calls

    def work(self, name: str) -> None:
        """A thread's calls."""
        dice = random.Random(f"{self.seed} {name}")
        rpc = RPCClnt(self.blocking, "name/")
        for number in range(CALLS_COUNT):
            if not self._one(name, number, dice, rpc) and self.has_stopped:
                break
        rpc.close()

    def _one(self, name: str, number: int, dice: random.Random, rpc: RPCClnt) -> bool:
        sc, token = self.blocking, f"{name}.{number}"
        what = dice.randrange(4)
        try:
            if what == 0:
                self.fates[token] = MAYBE
                sc.put_file(f"name/log-{name}", f"{token}\n".encode(), mode=OWRITE | OAPPEND)
                self.fates[token] = ONCE
            elif what == 1:
                self.fates[token] = MAYBE
                reply = rpc.rpc("Counting.Add", RpcRequest(method=token), RpcReply)
                self.fates[token] = ONCE
                self._expect(reply.raised == token, f"{token}: the reply of {reply.raised}")
            elif what == 2:
                self._will_put(name, token, dice)
                sc.put_file(f"name/file-{name}", self.put[name][-1].encode())
                self.put[name] = self.put[name][-1:]
            else:
                self._look(name, sc.get_file(f"name/file-{name}").decode())
        except serr.SigmaError as error:
            self._failed(token, error)
            return False
        finally:
            self.calls_count += 1
        return True

    async def work_async(self, name: str) -> None:
        """A task's."""
        dice = random.Random(f"{self.seed} {name}")
        sc, rpc = self.clnt, AsyncRPCClnt(self.clnt, "name/")
        for number in range(CALLS_COUNT):
            token = f"{name}.{number}"
            what = dice.randrange(4)
            try:
                if what == 0:
                    self.fates[token] = MAYBE
                    await sc.put_file(f"name/log-{name}", f"{token}\n".encode(), mode=OWRITE | OAPPEND)
                    self.fates[token] = ONCE
                elif what == 1:
                    self.fates[token] = MAYBE
                    reply = await rpc.rpc("Counting.Add", RpcRequest(method=token), RpcReply)
                    self.fates[token] = ONCE
                    self._expect(reply.raised == token, f"{token}: the reply of {reply.raised}")
                elif what == 2:
                    self._will_put(name, token, dice)
                    await sc.put_file(f"name/file-{name}", self.put[name][-1].encode())
                    self.put[name] = self.put[name][-1:]
                else:
                    self._look(name, (await sc.get_file(f"name/file-{name}")).decode())
            except serr.SigmaError as error:
                self._failed(token, error)
                if self.has_stopped:
                    break
            self.calls_count += 1
        await rpc.close()

    def _will_put(self, name: str, token: str, dice: random.Random) -> None:
        self.put[name].append(token * dice.choice((1, 100, 10_000)))

    def _look(self, name: str, found: str) -> None:
        self._expect(found in self.put[name], f"{name} found {found[:40]!r} after {self.put[name][-1][:40]!r}")

    def _failed(self, token: str, error: serr.SigmaError) -> None:
        """Of a call that was not answered."""
        if token in self.fates and isinstance(error, serr.Unreachable):
            self.fates[token] = NEVER
        self._expect(isinstance(error, serr.SESSION_ERRORS), f"{token}: {error!r}")
        self._expect(self.dies or self.has_stopped, f"{token}: {error!r}, though the session lasts")

    def _expect(self, holds: bool, why: str) -> None:
        if not holds:
            self.wrong.append(why)

    # -- cuts

    async def cutting(self) -> None:
        """Until cancelled. Not faster than calls return: a session whose connections are of no use ends."""
        dice = self.dice
        stops_at = dice.randrange(20, 100) if self.stops else None
        while True:
            await self._returned(self.calls_count + dice.randrange(1, 15))
            await asyncio.sleep(dice.random() * 0.01)
            stops = stops_at is not None and self.calls_count >= stops_at
            if not stops or dice.random() < 0.5:
                self._cut(dice)
            if self.dies and dice.random() < 0.2:
                await self._kill_session()
            if stops:
                self.has_stopped = True
                await self.server.stop()
                return

    async def _returned(self, count: int) -> None:
        while self.calls_count < count:  # noqa: ASYNC110  # threads count
            await asyncio.sleep(0.001)

    def _cut(self, dice: random.Random) -> None:
        how = dice.randrange(5)
        if how in (0, 4):
            self.main.cut()
        if how in (1, 4):
            self.beside.cut()
        if how == 2:
            self.main.cut_one(dice)
        if how == 3:
            self.beside.cut_one(dice)

    async def _kill_session(self) -> None:
        """Nobody gets through until the server has given it up."""
        for cutter in (self.main, self.beside):
            cutter.down = True
            cutter.cut()
        while self.server.stats.session_count:  # noqa: ASYNC110  # a counter is looked at
            await asyncio.sleep(0.01)
        for cutter in (self.main, self.beside):
            cutter.down = False

    # -- all of it

    def go(self) -> None:
        """Runs it, and looks at what came of it."""
        self.run(self.start())
        names = [f"thread{n}" for n in range(THREADS_COUNT)] + [f"task{n}" for n in range(TASKS_COUNT)]
        for name in names:
            self.blocking.put_file(f"name/log-{name}", b"")
            self.put[name] = [""]
            self.blocking.put_file(f"name/file-{name}", b"")
        try:
            with ThreadPoolExecutor(THREADS_COUNT) as threads:
                cuts = self._on_loop(self.cutting())
                working = [threads.submit(self.work, name) for name in names[:THREADS_COUNT]]
                working += [self._on_loop(self.work_async(name)) for name in names[THREADS_COUNT:]]
                for each in working:
                    each.result(ENDS_S)
                cuts.cancel()
            assert not self.wrong, self.wrong[:5]
            # One that is cut as it is bound is tried again after a second, when all may be over.
            beside_count = self.beside.connections_count if self.kind == "grpc" else self.main.connections_count - 1
            assert beside_count, "no call went beside the main connection"
            # A server that stops may do so before the first cut.
            assert self.has_stopped or self.main.connections_count > 1, "nothing was cut"
            self._check(self.run(self._logs(names)))
        finally:
            self.run(self.stop())

    def _on_loop(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, loopthread.shared().loop)

    async def _logs(self, names: list[str]) -> dict[str, int]:
        """What was appended, and how often."""
        counts: Counter[str] = Counter()
        looking = AsyncFsLib(ProcEnv(pid="looking", named=await self.looking.start()))
        for name in names:
            counts.update((await looking.get_file(f"name/log-{name}")).decode().split())
        await looking.close_fs()
        return counts

    def _check(self, appended: dict[str, int]) -> None:
        for token, fate in self.fates.items():
            count = appended.get(token, 0) + self.counting.counts[token]
            wanted = {NEVER: (0,), MAYBE: (0, 1), ONCE: (1,)}[fate]
            assert count in wanted, f"{token} ran {count} times, and its caller knows {fate}"
