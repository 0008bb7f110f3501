"""The balancer of a store: ``balancer PROCS JOB``, PROCS being the name of its group of procs.

Of three one leads; it alone writes the configuration, under its fence.

What it is to bring about stands in the configuration before it begins: which groups join or leave, which shards are to
move. So whoever leads next goes on where it was left. Each step may be repeated: servers and movers take the second one
for the first.
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any, Final

import msgspec

from sigmaos_ray import SigmaClnt, Status, debug, serr
from sigmaos_ray.electsrv import serve_elected
from sigmaos_ray.ft.leading import Leadership
from sigmaos_ray.ft.procgroups import members_of
from sigmaos_ray.proc import Proc
from sigmaos_ray.protsrv.devices import CommandNode
from sigmaos_ray.rpcclnt import AsyncRPCClnt
from user.kv import config as cfg
from user.kv import kv_pb2 as pb
from user.kv.copies import remove_copies
from user.kv.fleet import Fleet
from user.kv.keys import SHARDS_COUNT
from user.kv.monitor import Monitor
from user.kv.paths import CONTROL, MOVER_PROGRAM, KvPaths, group_number
from user.kv.tuning import BALANCER

if TYPE_CHECKING:
    from collections.abc import Callable

    from sigmaos_ray import AsyncSigmaClnt
    from sigmaos_ray.rpcsrv import RpcContext
    from user.kv.changes import Number
    from user.kv.config import KvConfig, ShardMove

USAGE: Final = "usage: balancer PROCS JOB"
_log = debug.selector("KVBAL")


def main(argv: list[str]) -> Status:
    """Balances while it leads; evicted, it resigns, and the servers go on."""
    if len(argv) != 2:
        sys.exit(USAGE)
    paths = KvPaths(argv[1])
    with SigmaClnt() as sc:
        balancer = Balancer(sc.asynchronous, paths)
        devices = [CommandNode(CONTROL, 0x100, balancer.control)]
        return serve_elected(
            sc, paths.balancer, balancer, crashes="KVBALANCER_CRASH", partitions="KVBALANCER_PARTITION", devices=devices
        )


class Balancer:
    """The balancer that leads. One thing is brought about at a time; others wait. ``start`` it, and ``stop`` it."""

    def __init__(self, sc: AsyncSigmaClnt, paths: KvPaths) -> None:
        self._sc = sc
        self._paths = paths
        self._leadership = Leadership(sc, paths.balancer_elect, [paths.dir])
        self._fleet = Fleet(sc, paths)
        self._config: KvConfig = cfg.KvConfig()
        self._busy = asyncio.Lock()
        """Held by whoever brings something about."""
        self._posting = asyncio.Lock()
        """Held by whoever writes the configuration: movers that end at one time all do."""
        self._tasks: list[asyncio.Task[Any]] = []
        self._servers: dict[str, AsyncRPCClnt] = {}
        self.longest_move_s = 0.0
        """For which a shard was out of service."""

    @property
    def services(self) -> tuple[object, ...]:
        """What it offers."""
        return (KvBalancer(self),)

    @property
    def config(self) -> KvConfig:
        """As it was written last."""
        return self._config

    @property
    def job(self) -> str:
        """Which store it is."""
        return self._paths.job

    async def start(self) -> bool:
        """Returns once this one leads; False if it is evicted before, or belongs to no group."""
        sc, paths = self._sc, self._paths
        if not await self._leadership.lead():
            return False
        # One of which nobody knows would lead for ever, as nobody would end it.
        if sc.pid not in await members_of(sc, paths.balancers):
            await self.stop()
            return False
        try:
            self._config = cfg.decode(await sc.get_file(paths.config), paths.config)
        except serr.NotFound:
            # Whoever stops the store removes it, after the balancers: one that comes later has nothing to lead.
            self._leadership.die(f"{paths.config} is gone")
        # Now nothing that the last balancer still sends is taken for newer: this one's epoch is in the file.
        await self._write(self._config)
        # Beside the serving: a recovery lasts as long as a server is away, and meanwhile clients are to find this
        # balancer, and to see how things are.
        for work, name in ((self._recover(), "kv-recover"), (Monitor(self).run(), "kv-monitor")):
            self._tasks.append(asyncio.create_task(work, name=name))
        return True

    async def stop(self) -> None:
        """Resigns; servers go on. What is being brought about is left to the next one."""
        # Before the resignation: behind it what they write carries no fence, and would replace the next balancer's.
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._fleet.abandon()
        await self._leadership.resign()

    async def _recover(self) -> None:
        """Goes on where the last balancer was, again and again until that is done."""
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
                await asyncio.sleep(BALANCER.pause_s)

    # -- what is asked

    async def add(self, group: str, members_count: int) -> str:
        """Blocks until the group has its share; returns its name, which is chosen here if it is empty. Inval for a name
        that no group can have; Retry while one of that name is leaving; Timeout if its servers do not start: it goes on
        joining, with whatever is brought about next."""
        async with self._busy:
            name = group or f"grp-{self._config.next_number()}"
            description = cfg.Group(max(members_count, 1))
            await self._post(lambda config: config.with_group(name, description))
            await self._settle()
        return name

    async def remove(self, group: str) -> None:
        """Blocks until the group's shards are elsewhere, and its procs are gone. Inval for the last group."""
        async with self._busy:
            await self._post(lambda config: config.without_group(group))
            await self._settle()

    async def control(self, command: str) -> None:
        """Carries out what is written into ``ctl``: ``add GROUP`` or ``del GROUP``; blocks like these. Inval for
        anything else; Retry while something else is brought about."""
        match command.split():
            case ["add" | "del" as verb, group]:
                group_number(group)
            case _:
                raise serr.Inval(command.strip(), "a command is `add grp-<number>` or `del grp-<number>`")
        # A command is a write into a file, which is to return soon: it does not queue.
        if self._busy.locked():
            raise serr.Retry(self._paths.job, "the balancer is busy")
        change = self.add(group, max(self._config.auto.members, 1)) if verb == "add" else self.remove(group)
        # A task of the balancer's: a writer who gives up, or loses the connection, must not stop a change half-way.
        changing: asyncio.Task[object] = asyncio.create_task(change, name="kv-control")
        self._tasks.append(changing)
        try:
            await asyncio.shield(changing)  # it goes on when the writer goes
        finally:
            # One that outlives its writer stays listed, so that ``stop`` finds it.
            if changing.done():
                self._tasks.remove(changing)

    async def set_auto(self, auto: cfg.Auto) -> None:
        """From now on servers come and go by load; or no longer."""
        async with self._busy:
            await self._post(lambda config: msgspec.structs.replace(config, auto=auto))

    def server(self, group: str) -> AsyncRPCClnt:
        """The way to a group's leader."""
        return self._servers.setdefault(group, AsyncRPCClnt(self._sc, self._paths.group(group)))

    async def server_stats(self, group: str) -> pb.ServerStatsReply:
        """How a group's leader is. NotFound, Timeout or session errors if it does not say."""
        return await self.server(group).rpc("KvMove.Stats", pb.NothingRequest(), pb.ServerStatsReply, BALANCER.stats_s)

    def starts_count(self, group: str) -> int:
        """How often members of a group were started, while this balancer leads."""
        return self._fleet.starts_count(group)

    # -- bringing it about

    async def _post(self, change: Callable[[KvConfig], KvConfig]) -> None:
        """Writes the next configuration, if the change makes a difference. Ends the process if it cannot."""
        # Under the lock, so that each change begins from what the last one wrote.
        async with self._posting:
            config = change(self._config)
            if config is not self._config:
                await self._write(config)

    async def _write(self, config: KvConfig) -> None:
        """Writes a configuration with the next number. The process ends if another balancer leads, or if it stays
        unknown which configuration holds."""
        config = msgspec.structs.replace(config, epoch=self._leadership.fence.epoch, seqno=self._next_number()[1])
        await self._put(config)
        # Only now: what is in memory is never ahead of the file, from which the next balancer goes on.
        self._config = config

    async def _put(self, config: KvConfig) -> None:
        # With the same number at each try: it stays unknown which of them came through, and it makes no difference.
        for attempt in range(BALANCER.write_tries_max):
            try:
                await self._sc.put_file(self._paths.config, cfg.encode(config))
                return
            except serr.Stale as error:
                self._leadership.die(str(error))
            except serr.SESSION_ERRORS as error:  # again is the same: the whole file, under the fence
                _log(f"{self._paths.config}: {error}")
                if attempt == BALANCER.write_tries_max - 1:
                    self._leadership.die(f"cannot write {self._paths.config}: {error}")
                await asyncio.sleep(BALANCER.pause_s)

    def _next_number(self) -> Number:
        return self._leadership.fence.epoch, self._config.seqno + 1

    async def _settle(self) -> None:
        """Makes things as the configuration says. In this order: a group that leaves may hold shards until those that
        join have been given theirs."""
        for group, description in self._config.groups.items():
            await self._fleet.keep(group, description, self._config.mcpu)
        for group in self._config.of_state(cfg.JOINING):
            await self._join(group)
        # Written before anything moves: a balancer that takes over ends these moves, and plans no others for their
        # shards.
        # Planned again when they have ended: moves that were under way may have led to a group that leaves.
        while True:
            await self._post(lambda config: config.planned(self._next_number()))
            if not self._config.moves:
                break
            await self._move(self._config.moves)
        for group in self._config.of_state(cfg.LEAVING):
            await self._let_go(group)

    async def _join(self, group: str) -> None:
        """Waits for a new group, and makes it one that shards may go to."""
        await self._wait_serves(group)
        # The first group of all has every shard. They are made before that is written: if the process ends in between,
        # the next balancer makes them again, and those that are there already stay as they are.
        if all(each == cfg.NOBODY for each in self._config.shards):
            epoch, seqno = self._next_number()
            shards = pb.ShardsRequest(shards=range(SHARDS_COUNT), number=pb.Number(epoch=epoch, seqno=seqno))
            await self.server(group).rpc("KvMove.Create", shards, pb.NothingReply, BALANCER.server_start_s)
        await self._post(lambda config: config.activated(group))

    async def _wait_serves(self, group: str) -> None:
        """Timeout, with what became of its procs, if it does not within ``BalancerTuning.server_start_s``."""
        try:
            async with asyncio.timeout(BALANCER.server_start_s):
                # The name alone says little: that of a server which died stays until its lease ends.
                await self._sc.wait_create(self._paths.group(group))
                await self._wait_answers(group)
        except TimeoutError as error:
            fates = await self._fleet.fates(group)
            raise serr.Timeout(group, f"does not serve after {BALANCER.server_start_s:g} s; {fates}") from error

    async def _wait_answers(self, group: str) -> None:
        while True:
            try:
                await self.server(group).rpc("KvMove.Stats", pb.NothingRequest(), pb.ServerStatsReply)
                return
            except (serr.NotFound, *serr.SESSION_ERRORS) as error:
                _log(f"{group}: {error}")
                await asyncio.sleep(BALANCER.server_pause_s)

    async def _move(self, moves: list[ShardMove]) -> None:
        """A mover for each pair of servers; what has moved is posted as each of them ends. Moves of one number only: a
        later move of the same shard has another one."""
        batches: dict[tuple[str, str, Number], list[ShardMove]] = {}
        for move in moves:
            batches.setdefault((move.src, move.dst, move.number), []).append(move)
        try:
            async with asyncio.TaskGroup() as group:
                for batch in batches.values():
                    # Given up when another one fails, its mover goes on by itself: what it does, the next mover finds
                    # done.
                    group.create_task(self._run_mover(batch), name="kv-mover")
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _run_mover(self, batch: list[ShardMove]) -> None:
        """Starts one mover after the other, until one has moved the whole batch."""
        move = batch[0]
        args = [self._paths.job, move.src, move.dst, *map(str, move.number), *(str(each.shard) for each in batch)]
        while True:
            # Without a limit: a move cannot be taken back, and a shard that is frozen is out of service until it has
            # ended.
            proc = Proc(MOVER_PROGRAM, args, mcpu=BALANCER.mcpu)
            try:
                await self._sc.spawn(proc)
                status = await self._sc.wait_exit(proc.pid)
            except serr.SESSION_ERRORS as error:  # its schedd is away; movers do not mind each other
                status = Status.err(str(error))
            if status.is_ok():
                break
            debug.error(f"kv {self._paths.job}: mover {move.src} to {move.dst}: {status}")
            await asyncio.sleep(BALANCER.pause_s)
        if isinstance(status.data, dict):
            self.longest_move_s = max(self.longest_move_s, float(status.data.get("longest_s", 0)))
        # Until this is written clerks ask both groups; so it may come late, but never before the last shard is there.
        await self._post(lambda config: config.moved(batch))

    async def _let_go(self, group: str) -> None:
        """Ends a group that has no shards any more. Its procs first: they would write what is removed."""
        await self._fleet.end(group)
        await remove_copies(self._sc, self._paths, group)
        self._servers.pop(group, None)
        await self._post(lambda config: config.forgotten(group))


class KvBalancer:
    """The RPC service of a balancer. Requests may be repeated; those that change something block until it is done, and
    raise like the calls of ``Balancer``."""

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
        """How all groups are; of one whose server does not answer, why."""
        # Without the lock: whoever asks wants to know how things are while something is brought about.
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
            server = await self._balancer.server_stats(group)
        except serr.SigmaError as error:
            return pb.GroupStats(group=group, state=state, trouble=str(error), starts=starts)
        return pb.GroupStats(group=group, state=state, server=server, starts=starts)
