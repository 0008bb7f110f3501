"""Starting a cache, and changing how many servers it has."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Final, Self

from sigmaos_ray import debug, serr
from sigmaos_ray.ft.procgroupmgr import AsyncProcGroupMgr
from sigmaos_ray.lockclnt import AsyncLock
from sigmaos_ray.sigmap import OEXCL, OWRITE
from user.cache import cache_pb2 as pb
from user.cache.config import EMPTY, CacheConfig, steps
from user.cache.paths import CachePaths
from user.cache.servers import CacheServers

if TYPE_CHECKING:
    from types import TracebackType

    from sigmaos_ray import AsyncSigmaClnt, SigmaClnt

PROGRAM: Final = "user.cache.cached"
SERVER_BYTES_MAX: Final = 256 << 20
_FOLLOW_S: Final = 15.0
"""So long a server may be away before a change is given up: it is being started again meanwhile."""
_DEAD_S: Final = 1.0
"""The same for a server that is to go anyway."""
_PAUSE_S: Final = 0.05
_log = debug.selector("CACHECLNT")


class AsyncCacheJob:
    """The cache ``job``: starts it, or takes on one that runs, and keeps its servers alive until ``close``; they go on
    then, but nobody starts them again. ``bytes_max``: of each server."""

    def __init__(
        self, sc: AsyncSigmaClnt, job: str, servers: int = 1, bytes_max: int = SERVER_BYTES_MAX, mcpu: float = 0
    ) -> None:
        if servers < 1 or bytes_max < 1:
            raise serr.Inval(job, f"{servers} servers of {bytes_max} bytes: a cache has at least one of each")
        self._sc = sc
        self._paths = CachePaths(job)
        self._count = servers
        self._bytes_max = bytes_max
        self._mcpu = mcpu
        self._servers = CacheServers(sc, self._paths)
        self._groups: dict[str, AsyncProcGroupMgr] = {}

    @property
    def name(self) -> str:
        """Which cache it is."""
        return self._paths.job

    async def start(self) -> None:
        """Returns once the cache takes calls. Of one that runs already, the number of servers stays as it is."""
        await self._sc.makedirs(self._paths.servers)
        async with AsyncLock(self._sc, self._paths.lock):
            with contextlib.suppress(serr.Exists):
                await self._sc.put_file(self._paths.config, EMPTY.to_bytes(), mode=OWRITE | OEXCL)
            await self._servers.refresh()
            config = self._servers.config
            wanted = list(config.servers) or [f"{number}" for number in range(self._count)]
            await asyncio.gather(*(self._keep(name) for name in wanted))
            await self._change(wanted)

    async def servers(self) -> list[str]:
        """The servers' names."""
        await self._servers.refresh()
        return list(self._servers.config.servers)

    async def add_server(self) -> str:
        """Starts one more, and gives it its share of the shards, empty; returns its name. Clients go on."""
        async with AsyncLock(self._sc, self._paths.lock):
            names = await self.servers()
            name = next(f"{number}" for number in range(len(names) + 1) if f"{number}" not in names)
            await self._keep(name)
            await self._change([*names, name])
        return name

    async def remove_server(self, name: str = "") -> str:
        """Spreads the shards of a server, empty, over the others, and ends it; the last one by default. It need not
        answer. NotFound for one that is none, Inval for the only one."""
        async with AsyncLock(self._sc, self._paths.lock):
            names = await self.servers()
            name = name or (names[-1] if names else "")
            if name not in names:
                raise serr.NotFound(self._paths.server(name), "no server of the cache")
            if len(names) == 1:
                raise serr.Inval(name, "the only server of the cache")
            await self._change([other for other in names if other != name], going=name)
        return name

    async def _keep(self, name: str) -> None:
        """From now on the server runs."""
        group = self._paths.group(name)
        try:
            manager = await AsyncProcGroupMgr.recover_job(self._sc, group)
        except serr.NotFound:
            args = [self._paths.job, name, str(self._bytes_max)]
            manager = AsyncProcGroupMgr(self._sc, 1, PROGRAM, args, self._mcpu, group)
            await manager.persist()
        older = self._groups.get(name)
        if older is None:
            self._groups[name] = manager
            await manager.start()

    async def _end(self, name: str) -> None:
        manager = self._groups.pop(name, None)
        if manager is None:
            try:
                manager = await AsyncProcGroupMgr.recover_job(self._sc, self._paths.group(name))
            except serr.NotFound:
                return
            await manager.start()
        await manager.stop()

    # -- configurations

    async def _change(self, names: list[str], going: str = "") -> None:
        between, after = steps(self._servers.config, names)
        await self._write(between)
        await asyncio.gather(*(self._tell(name, between, going) for name in between.servers))
        if going:
            await self._end(going)
        await self._write(after)
        await asyncio.gather(*(self._tell(name, after, going) for name in after.servers))

    async def _write(self, config: CacheConfig) -> None:
        await self._sc.put_file(self._paths.config, config.to_bytes())
        self._servers.config = config

    async def _tell(self, name: str, config: CacheConfig, going: str) -> None:
        """Returns once the server follows a configuration, or, if it is to go, does not answer."""
        ends_s = time.monotonic() + (_DEAD_S if name == going else _FOLLOW_S)
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
            await asyncio.sleep(_PAUSE_S)

    # -- ends

    async def stop(self) -> None:
        """Ends the servers, and removes the cache's names. May be repeated."""
        names = set(self._groups)
        with contextlib.suppress(serr.NotFound):
            names |= set(await self.servers())
        await asyncio.gather(*(self._end(name) for name in names))
        with contextlib.suppress(serr.NotFound):
            await self._sc.rmdir(self._paths.dir)

    async def close(self) -> None:
        """Leaves the servers to themselves. May be repeated."""
        groups, self._groups = list(self._groups.values()), {}
        for group in groups:
            await group.crash()
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
        self, sc: SigmaClnt, job: str, servers: int = 1, bytes_max: int = SERVER_BYTES_MAX, mcpu: float = 0
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
