"""What the parts of FsLib share: a client's mounts, walks, fences, and the fast path of one message."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from sigmaos_ray import config as configuration
from sigmaos_ray import serr
from sigmaos_ray.fslib.fdtable import FdTable
from sigmaos_ray.fslib.fidclnt import FidClnt, RemoteFid
from sigmaos_ray.fslib.locate import NamedLocator
from sigmaos_ray.fslib.mounts import MountTable
from sigmaos_ray.fslib.stats import ClientStats
from sigmaos_ray.fslib.union import UnionChooser
from sigmaos_ray.fslib.walk import PathWalker, check_path
from sigmaos_ray.sigmap import NO_FENCE, Fence, path

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sigmaos_ray.config import Config, ProcEnv
    from sigmaos_ray.fslib.mounts import Mount
    from sigmaos_ray.sigmap import Endpoint

T = TypeVar("T")


class FsBase:
    """State of a client's file calls. Used from one loop."""

    def __init__(self, proc_env: ProcEnv, config: Config | None = None) -> None:
        self._proc_env = proc_env
        self._config = config or configuration.current()
        self._stats = ClientStats()
        self._fids = FidClnt(proc_env, self._config, self._stats)
        self._mounts = MountTable(self._fids, NamedLocator(proc_env), self._stats)
        chooser = UnionChooser(proc_env.kernel_id, self._config)
        self._walker = PathWalker(self._mounts, chooser, self._config, self._stats)
        self._fds = FdTable()
        self._fences: dict[str, Fence] = {}

    @property
    def proc_env(self) -> ProcEnv:
        return self._proc_env

    @property
    def realm(self) -> str:
        return self._proc_env.realm

    @property
    def pid(self) -> str:
        return self._proc_env.pid

    @property
    def is_closed(self) -> bool:
        """True once the client was closed: every call fails."""
        return self._walker.closed

    @property
    def kernel_id(self) -> str:
        """The kernel node that ``~local`` means; ``""`` for a client outside."""
        return self._proc_env.kernel_id

    def stats(self) -> dict[str, dict[str, int]]:
        """Counters: ``path`` for what pathnames cost, ``sp`` for messages by kind."""
        return self._stats.snapshot()

    @property
    def config(self) -> Config:
        return self._config

    async def server_of(self, pn: str) -> str:
        """The pathname at which the server that stores ``pn`` is mounted; the entry itself need not exist."""
        return (await self.server_at(pn))[0]

    async def server_at(self, pn: str) -> tuple[str, Endpoint]:
        """Like ``server_of``; also where it is."""
        parts, _ = self._split(pn)
        mount = await self._mount_of(parts[:-1] or parts)
        return "/".join(mount.prefix), mount.endpoint

    async def _mount_of(self, parts: list[str]) -> Mount:
        """The mount that a walk goes through last, links followed."""
        walked = await self._walker.walk_through(parts, resolve=True)
        await walked.fid.clunk_quietly()
        return walked.mount

    async def mount_endpoint(self, pn: str, endpoint: Endpoint) -> None:
        """Mounts a server whose endpoint is known already, without a walk. Unreachable if it does not answer."""
        await self._mounts.mount(tuple(path.split(pn)), endpoint)

    @property
    def read_bytes_max(self) -> int:
        """The most that one message reads."""
        return self._config.wire.io_bytes_max

    async def close_fs(self) -> None:
        """Ends the sessions. Every later call is Unreachable."""
        self._walker.closed = True
        await self._mounts.close()
        await self._fids.close()

    @staticmethod
    def _split(pathname: str) -> tuple[list[str], bool]:
        """A pathname's components, and whether a link at its end is to be followed. Inval for no pathname at all."""
        if not isinstance(pathname, str):
            raise serr.Inval(repr(pathname), f"a pathname is text, not {type(pathname).__name__}")
        if "\0" in pathname:
            raise serr.Inval(pathname, "a pathname has no NUL")
        try:
            pathname.encode()
        except UnicodeEncodeError as error:
            raise serr.Inval(repr(pathname), f"a pathname is valid Unicode text: {error}") from error
        parts = path.split(pathname)
        if not parts:
            raise serr.Inval(pathname, "an empty pathname")
        check_path(parts)
        return parts, path.resolves(pathname)

    def fence_of(self, pn: str) -> Fence:
        """The fence that a change of ``pn`` by this client carries."""
        return self._fence_of(path.split(pn))

    def _fence_of(self, parts: list[str]) -> Fence:
        """The fence that this client's changes below a directory carry."""
        if self._fences:
            for length in range(len(parts), 0, -1):
                fence = self._fences.get("/".join(parts[:length]))
                if fence is not None:
                    return fence
        return NO_FENCE

    async def _fast(
        self,
        parts: list[str],
        resolve: bool,
        message: Callable[[RemoteFid, list[str]], Awaitable[T]],
        walked: Callable[[], Awaitable[T]],
        *,
        idempotent: bool,
    ) -> T:
        """One message to the server of the longest mount; ``walked`` if it cannot do it alone (N-10).

        What was never sent is tried again while servers come back; what was sent and got lost only if idempotent."""

        async def once() -> T:
            mount, rest = await self._mounts.longest(parts, exact=resolve)
            try:
                return await message(mount.fid, rest)
            except serr.SigmaError as error:
                if serr.is_session_error(error):
                    self._walker.failed(mount)
                    raise
                if isinstance(error, serr.UnknownFid):
                    self._walker.failed(mount)
                elif not serr.is_walk_ok(error):
                    raise
            return await walked()

        return await self._walker.retry(once, _is_lost if idempotent else _is_never_sent)


def is_lost(error: BaseException) -> bool:
    """The server, or what it kept for the client, went away: what only looks may look again, after another walk."""
    return _is_lost(error) or isinstance(error, serr.UnknownFid)


def _is_lost(error: BaseException) -> bool:
    return isinstance(error, serr.IOErr) or _is_never_sent(error)


def _is_never_sent(error: BaseException) -> bool:
    """Or refused unseen."""
    return isinstance(error, serr.Unreachable | serr.NotLeading)
