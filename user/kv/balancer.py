"""The balancer of a store: ``balancer PROCS JOB``, PROCS being the name of its group of procs.

Of three one leads; it alone writes the configuration, under its fence.

What it is to bring about stands in the configuration: which groups join or leave, which shards are to move. So whoever
leads next goes on where it was left.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any, Final

import msgspec

from sigmaos_ray import SigmaClnt, Status, crash, debug, serr
from sigmaos_ray.ft.leading import Leadership
from sigmaos_ray.proc import Proc
from sigmaos_ray.protsrv.devices import CommandNode
from sigmaos_ray.rpcclnt import AsyncRPCClnt
from sigmaos_ray.sigmasrv import SigmaSrv
from user.kv import config as cfg
from user.kv import kv_pb2 as pb
from user.kv.copies import remove_copies
from user.kv.fleet import BALANCER_MCPU, Fleet, members
from user.kv.keys import SHARDS_COUNT
from user.kv.monitor import Monitor
from user.kv.paths import CONTROL, MOVER_PROGRAM, KvPaths, group_number

if TYPE_CHECKING:
    from collections.abc import Callable

    from sigmaos_ray import AsyncSigmaClnt
    from sigmaos_ray.rpcsrv import RpcContext
    from user.kv.changes import Number
    from user.kv.config import KvConfig, ShardMove

USAGE: Final = "usage: balancer PROCS JOB"
_POST_TRIES_MAX: Final = 10
_PAUSE_S: Final = 0.5
_SERVER_START_TIMEOUT_S: Final = 60.0
_log = debug.selector("KVBAL")


def main(argv: list[str]) -> Status | None:
    if len(argv) != 2:
        sys.exit(USAGE)
    paths = KvPaths(argv[1])
    with SigmaClnt() as sc:
        sc.started()
        balancer = Balancer(sc.asynchronous, paths)
        if not sc.run(balancer.start()):
            return Status.evicted()
        control = CommandNode(CONTROL, 0x100, balancer.control)
        server = SigmaSrv(paths.balancer, KvBalancer(balancer), sc=sc, replace=True, devices=[control])
        with server, crash.arm("KVBALANCER_CRASH"), crash.arm("KVBALANCER_PARTITION", lambda: sc.disconnect("name")):
            sc.wait_evict()
        sc.run(balancer.stop())
        return Status.evicted()


class Balancer:
    """The balancer that leads. One thing is brought about at a time."""

    def __init__(self, sc: AsyncSigmaClnt, paths: KvPaths) -> None:
        self._sc = sc
        self._paths = paths
        self._leadership = Leadership(sc, paths.balancer_elect, [paths.dir])
        self._fleet = Fleet(sc, paths)
        self._config: KvConfig = cfg.KvConfig()
        self._busy = asyncio.Lock()
        self._posting = asyncio.Lock()
        self._tasks: list[asyncio.Task[Any]] = []
        self._servers: dict[str, AsyncRPCClnt] = {}
        self.longest_move_s = 0.0

    @property
    def config(self) -> KvConfig:
        return self._config

    @property
    def paths(self) -> KvPaths:
        return self._paths

    async def start(self) -> bool:
        """Returns once this one leads; False if it is evicted before, or is nobody's: then it must not lead."""
        sc, paths = self._sc, self._paths
        if not await self._leadership.lead():
            return False
        if sc.pid not in await members(sc, paths.balancers):
            await self.stop()
            return False
        try:
            self._config = cfg.decode(await sc.get_file(paths.config), paths.config)
        except serr.NotFound:
            self._leadership.die(f"{paths.config} is gone")
        await self._write(self._config)
        for work, name in ((self._recover(), "kv-recover"), (Monitor(self).run(), "kv-monitor")):
            self._tasks.append(asyncio.create_task(work, name=name))
        return True

    async def stop(self) -> None:
        """Resigns; servers go on."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._fleet.abandon()
        await self._leadership.resign()

    async def _recover(self) -> None:
        """Goes on where the last balancer was."""
        while True:
            try:
                async with self._busy:
                    await self._fleet.keep_balancers()
                    await self._settle()
                return
            except serr.Stale as error:
                self._leadership.die(str(error))
            except serr.SigmaError as error:
                debug.error(f"kv {self._paths.job}: {error}")
                await asyncio.sleep(_PAUSE_S)

    # -- what is asked

    async def add(self, group: str, members_count: int) -> str:
        """Blocks until the group has its share. The name of the group, chosen here if it is empty."""
        async with self._busy:
            name = group or f"grp-{next_number(self._config)}"
            description = cfg.Group(max(members_count, 1))
            await self._post(lambda config: config.with_group(name, description))
            await self._settle()
        return name

    async def remove(self, group: str) -> None:
        """Blocks until the group's shards are elsewhere, and its procs are gone."""
        async with self._busy:
            await self._post(lambda config: config.without_group(group))
            await self._settle()

    async def control(self, command: str) -> None:
        """What is written into ``ctl``: ``add GROUP`` or ``del GROUP``. Inval for anything else; Retry while something
        else is brought about."""
        match command.split():
            case ["add" | "del" as verb, group]:
                group_number(group)
            case _:
                raise serr.Inval(command.strip(), "a command is `add grp-<number>` or `del grp-<number>`")
        if self._busy.locked():
            raise serr.Retry(self._paths.job, "the balancer is busy")
        change = self.add(group, max(self._config.auto.members, 1)) if verb == "add" else self.remove(group)
        changing: asyncio.Task[object] = asyncio.create_task(change, name="kv-control")
        self._tasks.append(changing)
        try:
            await asyncio.shield(changing)  # it goes on when the writer goes
        finally:
            if changing.done():
                self._tasks.remove(changing)

    async def set_auto(self, auto: cfg.Auto) -> None:
        """From now on servers come and go by load; or no longer."""
        async with self._busy:
            await self._post(lambda config: msgspec.structs.replace(config, auto=auto))

    def server(self, group: str) -> AsyncRPCClnt:
        """The way to a group's leader."""
        return self._servers.setdefault(group, AsyncRPCClnt(self._sc, self._paths.group(group)))

    def starts_count(self, group: str) -> int:
        return self._fleet.starts_count(group)

    # -- bringing it about

    async def _post(self, change: Callable[[KvConfig], KvConfig]) -> None:
        """Writes the next configuration, if the change makes a difference. Stale ends this balancer: another one
        leads."""
        async with self._posting:
            config = change(self._config)
            if config is not self._config:
                await self._write(config)

    async def _write(self, config: KvConfig) -> None:
        config = msgspec.structs.replace(config, epoch=self._leadership.fence.epoch, seqno=self._next_number()[1])
        for attempt in range(_POST_TRIES_MAX):
            try:
                await self._sc.put_file(self._paths.config, cfg.encode(config))
                break
            except serr.Stale as error:
                self._leadership.die(str(error))
            except serr.SESSION_ERRORS as error:  # again is the same: the whole file, under the fence
                _log(f"{self._paths.config}: {error}")
                if attempt == _POST_TRIES_MAX - 1:
                    self._leadership.die(f"cannot write {self._paths.config}: {error}")
                await asyncio.sleep(_PAUSE_S)
        self._config = config

    def _next_number(self) -> Number:
        return self._leadership.fence.epoch, self._config.seqno + 1

    async def _settle(self) -> None:
        """Makes things as the configuration says."""
        for group, description in self._config.groups.items():
            await self._fleet.keep(group, description, self._config.mcpu)
        for group in self._config.of_state(cfg.JOINING):
            await self._join(group)
        await self._post(lambda config: config.planned(self._next_number()))
        while self._config.moves:
            await self._move(self._config.moves)
        for group in self._config.of_state(cfg.LEAVING):
            await self._let_go(group)

    async def _join(self, group: str) -> None:
        await self._wait_serves(group)
        if all(each == cfg.NOBODY for each in self._config.shards):
            epoch, seqno = self._next_number()
            shards = pb.ShardsRequest(shards=range(SHARDS_COUNT), number=pb.Number(epoch=epoch, seqno=seqno))
            await self.server(group).rpc("KvMove.Create", shards, pb.NothingReply, _SERVER_START_TIMEOUT_S)
        await self._post(lambda config: config.activated(group))

    async def _wait_serves(self, group: str) -> None:
        """Timeout if it does not in a minute."""
        try:
            async with asyncio.timeout(_SERVER_START_TIMEOUT_S):
                await self._sc.wait_create(self._paths.group(group))
                while True:
                    try:
                        await self.server(group).rpc("KvMove.Stats", pb.NothingRequest(), pb.ServerStatsReply)
                        return
                    except (serr.NotFound, *serr.SESSION_ERRORS) as error:
                        _log(f"{group}: {error}")
                        await asyncio.sleep(_PAUSE_S / 10)
        except TimeoutError as error:
            fates = await self._fleet.fates(group)
            raise serr.Timeout(group, f"does not serve after {_SERVER_START_TIMEOUT_S:g} s; {fates}") from error

    async def _move(self, moves: list[ShardMove]) -> None:
        """A mover for each pair of servers; what has moved is posted as each of them ends."""
        batches: dict[tuple[str, str, Number], list[ShardMove]] = {}
        for move in moves:
            batches.setdefault((move.src, move.dst, move.number), []).append(move)
        async with asyncio.TaskGroup() as group:
            for batch in batches.values():
                group.create_task(self._run_mover(batch), name="kv-mover")

    async def _run_mover(self, batch: list[ShardMove]) -> None:
        """Movers, until one has done it all."""
        move = batch[0]
        args = [self._paths.job, move.src, move.dst, *map(str, move.number), *(str(each.shard) for each in batch)]
        while True:
            proc = Proc(MOVER_PROGRAM, args, mcpu=BALANCER_MCPU)
            try:
                await self._sc.spawn(proc)
                status = await self._sc.wait_exit(proc.pid)
            except serr.SESSION_ERRORS as error:  # its schedd is away; movers do not mind each other
                status = Status.err(str(error))
            if status.is_ok():
                break
            debug.error(f"kv {self._paths.job}: mover {move.src} to {move.dst}: {status}")
            await asyncio.sleep(_PAUSE_S)
        if isinstance(status.data, dict):
            self.longest_move_s = max(self.longest_move_s, float(status.data.get("longest_s", 0)))
        await self._post(lambda config: config.moved(batch))

    async def _let_go(self, group: str) -> None:
        await self._fleet.end(group)
        await remove_copies(self._sc, self._paths, group)
        self._servers.pop(group, None)
        await self._post(lambda config: config.forgotten(group))


