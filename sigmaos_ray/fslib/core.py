"""What the parts of a client share: sessions, mounts, walks, fences and open files, and how a call reaches a server."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from sigmaos_ray import config as configuration
from sigmaos_ray import serr
from sigmaos_ray.fslib.behind import Behind
from sigmaos_ray.fslib.carried import CarriedFences
from sigmaos_ray.fslib.fdtable import FdTable
from sigmaos_ray.fslib.fidclnt import FidClnt, RemoteFid
from sigmaos_ray.fslib.locate import NamedLocator
from sigmaos_ray.fslib.mounts import MountTable
from sigmaos_ray.fslib.pathnames import parse
from sigmaos_ray.fslib.repeats import LOOKED, NEVER_RAN, Repeats
from sigmaos_ray.fslib.stats import ClientStats
from sigmaos_ray.fslib.union import UnionChooser, dir_pages
from sigmaos_ray.fslib.walk import PathWalker
from sigmaos_ray.sessp.aside import leave_if_direct
from sigmaos_ray.sigmap import DMDIR, NO_FENCE, NO_LEASE, OREAD, OTRUNC, Fence, Mode, Perm, path

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from sigmaos_ray.config import Config, ProcEnv
    from sigmaos_ray.fslib.mounts import Mount
    from sigmaos_ray.fslib.repeats import Errors
    from sigmaos_ray.fslib.walk import Walked
    from sigmaos_ray.sigmap import Stat

T = TypeVar("T")


class Target(NamedTuple):
    """Where one message of a call goes."""

    fid: RemoteFid
    names: list[str]
    """Below the fid."""
    way: list[str]
    """The pathname by which this is reached, links followed."""
    fence: Fence
    """What changes there carry."""


class FsCore:
    """State of one client, used from one loop. The client that made it closes it.

    For what is built on a client: parts, readers, recipes, channels. Its calls are not those of users, who have
    pathnames and descriptors instead of fids; errors name what the server named, until ``naming.about`` is around.
    """

    def __init__(self, proc_env: ProcEnv, config: Config | None = None) -> None:
        self.proc_env = proc_env
        self.config = config or configuration.preset(proc_env.config)
        self.counters = ClientStats()
        self.fids = FidClnt(proc_env, self.config, self.counters)
        self.mounts = MountTable(self.fids, NamedLocator(proc_env), self.counters)
        # A proc knows its schedd, and is within, though its node's kernel node may be still to come.
        chooser = UnionChooser(proc_env.kernel_id, self.config, is_outside=not proc_env.schedd_id)
        self.repeats = Repeats(self.config)
        self.walker = PathWalker(self.mounts, chooser, self.repeats, self.config, self.counters)
        self.behind = Behind(self.config.walk.held_s)
        self.fds = FdTable()
        self.fences = CarriedFences()
        self.own_endpoints: set[tuple[str, ...]] = set()
        """Pathnames that this client gave to servers under leases: it may take them back by name."""

    @property
    def is_closed(self) -> bool:
        """True once the client was closed: every call fails."""
        return self.repeats.closed

    @property
    def io_bytes_max(self) -> int:
        """The most that one message reads or writes."""
        return self.config.wire.io_bytes_max

    async def close(self) -> None:
        """Ends the sessions. Every later call is Unreachable."""
        # First of all: what fails from here on, as its session ends, is not tried again.
        self.repeats.closed = True
        await self.mounts.close()
        await self.fids.close(is_waited_for=len(self.fds) > 0)
        await self.behind.close()

    # -- one message, without a walk

    async def fast(
        self,
        parts: list[str],
        resolve: bool,
        message: Callable[[Target], Awaitable[T]],
        errors: Errors,
    ) -> T:
        """One message to the server of the longest mount, with all names that are left, so that the server does all of
        it at one moment (N-10, P-15). Where a link or a union is on the way, which only a client can follow, the
        server refuses; the message is sent again, by the way that was found. ``errors``: when all of it is done again
        (``repeats``)."""

        async def once() -> T:
            way, links_count = parts, 0
            while True:
                mount, rest = await self.mounts.longest(way, exact=resolve)
                try:
                    return await message(Target(mount.fid, rest, way, self.fence_of(parts, way)))
                except serr.SigmaError as error:
                    self.walker.drop_if_lost(mount, error)
                    if not _may_go_on(error):
                        raise
                    leave_if_direct()  # it was refused for what is on the way, and did nothing
                    step = await self.walker.step(mount, way, rest, resolve)
                    if step is None:
                        raise
                way, links_count = step.parts, links_count + step.is_link
                self.walker.check_links(way, links_count)

        return await self.repeats.call(once, errors)

    def fence_of(self, parts: list[str], way: list[str] | None = None) -> Fence:
        """What a change at a pathname carries; ``way``: what its links have led to."""
        if not self.fences:
            return NO_FENCE
        return self.fences.of(self.mounts.resolved(way or parts), parts)

    async def fence_dir(self, directory: list[str], fence: Fence) -> None:
        """From now on changes below a directory carry ``fence``, whichever way they come; an empty one takes it off."""
        if not fence:
            self.fences.take_off(directory)
            return
        try:
            way = await self.behind_links(directory)
        except serr.NotFound:  # it may be made later, and is then what its pathname says
            way = directory
        self.fences.put(directory, self.mounts.resolved(way), fence)

    async def behind_links(self, parts: list[str]) -> list[str]:
        """The pathname that the links on the way to a pathname and at its end lead to; what is there, or not, last."""

        async def once() -> list[str]:
            way, links_count = parts, 0
            while True:
                mount, rest = await self.mounts.longest(way, exact=True)
                try:
                    step = await self.walker.step(mount, way, rest, resolve=True) if rest else None
                except serr.NotFound:
                    # A server tells by this that its root has not even the first component: here that is the last one.
                    if len(rest) > 1 or path.is_union(rest[0]):
                        raise
                    return way
                if step is None:
                    return way
                way, links_count = step.parts, links_count + step.is_link
                self.walker.check_links(way, links_count)

        return await self.repeats.call(once, LOOKED)

    @contextlib.contextmanager
    def freeing(self, walked: Walked) -> Iterator[None]:
        """A block that uses what was walked to; then it is freed."""
        try:
            yield
        except serr.SigmaError as error:
            self.walker.drop_if_lost(walked.mount, error)
            raise
        finally:
            walked.fid.free()

    async def mount_of(self, parts: list[str]) -> Mount:
        """The mount that a walk goes through last, links followed."""
        walked = await self.walker.walk_through(parts, resolve=True)
        walked.fid.free()
        return walked.mount

    # -- fids by pathname; whoever gets one clunks it

    async def open_fid(self, pn: str, mode: Mode) -> RemoteFid:
        """An open fid of what is there. What truncates is repeated only if it did not run."""
        parts, resolve = parse(pn)

        async def send(to: Target) -> RemoteFid:
            opened = await to.fid.open_file(to.names, mode, resolve=resolve, fence=to.fence)
            opened.way, opened.is_root = to.way, not to.names
            return opened

        return await self.fast(parts, resolve, send, NEVER_RAN if mode & OTRUNC else LOOKED)

    async def create_fid(
        self,
        pn: str,
        perm: Perm,
        mode: Mode,
        lease_id: int = NO_LEASE,
        data: bytes = b"",
        fence: Fence = NO_FENCE,
    ) -> RemoteFid:
        """An open fid of what is made here. Exists if the name is taken. ``fence``: instead of the carried one."""
        parts, _ = parse(pn)
        if len(parts) < 2 or path.is_union(parts[-1]):
            raise serr.Inval(pn, "cannot be created")

        async def send(to: Target) -> RemoteFid:
            made = await to.fid.create_file(to.names, perm, mode, lease_id, fence or to.fence, data)
            made.way = to.way
            return made

        return await self.fast(parts, False, send, NEVER_RAN)

    async def create_or_open_fid(self, pn: str, perm: Perm, mode: Mode, lease_id: int = NO_LEASE) -> RemoteFid:
        """An open fid of a file that is made if it is absent, and if it exists opened in ``mode``, unless OEXCL."""
        parts, resolve = parse(pn)
        if len(parts) < 2:
            raise serr.Inval(pn, "cannot be created")

        async def send(to: Target) -> RemoteFid:
            opened = await to.fid.open_file(
                to.names, mode, resolve=resolve, makes=True, perm=perm, lease=lease_id, fence=to.fence
            )
            opened.way = to.way
            return opened

        return await self.fast(parts, resolve, send, NEVER_RAN)

    async def open_dir(self, pn: str) -> RemoteFid:
        """An open fid of a directory; NotDir for anything else."""
        fid = await self.open_fid(pn, OREAD)
        if not fid.perm & DMDIR:
            fid.free()
            raise serr.NotDir(pn)
        return fid

    async def list_dir(self, pn: str, *, at_once: bool) -> list[Stat]:
        """All entries of a directory, in order of name; ``at_once``: as they were at one moment, and Version for one of
        many messages that changes each time. Otherwise those that are there all along are in it once. Inval for one
        with more than are held in memory."""

        async def once() -> list[Stat]:
            for _ in range(self.config.streams.rereads_max + 1):
                fid = await self.open_dir(pn)
                try:
                    stats, pages_count = await self._collected(pn, fid)
                    if not at_once or pages_count < 2 or (await fid.stat()).qid.version == fid.seen.version:
                        return stats
                finally:
                    fid.free()
            raise serr.Version(pn, "it changed each time that it was listed: scan_dir reads it as it changes")

        return await self.repeats.call(once, LOOKED)

    async def _collected(self, pn: str, fid: RemoteFid) -> tuple[list[Stat], int]:
        """The entries of an open directory, and in how many messages they came."""
        stats: list[Stat] = []
        pages_count, entries_max = 0, self.config.wire.listing_entries_max
        async for page in dir_pages(fid, self.config):
            stats.extend(page)
            pages_count += 1
            if len(stats) > entries_max:
                raise serr.Inval(pn, f"over {entries_max} entries: read them with scan_dir")
        return stats, pages_count


def _may_go_on(error: serr.SigmaError) -> bool:
    """What a server answers about a link on the way, or about a union: a client goes on from there."""
    return isinstance(error, serr.NotDir) or (isinstance(error, serr.NotFound) and path.is_union(error.obj))
