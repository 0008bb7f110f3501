"""A client's mounts: prefixes of pathnames, and the servers that continue there (N-5)."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from sigmaos_ray import debug, serr
from sigmaos_ray.sigmap import NAMED, Endpoint

if TYPE_CHECKING:
    from sigmaos_ray.fslib.fidclnt import FidClnt, RemoteFid
    from sigmaos_ray.fslib.locate import NamedLocator
    from sigmaos_ray.fslib.stats import ClientStats

_log = debug.selector("MOUNT")

Prefix = tuple[str, ...]


class Mount:
    """One mount: the fid of the root that an endpoint names."""

    __slots__ = ("endpoint", "fid", "prefix")

    def __init__(self, prefix: Prefix, fid: RemoteFid, endpoint: Endpoint) -> None:
        self.prefix = prefix
        self.fid = fid
        self.endpoint = endpoint

    @property
    def alive(self) -> bool:
        return not self.fid.session.ended


class MountTable:
    """All mounts of one client. The root, ``name``, is mounted when it is first needed."""

    def __init__(self, fids: FidClnt, locator: NamedLocator, stats: ClientStats) -> None:
        self._fids = fids
        self._locator = locator
        self._stats = stats
        self._mounts: dict[Prefix, Mount] = {}
        self._root_lock = asyncio.Lock()
        self._looking: asyncio.Task[None] | None = None
        """Whether named has moved: while calls to it take long."""

    async def longest(self, parts: list[str], *, exact: bool) -> tuple[Mount, list[str]]:
        """The mount with the longest prefix of ``parts``, and what is left of them. ``exact=False`` passes over a
        mount at the very pathname: the endpoint file itself is meant (N-5)."""
        if parts[0] != NAMED:
            raise serr.NotFound(parts[0], f"pathnames begin with {NAMED!r}")
        longest = len(parts) if exact or len(parts) == 1 else len(parts) - 1
        for length in range(longest, 1, -1):
            mount = self._mounts.get(tuple(parts[:length]))
            if mount is not None:
                if mount.alive:
                    return mount, parts[length:]
                self.unmount(mount)
        return await self._root(), parts[1:]

    async def _root(self) -> Mount:
        mount = self._mounts.get((NAMED,))
        if mount is not None and mount.alive:
            return mount
        async with self._root_lock:
            mount = self._mounts.get((NAMED,))
            if mount is None or not mount.alive:
                mount = await self._mount_root()
            return mount

    async def _mount_root(self) -> Mount:
        while True:
            endpoint = await self._locator.current()
            try:
                mount = await self._locator.while_there(endpoint, self.mount((NAMED,), endpoint))
            except serr.Unreachable:
                self._stats.path["NgetNamedErr"] += 1
                await self._locator.refresh()
                if (await self._locator.current()).addrs == endpoint.addrs:
                    raise
            else:
                mount.fid.session.tell_slow(partial(self._root_is_slow, mount))
                return mount

    def _root_is_slow(self, mount: Mount) -> None:
        """Calls to named take long. A leader that was stopped keeps its connections and answers nothing."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._leave_if_moved(mount), name="named-moved")

    async def _leave_if_moved(self, mount: Mount) -> None:
        if await self._locator.has_moved(mount.endpoint):
            mount.fid.session.abandon("another process leads")

    async def close(self) -> None:
        """Ends what runs by itself. May be repeated."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait({self._looking})
            self._looking = None

    async def mount(self, prefix: Prefix, endpoint: Endpoint) -> Mount:
        """Attaches to the endpoint's server and enters it. Unreachable if it does not answer."""
        fid = await self._fids.attach(endpoint)
        mount = self._mounts[prefix] = Mount(prefix, fid, endpoint)
        _log(f"mount {'/'.join(prefix)} at {endpoint.addrs}")
        return mount

    def unmount(self, mount: Mount) -> None:
        """Forgets a mount whose server failed, and every other one through the same session."""
        _log(f"unmount {'/'.join(mount.prefix)}")
        for prefix, other in list(self._mounts.items()):
            if other is mount or other.fid.session is mount.fid.session:
                del self._mounts[prefix]

    def table(self) -> dict[str, Endpoint]:
        return {"/".join(prefix): mount.endpoint for prefix, mount in sorted(self._mounts.items())}