def next_number(config: KvConfig) -> int:
    """The lowest number that no group has."""
    return next(number for number in range(len(config.groups) + 1) if f"grp-{number}" not in config.groups)


class KvBalancer:
    """What is asked of a balancer."""

    def __init__(self, balancer: Balancer) -> None:
        self._balancer = balancer

    async def Add(self, ctx: RpcContext, request: pb.AddRequest) -> pb.GroupReply:
        """Adds a group of servers; returns once it has its share of the shards. One that is there is fine."""
        return pb.GroupReply(group=await self._balancer.add(request.group, request.members))

    async def Remove(self, ctx: RpcContext, request: pb.RemoveRequest) -> pb.GroupReply:
        """Removes a group; returns once others have its shards. One that is not there is fine; Inval for the last."""
        await self._balancer.remove(request.group)
        return pb.GroupReply(group=request.group)

    async def Auto(self, ctx: RpcContext, request: pb.AutoRequest) -> pb.NothingReply:
        """Lets servers come and go by load; with no ``groups_max``, no longer."""
        await self._balancer.set_auto(cfg.Auto(request.groups_max, max(request.members, 1)))
        return pb.NothingReply()

    async def Stats(self, ctx: RpcContext, request: pb.NothingRequest) -> pb.JobStatsReply:
        """How all groups are."""
        config = self._balancer.config
        groups = await asyncio.gather(*(self._stats_of(group) for group in sorted(config.groups)))
        return pb.JobStatsReply(
            epoch=config.epoch,
            seqno=config.seqno,
            moves=len(config.moves),
            groups=groups,
            longest_move_s=self._balancer.longest_move_s,
        )

    async def _stats_of(self, group: str) -> pb.GroupStats:
        state = self._balancer.config.groups[group].state
        starts = self._balancer.starts_count(group)
        try:
            server = await self._balancer.server(group).rpc("KvMove.Stats", pb.NothingRequest(), pb.ServerStatsReply, 5)
        except serr.SigmaError as error:
            return pb.GroupStats(group=group, state=state, trouble=str(error), starts=starts)
        return pb.GroupStats(group=group, state=state, server=server, starts=starts)
