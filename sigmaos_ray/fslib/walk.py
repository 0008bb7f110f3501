"""From pathnames to fids: mounts, links and unions (N-7, N-8)."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

from sigmaos_ray import serr
from sigmaos_ray.fslib.pathnames import COMPONENTS_MAX, too_long
from sigmaos_ray.fslib.repeats import LOOKED, UnreachableForGood
from sigmaos_ray.sigmap import ANY, OREAD, Endpoint, EndpointType, path

if TYPE_CHECKING:
    from sigmaos_ray.config import Config
    from sigmaos_ray.fslib.fidclnt import RemoteFid
    from sigmaos_ray.fslib.mounts import Mount, MountTable
    from sigmaos_ray.fslib.repeats import Repeats
    from sigmaos_ray.fslib.stats import ClientStats
    from sigmaos_ray.fslib.union import UnionChooser


class _Restart(Exception):
    """The walk starts over, at another pathname or with a longer mount table."""

    def __init__(self, parts: list[str], *, link: bool) -> None:
        self.parts = parts
        self.link = link


class _TargetFailed(Exception):
    """A server that the walk was led to cannot be attached to: which says nothing about those that led there."""

    def __init__(self, error: serr.SigmaError) -> None:
        super().__init__(str(error))
        self.error = error


class Walked(NamedTuple):
    """Where a walk ended: the fid, which the caller clunks; the mount it went through last; and the pathname that all
    links on the way led to."""

    fid: RemoteFid
    mount: Mount
    parts: list[str]


class PathWalker:
    """Walks for one client."""

    def __init__(
        self, mounts: MountTable, chooser: UnionChooser, repeats: Repeats, config: Config, stats: ClientStats
    ) -> None:
        self._mounts = mounts
        self._chooser = chooser
        self._repeats = repeats
        self._config = config
        self._stats = stats

    async def walk(self, parts: list[str], *, resolve: bool) -> RemoteFid:
        """A new fid of the object; the caller clunks it. ``resolve``: follow a link at the end.

        Repeated while a server on the way is lost, or a union has no entry (N-8); NotFound, NotDir and the like come at
        once."""
        return (await self.walk_through(parts, resolve=resolve)).fid

    async def walk_through(self, parts: list[str], *, resolve: bool) -> Walked:
        """Like ``walk``; also tells the way."""
        if not parts:
            raise serr.Inval("", "an empty pathname")
        try:
            return await self._repeats.call(lambda: self._walk_once(parts, resolve), LOOKED)
        except serr.IOErr as error:
            # Whatever became of the walk: what the caller was going to do there has not been sent.
            raise serr.Unreachable(error.obj, error.msg) from error

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
            except _TargetFailed as target:
                raise target.error from None
            except serr.SigmaError as error:
                self.drop_if_lost(mount, error)
                raise

    def drop_if_lost(self, mount: Mount, error: serr.SigmaError) -> None:
        """An error of a call through a mount: if it says that its server is lost, or lost what it kept for this client,
        walk there anew next time. What a server answers about something else leaves its mount."""
        if mount.fid.session.ended or isinstance(error, serr.NotLeading | serr.UnknownFid):
            self.failed(mount)

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
            fid.free()

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
        await self._mount((*way, beyond[0]), endpoint, name)
        raise _Restart(way + beyond, link=False)

    async def _mount(self, prefix: tuple[str, ...], endpoint: Endpoint, entry: str = "") -> None:
        try:
            await self._mounts.mount(prefix, endpoint, entry=entry)
        except serr.SigmaError as error:
            self._chooser.failed(endpoint)
            # Of any, another one will do: the next try leaves out what has just failed.
            if prefix[-1] == ANY and isinstance(error, serr.Inval):
                error = serr.Unreachable(error.obj, error.msg)
            raise _TargetFailed(error) from error

    async def resolve_unions(self, parts: list[str]) -> list[str]:
        """The pathname with each ``~any`` and ``~local`` replaced by the name of the entry through which this client's
        walks go (ResolveMounts)."""
        return await self._repeats.call(lambda: self._resolve_once(parts), LOOKED)

    async def _resolve_once(self, parts: list[str]) -> list[str]:
        resolved: list[str] = []
        for part in parts:
            if path.is_union(part):
                directory = await self.walk_through(resolved, resolve=True)
                try:
                    part = await self._entry_of(directory, part)
                finally:
                    directory.fid.free()
            resolved.append(part)
        return resolved

    async def _entry_of(self, directory: Walked, union: str) -> str:
        """The entry that was chosen, or is from now on. If none answers, one of those all the same: its name is what
        was asked for."""
        prefix = (*directory.parts, union)
        tried: set[str] = set()
        while True:
            mount = self._mounts.at(prefix)
            if mount is not None and mount.alive:
                return mount.entry
            name, endpoint = await self._chooser.choose(directory.fid, union)
            if name in tried or endpoint.type is EndpointType.EXTERNAL:
                return name
            tried.add(name)
            with contextlib.suppress(_TargetFailed):
                await self._mount(prefix, endpoint, name)
