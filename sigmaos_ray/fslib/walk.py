"""From pathnames to fids: mounts, links, unions, and trying again when a server went away (N-7, N-8)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from sigmaos_ray import debug, serr
from sigmaos_ray.fslib.mounts import UnreachableForGood
from sigmaos_ray.fslib.pathnames import COMPONENTS_MAX, too_long
from sigmaos_ray.sigmap import OREAD, Endpoint, path

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sigmaos_ray.config import Config
    from sigmaos_ray.fslib.fidclnt import RemoteFid
    from sigmaos_ray.fslib.mounts import Mount, MountTable
    from sigmaos_ray.fslib.stats import ClientStats
    from sigmaos_ray.fslib.union import UnionChooser

_log = debug.selector("WALK")

T = TypeVar("T")


class _Restart(Exception):
    """The walk starts over, at another pathname or with a longer mount table."""

    def __init__(self, parts: list[str], *, link: bool) -> None:
        self.parts = parts
        self.link = link


class Walked(NamedTuple):
    """Where a walk ended: the fid, which the caller clunks; the mount it went through last; and the pathname that all
    links on the way led to."""

    fid: RemoteFid
    mount: Mount
    parts: list[str]


class PathWalker:
    """Walks for one client."""

    def __init__(self, mounts: MountTable, chooser: UnionChooser, config: Config, stats: ClientStats) -> None:
        self._mounts = mounts
        self._chooser = chooser
        self._config = config
        self._stats = stats
        self.closed = False
        """True once the client is closed: nothing is tried again."""

    async def walk(self, parts: list[str], *, resolve: bool) -> RemoteFid:
        """A new fid of the object; the caller clunks it. ``resolve``: follow a link at the end.

        Tries again while a server on the way is unreachable, or a union has no entry (N-8); NotFound, NotDir and the
        like come at once."""
        return (await self.walk_through(parts, resolve=resolve)).fid

    async def walk_through(self, parts: list[str], *, resolve: bool) -> Walked:
        """Like ``walk``; also tells the way."""
        if not parts:
            raise serr.Inval("", "an empty pathname")
        return await self.retry(lambda: self._walk_once(parts, resolve), _may_walk_again)

    async def retry(self, once: Callable[[], Awaitable[T]], may_retry: Callable[[BaseException], bool]) -> T:
        """Runs ``once`` until it works, fails for good, or the retries are used up: about as long as a fail-over of
        named takes."""
        for tries_left in reversed(range(self._config.walk.retries_max + 1)):
            try:
                return await once()
            except serr.SigmaError as error:
                if not tries_left or not may_retry(error) or self.closed or isinstance(error, UnreachableForGood):
                    raise
                _log(f"again: {error}")
            if tries_left < self._config.walk.retries_max:  # the first one at once: it may be known where to go
                await asyncio.sleep(self._config.walk.retry_pause_s)
        raise AssertionError("unreachable: the last try returns or raises")

    async def _walk_once(self, parts: list[str], resolve: bool) -> Walked:
        self._stats.path["NwalkPath"] += 1
        restarts = 0
        while True:
            mount, rest = await self._mounts.longest(parts, exact=resolve)
            try:
                return Walked(await self._walk_below(mount, parts, rest, resolve), mount, parts)
            except _Restart as restart:
                parts = restart.parts
                # Endpoint files and unions do not count: each was mounted, and the next try begins behind it.
                restarts += restart.link
                if restarts > self._config.walk.symlink_restarts_max:
                    raise UnreachableForGood("/".join(parts), "too many symlink cycles") from None
            except serr.SigmaError as error:
                if serr.is_session_error(error) or isinstance(error, serr.UnknownFid):
                    self.failed(mount)
                raise

    def failed(self, mount: Mount) -> None:
        """A mount's server did not answer as it should: walk there anew next time."""
        self._mounts.unmount(mount)
        self._chooser.failed(mount.endpoint)

    async def _walk_below(self, mount: Mount, parts: list[str], rest: list[str], resolve: bool) -> RemoteFid:
        fid, qids = await mount.fid.walk(rest)
        reached = len(qids)
        if reached == len(rest) and not (resolve and qids and qids[-1].is_symlink):
            return fid
        way = parts[: len(parts) - len(rest) + reached]
        beyond = rest[reached:]
        try:
            # Servers walk as far as they can: up to a link, a union, or what is not there.
            if qids and qids[-1].is_symlink:
                raise await self._follow(fid, way, beyond)
            if path.is_union(beyond[0]):
                return await self._enter_union(fid, way, beyond, resolve)
            raise serr.NotFound(beyond[0])
        finally:
            await fid.clunk_quietly()

    async def _follow(self, link: RemoteFid, way: list[str], beyond: list[str]) -> _Restart:
        """Where the walk goes on behind a link: at the server an endpoint file names, or at a symlink's target."""
        await link.open(OREAD)
        contents = await link.read(0, self._config.wire.io_bytes_max)
        endpoint = Endpoint.from_bytes(contents)
        if endpoint is not None:
            self._stats.path["NwalkEP"] += 1
            await self._mount(tuple(way), endpoint)
            return _Restart(way + beyond, link=False)
        self._stats.path["Nsym"] += 1
        try:
            target = path.split(contents.decode())
        except UnicodeDecodeError:
            raise serr.NotFound("/".join(way), "a link that names neither a server nor a pathname") from None
        if not target:
            raise serr.NotFound("/".join(way), "an empty link")
        if len(target) + len(beyond) > COMPONENTS_MAX:
            raise too_long(target + beyond)
        return _Restart(target + beyond, link=True)

    async def _enter_union(self, fid: RemoteFid, way: list[str], beyond: list[str], resolve: bool) -> RemoteFid:
        """Continues at an entry of a union; an entry that is last and not to be resolved is itself what is meant."""
        self._stats.path["NwalkUnion"] += 1
        name, endpoint = await self._chooser.choose(fid, beyond[0])
        if len(beyond) == 1 and not resolve:
            entry, _ = await fid.walk([name])
            return entry
        # The choice stays: the mount is at the union's own name, and later walks go through it.
        await self._mount((*way, beyond[0]), endpoint)
        raise _Restart(way + beyond, link=False)

    async def _mount(self, prefix: tuple[str, ...], endpoint: Endpoint) -> None:
        try:
            await self._mounts.mount(prefix, endpoint)
        except serr.SigmaError:
            self._chooser.failed(endpoint)
            raise

    async def resolve_unions(self, parts: list[str]) -> list[str]:
        """The pathname with each ``~any`` and ``~local`` replaced by a concrete entry's name (ResolveMounts)."""
        resolved: list[str] = []
        for part in parts:
            if path.is_union(part):
                directory = await self.walk(resolved, resolve=True)
                try:
                    part, _ = await self._chooser.choose(directory, part)
                finally:
                    await directory.clunk_quietly()
            resolved.append(part)
        return resolved


def _may_walk_again(error: BaseException) -> bool:
    """NotDir is not in it: the fast path's signal for a link was heeded, so here it is meant."""
    if isinstance(error, serr.NotLeading):
        return True
    return serr.is_retry_open_ok(error) and not isinstance(error, serr.NotDir)
