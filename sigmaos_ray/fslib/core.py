"""What the parts of a client share: sessions, mounts, walks, fences and open files, and how a call reaches a server."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeVar

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
from sigmaos_ray.fslib.union import UnionChooser
from sigmaos_ray.fslib.walk import PathWalker
from sigmaos_ray.sigmap import DMDIR, NO_FENCE, NO_LEASE, OEXCL, OREAD, OTRUNC, Fence, Mode, Perm, path

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sigmaos_ray.config import Config, ProcEnv
    from sigmaos_ray.fslib.mounts import Mount
    from sigmaos_ray.fslib.repeats import Errors
    from sigmaos_ray.fslib.walk import Walked

T = TypeVar("T")


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
        await self.fids.close()
        await self.behind.close()

    # -- one message, without a walk

    async def fast(
        self,
        parts: list[str],
        resolve: bool,
        message: Callable[[RemoteFid, list[str]], Awaitable[T]],
        walked: Callable[[], Awaitable[T]],
        errors: Errors,
    ) -> T:
        """One message to the server of the longest mount; ``walked`` if it cannot do it alone (N-10). ``errors``: when
        all of it is done again (``repeats``)."""

        # What a walk may mend is left to ``walked``: a link on the way, of which NotDir tells, and a union without an
        # entry.
        async def once() -> T:
            mount, rest = await self.mounts.longest(parts, exact=resolve)
            try:
                return await message(mount.fid, rest)
            except serr.SigmaError as error:
                self.walker.drop_if_lost(mount, error)
                # The server restarted, or dropped this client: nothing ran, and a walk attaches anew.
                if serr.is_session_error(error) or not serr.is_walk_ok(error):
                    raise
            return await walked()

        return await self.repeats.call(once, errors)

    async def mount_of(self, parts: list[str]) -> Mount:
        """The mount that a walk goes through last, links followed."""
        walked = await self.walker.walk_through(parts, resolve=True)
        walked.fid.free()
        return walked.mount

    # -- fids by pathname; whoever gets one clunks it

    async def open_fid(self, pn: str, mode: Mode) -> RemoteFid:
        """An open fid of what is there. NotLeading, and a session that ends between the walk and the open, are repeated
        from the walk on; what truncates, only if it did not run."""
        parts, resolve = parse(pn)

        async def once() -> RemoteFid:
            walked = await self.walker.walk_through(parts, resolve=resolve)
            return await self._through(walked, partial(walked.fid.open, mode, self.fences.of(parts)))

        return await self.repeats.call(once, NEVER_RAN if mode & OTRUNC else LOOKED)

    async def _through(self, walked: Walked, call: Callable[[], Awaitable[object]]) -> RemoteFid:
        """The fid that was walked to, after a call on it; freed if that fails."""
        try:
            await call()
        except BaseException as error:
            walked.fid.free()
            if isinstance(error, serr.SigmaError):
                self.walker.drop_if_lost(walked.mount, error)
            raise
        return walked.fid

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

        async def once() -> RemoteFid:
            walked = await self.walker.walk_through(parts[:-1], resolve=True)
            fence_of = fence or self.fences.of(parts)
            return await self._through(
                walked, partial(walked.fid.create, parts[-1], perm, mode, lease_id, fence_of, data)
            )

        return await self.repeats.call(once, NEVER_RAN)

    async def create_or_open_fid(self, pn: str, perm: Perm, mode: Mode, lease_id: int = NO_LEASE) -> RemoteFid:
        """An open fid of a file that is made if it is absent, and if it exists opened in ``mode``, unless OEXCL."""
        parts, resolve = parse(pn)
        if resolve:
            try:
                return await self.open_fid(pn, mode)
            except serr.NotFound:
                pn = "/".join(parts)
        # Two calls, and others may come between them in either order: it goes round until one of them fits.
        while True:
            try:
                return await self.create_fid(pn, perm, mode, lease_id)
            except serr.Exists:
                if mode & OEXCL:
                    raise
            try:
                return await self.open_fid(pn, mode)
            except serr.NotFound:
                continue

    async def open_dir(self, pn: str) -> RemoteFid:
        """An open fid of a directory; NotDir for anything else."""
        fid = await self.open_fid(pn, OREAD)
        if not fid.perm & DMDIR:
            fid.free()
            raise serr.NotDir(pn)
        return fid
