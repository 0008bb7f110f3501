"""A store as a whole: starting, growing, shrinking, looking at, ending it.

What is asked of a store goes to its balancer, and may be asked again: a balancer that takes over finds in the
configuration what was begun.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

from sigmaos_ray import serr
from sigmaos_ray.ft.procgroups import end_group
from sigmaos_ray.rpcclnt import AsyncRPCClnt
from sigmaos_ray.sigmap import OEXCL, OWRITE
from user.kv import config as cfg
from user.kv import kv_pb2 as pb
from user.kv.copies import remove_copies
from user.kv.fleet import start_balancers, wake_balancers
from user.kv.paths import ROOT, KvPaths
from user.kv.tuning import BALANCER

if TYPE_CHECKING:
    from typing import TypeVar

    from google.protobuf.message import Message

    from sigmaos_ray import AsyncSigmaClnt, SigmaClnt
    from user.kv.config import KvConfig

    R = TypeVar("R", bound=Message)


class AsyncKvJob:
    """The store ``job``, which may run already, and outlives this object. ``close`` it.

    Calls raise NotFound if there is no such store, and Timeout if no balancer leads for ``BalancerTuning.absent_s``.
    """

    def __init__(self, sc: AsyncSigmaClnt, job: str) -> None:
        self._sc = sc
        self._paths = KvPaths(job)
        self._balancer = AsyncRPCClnt(sc, self._paths.balancer)

    @property
    def name(self) -> str:
        """Which store it is."""
        return self._paths.job

    @classmethod
    async def all(cls, sc: AsyncSigmaClnt) -> list[str]:
        """The names of the stores that there are."""
        try:
            return [stat.name for stat in await sc.get_dir(ROOT)]
        except serr.NotFound:
            return []

    async def start(
        self, servers: int = 1, members: int = 1, groups_max: int = 0, mcpu: float = BALANCER.server_mcpu
    ) -> list[str]:
        """Starts a store with so many groups of servers, of ``members`` each: one that serves, the others stand by.
        What it writes is kept at so many kernel nodes, if there are as many: all but one of them may be lost.
        ``groups_max``: groups come and go by load, up to so many. ``mcpu``: what each server reserves. A store whose
        procs have all ended, with their instance say, goes on with what it keeps. Exists if it runs. Returns the groups
        once they serve; if that fails, what was started is ended."""
        if servers < 1 or members < 1:
            raise serr.Inval(self._paths.job, f"{servers} groups of {members} servers")
        await self._sc.makedirs(self._paths.dir)
        config = cfg.KvConfig(mcpu=mcpu, auto=cfg.Auto(groups_max, members))
        # Whoever makes this file starts the store: of several that try at one time the others hear that it is there.
        claim = asyncio.create_task(
            self._sc.put_file(self._paths.config, cfg.encode(config), mode=OWRITE | OEXCL), name="kv-claim"
        )
        try:
            await asyncio.shield(claim)
        except serr.Exists as error:
            if not await wake_balancers(self._sc, self._paths):
                raise serr.Exists(self._paths.job, "this kv store is there already") from error
            return await self._with_groups(servers, members)
        except asyncio.CancelledError:
            await self._sc.core.behind.settle(self._undo(claim), "kv-start-undo")
            raise
        try:
            await start_balancers(self._sc, self._paths)
            return await self._with_groups(servers, members)
        except BaseException:
            # Also if the caller is cancelled: nobody else knows that the store is there by half.
            await self.stop()
            raise

    async def _with_groups(self, servers: int, members: int) -> list[str]:
        return [await self.add(members, f"grp-{number}") for number in range(servers)]

    async def _undo(self, claim: asyncio.Task[int]) -> None:
        """After a start that was given up before it was known whether it is this one that starts the store."""
        try:
            await claim
        except serr.SigmaError:  # somebody else's, or nobody's
            return
        await self.stop()

    async def config(self) -> KvConfig:
        """The present configuration."""
        try:
            return cfg.decode(await self._sc.get_file(self._paths.config), self._paths.config)
        except serr.NotFound as error:
            raise serr.NotFound(self._paths.job, "no such kv store") from error

    async def add(self, members: int = 1, group: str = "") -> str:
        """Adds a group of servers; returns its name once it has its share of the shards. One that is there is fine."""
        # Chosen here, so that a request that is repeated does not add a second one.
        group = group or f"grp-{(await self.config()).next_number()}"
        reply = await self._ask_balancer("Add", pb.AddRequest(group=group, members=members), pb.GroupReply)
        return reply.group

    async def remove(self, group: str) -> None:
        """Removes a group; returns once others have its shards. NotFound if there is none of that name; Inval for the
        last one."""
        if group not in (await self.config()).groups:
            raise serr.NotFound(group, f"no group of the kv store {self._paths.job!r}")
        await self._ask_balancer("Remove", pb.RemoveRequest(group=group), pb.GroupReply)

    async def auto(self, groups_max: int, members: int = 1) -> None:
        """Groups come and go by load, up to so many; 0: no longer."""
        await self._ask_balancer("Auto", pb.AutoRequest(groups_max=groups_max, members=members), pb.NothingReply)

    async def stats(self) -> pb.JobStatsReply:
        """How all servers are."""
        return await self._ask_balancer("Stats", pb.NothingRequest(), pb.JobStatsReply)

    async def _ask_balancer(self, method: str, request: Message, reply_class: type[R]) -> R:
        """Asks the balancer that leads; again, while none does, or it is busy."""
        until_s = time.monotonic() + BALANCER.absent_s
        while True:
            try:
                # Again, though it may have been carried out: the balancer finds it done then.
                return await self._balancer.rpc(f"KvBalancer.{method}", request, reply_class)
            except (serr.NotFound, serr.Retry, *serr.SESSION_ERRORS) as error:
                await self.config()  # NotFound if the store is gone
                if time.monotonic() > until_s:
                    raise serr.Timeout(self._paths.balancer, f"no balancer for {BALANCER.absent_s:g} s") from error
                await asyncio.sleep(BALANCER.absent_pause_s)

    async def stop(self) -> None:
        """Ends all procs of the store and removes what it kept. What is left of one that was stopped half goes, too.
        NotFound if there is nothing; Timeout if a proc does not end: then it may be repeated."""
        paths = self._paths
        try:
            groups = (await self.config()).groups
        except serr.NotFound:
            groups = {}
        if not groups and self._paths.job not in await self.all(self._sc):
            raise serr.NotFound(paths.job, "no such kv store")
        await self._balancer.close()
        # The balancers first: they would start again what ends. And one of them may just have added a group.
        await end_group(self._sc, paths.balancers, BALANCER.end_s)
        with contextlib.suppress(serr.NotFound):
            groups = (await self.config()).groups
        await asyncio.gather(*(end_group(self._sc, paths.procs(group), BALANCER.end_s) for group in groups))
        for group in groups:
            await remove_copies(self._sc, paths, group)
        with contextlib.suppress(serr.NotFound):
            # Last: as long as it is there, a stop that failed half-way can be repeated.
            await self._sc.rmdir(paths.dir)

    async def close(self) -> None:
        """Closes the connection to the balancer; the store goes on. May be repeated."""
        await self._balancer.close()


class KvJob:
    """The blocking face of ``AsyncKvJob``. ``close`` it."""

    def __init__(self, sc: SigmaClnt, job: str) -> None:
        self._sc = sc
        self._job = AsyncKvJob(sc.asynchronous, job)

    @classmethod
    def all(cls, sc: SigmaClnt) -> list[str]:
        """See ``AsyncKvJob.all``."""
        return sc.run(AsyncKvJob.all(sc.asynchronous))

    def start(
        self, servers: int = 1, members: int = 1, groups_max: int = 0, mcpu: float = BALANCER.server_mcpu
    ) -> list[str]:
        """See ``AsyncKvJob.start``."""
        return self._sc.run(self._job.start(servers, members, groups_max, mcpu))

    def config(self) -> KvConfig:
        """See ``AsyncKvJob.config``."""
        return self._sc.run(self._job.config())

    def add(self, members: int = 1, group: str = "") -> str:
        """See ``AsyncKvJob.add``."""
        return self._sc.run(self._job.add(members, group))

    def remove(self, group: str) -> None:
        """See ``AsyncKvJob.remove``."""
        self._sc.run(self._job.remove(group))

    def auto(self, groups_max: int, members: int = 1) -> None:
        """See ``AsyncKvJob.auto``."""
        self._sc.run(self._job.auto(groups_max, members))

    def stats(self) -> pb.JobStatsReply:
        """See ``AsyncKvJob.stats``."""
        return self._sc.run(self._job.stats())

    def stop(self) -> None:
        """See ``AsyncKvJob.stop``."""
        self._sc.run(self._job.stop())

    def close(self) -> None:
        """See ``AsyncKvJob.close``."""
        self._sc.run(self._job.close())
