"""Starting a cache, and changing how many servers it has.

Whoever changes that holds the cache's lock, and goes through the two configurations of ``config.steps``: clients go on
all the time.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Final, Self

from sigmaos_ray import debug, serr
from sigmaos_ray.ft.procgroupmgr import AsyncProcGroupMgr
from sigmaos_ray.ft.procgroups import ProcGroups
from sigmaos_ray.lockclnt import AsyncLock
from sigmaos_ray.sigmap import OEXCL, OWRITE
from user.cache import cache_pb2 as pb
from user.cache.config import EMPTY, CacheConfig, steps
from user.cache.paths import CachePaths
from user.cache.servers import CacheServers
from user.cache.tuning import JOB, SERVER

if TYPE_CHECKING:
    from types import TracebackType

    from sigmaos_ray import AsyncSigmaClnt, SigmaClnt

PROGRAM: Final = "user.cache.cached"
_log = debug.selector("CACHECLNT")


class AsyncCacheJob:
    """The cache ``job``: starts it, or takes on one that runs, and keeps its servers alive until ``close``; they go on
    then, but nobody starts them again. ``bytes_max``: of each server. As a context it starts the cache, and stops it.
    """

    def __init__(
        self, sc: AsyncSigmaClnt, job: str, servers: int = 1, bytes_max: int = SERVER.bytes_max, mcpu: float = 0
    ) -> None:
        if servers < 1 or bytes_max < 1:
            raise serr.Inval(job, f"{servers} servers of {bytes_max} bytes: a cache has at least one of each")
        self._sc = sc
        self._paths = CachePaths(job)
        self._count = servers
        self._bytes_max = bytes_max
        self._mcpu = mcpu
        self._servers = CacheServers(sc, self._paths)
        self._groups = ProcGroups(sc)
        self._is_new = False
        """Whether the cache was not there before."""

    @property
    def name(self) -> str:
        """Which cache it is."""
        return self._paths.job

    async def start(self) -> None:
        """Returns once the cache takes calls. Of one that runs already, the number of servers stays as it is. Raises
        what a server that does not start is away with, after ``CacheJobTuning.follow_s``. A cache that cannot start is
        ended, also if this call is cancelled; one that ran before goes on."""
        self._is_new = False
        try:
            await self._start()
        except BaseException:
            if self._is_new:
                await self.stop()
            raise

    async def _start(self) -> None:
        await self._sc.makedirs(self._paths.servers)
        # Whoever starts it at the same time waits here, and then finds the servers of the one that was first.
        async with AsyncLock(self._sc, self._paths.lock):
            with contextlib.suppress(serr.Exists):
                # Before any server starts: one that finds no configuration ends, as if there were no such cache.
                await self._sc.put_file(self._paths.config, EMPTY.to_bytes(), mode=OWRITE | OEXCL)
                self._is_new = True
            await self._servers.refresh()
            config = self._servers.config
            wanted = list(config.servers) or [f"{number}" for number in range(self._count)]
            await asyncio.gather(*(self._keep(name) for name in wanted))
            await self._change(wanted)

    async def servers(self) -> list[str]:
        """The names of the servers that there are. NotFound if there is no such cache."""
        await self._servers.refresh()
        return list(self._servers.config.servers)

    async def add_server(self) -> str:
        """Starts one more, and gives it its share of the shards, empty; returns its name. Clients go on."""
        async with AsyncLock(self._sc, self._paths.lock):
            servers = await self.servers()
            # Chosen and written under one lock: two who add at a time would choose the same.
            name = next(f"{number}" for number in range(len(servers) + 1) if f"{number}" not in servers)
            await self._keep(name)
            await self._change([*servers, name])
        return name

    async def remove_server(self, name: str = "") -> str:
        """Spreads the shards of a server, empty, over the others, and ends it; the last one by default. It need not
        answer. NotFound for one that is none, Inval for the only one."""
        async with AsyncLock(self._sc, self._paths.lock):
            servers = await self.servers()
            name = name or (servers[-1] if servers else "")
            if name not in servers:
                raise serr.NotFound(self._paths.server(name), "no server of the cache")
            if len(servers) == 1:
                raise serr.Inval(name, "the only server of the cache")
            await self._change([other for other in servers if other != name], going=name)
        return name

    async def _keep(self, name: str) -> None:
        """From now on the server runs."""
        args = [self._paths.job, name, str(self._bytes_max)]
        await self._groups.keep(AsyncProcGroupMgr(self._sc, 1, PROGRAM, args, self._mcpu, self._paths.group(name)))

    async def _end(self, name: str) -> None:
        """Ends a server, whoever keeps it; returns once it is gone."""
        await self._groups.end(self._paths.group(name), JOB.end_s)

    # -- configurations

    async def _change(self, servers: list[str], going: str = "") -> None:
        """Goes from the present servers to these, of which one that is ``going`` is none. If it fails half-way, shards
        may be nobody's; the next change gives them to servers."""
        between, after = steps(self._servers.config, servers)
        # Written before it is told: a server that starts meanwhile, and was not told, reads at least this one.
        await self._write(between)
        # All of them, before anybody gets a shard: one that has not heard may still answer for it.
        await asyncio.gather(*(self._tell(name, between, going) for name in between.servers))
        # One that does not answer must be gone before others have its shards: it would go on answering for them.
        if going:
            await self._end(going)
        await self._write(after)
        await asyncio.gather(*(self._tell(name, after, going) for name in after.servers))

    async def _write(self, config: CacheConfig) -> None:
        await self._sc.put_file(self._paths.config, config.to_bytes())
        self._servers.config = config

    # It may be told any number of times: a server passes over a configuration that is no newer than its own.
    async def _tell(self, name: str, config: CacheConfig, going: str) -> None:
        """Returns once the server follows a configuration, or, if it is to go, does not answer for a while."""
        ends_s = time.monotonic() + (JOB.dead_s if name == going else JOB.follow_s)
        request = pb.ConfigRequest(config=config.to_bytes())
        while True:
            reply = (await self._servers.call("Follow", {name: request}, pb.ConfigReply))[name]
            if isinstance(reply, pb.ConfigReply):
                return
            if time.monotonic() > ends_s:
                if name == going:
                    return
                raise reply
            _log(f"{name} does not follow yet: {reply}")
            await asyncio.sleep(JOB.pause_s)

    # -- ends

    async def stop(self) -> None:
        """Ends the servers, with what is in them, and removes the cache's directory. May be repeated."""
        # Those that this job keeps, and those that the configuration names: another one may have added some.
        groups = set(self._groups.jobs)
        with contextlib.suppress(serr.NotFound):
            groups |= {self._paths.group(name) for name in await self.servers()}
        await asyncio.gather(*(self._groups.end(group, JOB.end_s) for group in groups))
        with contextlib.suppress(serr.NotFound):
            await self._sc.rmdir(self._paths.dir)

    async def close(self) -> None:
        """Leaves the servers to themselves. May be repeated."""
        await self._groups.abandon()
        await self._servers.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()
        await self.close()


