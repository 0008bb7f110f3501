"""From pathnames to fids: mounts, links and unions (N-7, N-8)."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

from sigmaos_ray import serr
from sigmaos_ray.fslib.pathnames import COMPONENTS_MAX, too_long
from sigmaos_ray.fslib.repeats import LOOKED, UnreachableForGood
from sigmaos_ray.sessp.aside import is_direct, leave_if_direct
from sigmaos_ray.sigmap import ANY, Endpoint, EndpointType, path

if TYPE_CHECKING:
    from sigmaos_ray.config import Config
    from sigmaos_ray.fslib.fidclnt import RemoteFid
    from sigmaos_ray.fslib.mounts import Mount, MountTable
    from sigmaos_ray.fslib.repeats import Repeats
    from sigmaos_ray.fslib.stats import ClientStats
    from sigmaos_ray.fslib.union import UnionChooser
    from sigmaos_ray.sigmap import Qid


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


class Step(NamedTuple):
    """How a pathname goes on that a server could not walk to its end."""

    parts: list[str]
    is_link: bool
    """Through a symlink: those may go in circles."""


class _Reached:
    """How far a server walked: along ``way``, and what is ``beyond``."""

    def __init__(self, fid: RemoteFid, parts: list[str], rest: list[str], qids: list[Qid]) -> None:
        self.fid = fid
        self.way = parts[: len(parts) - len(rest) + len(qids)]
        self.beyond = rest[len(qids) :]
        self.is_link = bool(qids) and qids[-1].is_symlink


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
        leave_if_direct()  # the caller's own message would be a second one
        try:
            return await self._repeats.call(lambda: self._walk_once(parts, resolve), LOOKED)
        except serr.IOErr as error:
            # Whatever became of the walk: what the caller was going to do there has not been sent.
            raise serr.Unreachable(error.obj, error.msg) from error

    async def _walk_once(self, parts: list[str], resolve: bool) -> Walked:
        self._stats.path["NwalkPath"] += 1
        links_count = 0
        while True:
            mount, rest = await self._mounts.longest(parts, exact=resolve)
            try:
                end = await self._walk_below(mount, parts, rest, resolve)
            except _TargetFailed as target:
                raise target.error from None
            except serr.SigmaError as error:
                self.drop_if_lost(mount, error)
                raise
            if not isinstance(end, Step):
                return Walked(end, mount, parts)
            # Endpoint files and unions do not count: each was mounted, and the next try begins behind it.
            parts, links_count = end.parts, links_count + end.is_link
            self.check_links(parts, links_count)

    def check_links(self, parts: list[str], links_count: int) -> None:
        """Unreachable, for good, after more symlinks than a way has that goes in no circle."""
        if links_count > self._config.walk.symlink_restarts_max:
            raise UnreachableForGood("/".join(parts), "too many symlink cycles")

    async def step(self, mount: Mount, parts: list[str], rest: list[str], resolve: bool) -> Step | None:
        """Follows the first link or union below a mount on the way to ``parts``, which ``rest`` is the end of; at the
        end itself only to ``resolve`` it, but a union there becomes its entry. None if there is none."""
        self._stats.path["NwalkPath"] += 1
        try:
            fid, qids = await mount.fid.walk(rest)
            try:
                return await self._step_from(_Reached(fid, parts, rest, qids), resolve)
            finally:
                fid.free()
        except _TargetFailed as target:
            raise target.error from None
        except serr.SigmaError as error:
            self.drop_if_lost(mount, error)
            if isinstance(error, serr.IOErr):
                # Whatever became of the walk: what the caller is going to do has not been sent.
                raise serr.Unreachable(error.obj, error.msg) from error
            raise

    async def _step_from(self, reached: _Reached, resolve: bool) -> Step | None:
        fid, way, beyond = reached.fid, reached.way, reached.beyond
        if reached.is_link and (beyond or resolve):
            return await self._follow(fid, way, beyond)
        if not beyond or not path.is_union(beyond[0]):
            return None
        self._stats.path["NwalkUnion"] += 1
        name, endpoint = await self._chooser.choose(fid, beyond[0])
        if len(beyond) == 1 and not resolve:
            return Step([*way, name], is_link=False)
        await self._mount((*way, beyond[0]), endpoint, name)
        return Step(way + beyond, is_link=False)

    def drop_if_lost(self, mount: Mount, error: serr.SigmaError) -> None:
        """An error of a call through a mount: if it says that its server is lost, or lost what it kept for this client,
        walk there anew next time. What a server answers about something else leaves its mount."""
        if mount.fid.session.ended or isinstance(error, serr.NotLeading | serr.UnknownFid):
            if is_direct():
                mount.fid.session.on_loop(self.failed, mount)
            else:
                self.failed(mount)

    def failed(self, mount: Mount) -> None:
        """A mount's server did not answer as it should: walk there anew next time."""
        self._mounts.unmount(mount)
        self._chooser.failed(mount.endpoint)

    async def _walk_below(self, mount: Mount, parts: list[str], rest: list[str], resolve: bool) -> RemoteFid | Step:
        fid, qids = await mount.fid.walk(rest)
        reached = _Reached(fid, parts, rest, qids)
        if not reached.beyond and not (resolve and reached.is_link):
            return fid
        try:
            # Servers walk as far as they can: up to a link, a union, or what is not there.
            step = await self._step_from(reached, resolve)
            if step is None:
                raise serr.NotFound(reached.beyond[0])
            return step
        finally:
            fid.free()

    async def _follow(self, link: RemoteFid, way: list[str], beyond: list[str]) -> Step:
        """Where the walk goes on behind a link: at the server an endpoint file names, or at a symlink's target."""
        try:
            contents = await link.get_file([], self._config.wire.io_bytes_max)
        except serr.NotFound:  # another one has its name by now
            return Step(way + beyond, is_link=True)
        endpoint = Endpoint.from_bytes(contents)
        if endpoint is not None:
            self._stats.path["NwalkEP"] += 1
            await self._mount(tuple(way), endpoint)
            return Step(way + beyond, is_link=False)
        self._stats.path["Nsym"] += 1
        try:
            target = path.split(contents.decode())
        except UnicodeDecodeError:
            raise serr.NotFound("/".join(way), "a link that names neither a server nor a pathname") from None
        if not target:
            raise serr.NotFound("/".join(way), "an empty link")
        if len(target) + len(beyond) > COMPONENTS_MAX:
            raise too_long(target + beyond)
        return Step(target + beyond, is_link=True)

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