class CacheJob:
    """The blocking face of ``AsyncCacheJob``; as a context it starts the cache, and stops it."""

    def __init__(
        self, sc: SigmaClnt, job: str, servers: int = 1, bytes_max: int = SERVER.bytes_max, mcpu: float = 0
    ) -> None:
        self._sc = sc
        self._job = AsyncCacheJob(sc.asynchronous, job, servers, bytes_max, mcpu)

    @property
    def name(self) -> str:
        """Which cache it is."""
        return self._job.name

    def start(self) -> None:
        """See ``AsyncCacheJob.start``."""
        self._sc.run(self._job.start())

    def servers(self) -> list[str]:
        """See ``AsyncCacheJob.servers``."""
        return self._sc.run(self._job.servers())

    def add_server(self) -> str:
        """See ``AsyncCacheJob.add_server``."""
        return self._sc.run(self._job.add_server())

    def remove_server(self, name: str = "") -> str:
        """See ``AsyncCacheJob.remove_server``."""
        return self._sc.run(self._job.remove_server(name))

    def stop(self) -> None:
        """See ``AsyncCacheJob.stop``."""
        self._sc.run(self._job.stop())

    def close(self) -> None:
        """See ``AsyncCacheJob.close``."""
        self._sc.run(self._job.close())

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        self.close()
