"""What the parts of ``SigmaFileSystem`` share: the client, pathnames, and how coroutines are run."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

from fsspec.asyn import AsyncFileSystem
from fsspec.spec import has_magic
from fsspec.utils import stringify_path, tokenize

from sigmaos_ray import loopthread, serr
from sigmaos_ray.fsspec import entries
from sigmaos_ray.fsspec.bridge import on_client_loop
from sigmaos_ray.fsspec.connection import Connection
from sigmaos_ray.fsspec.dirmaker import DirMaker

if TYPE_CHECKING:
    import os
    from collections.abc import Awaitable, Callable, Coroutine, Iterable

    from sigmaos_ray.sigmaclnt import AsyncSigmaClnt, SigmaClnt

T = TypeVar("T")

CALLS_IN_FLIGHT_MAX: Final = 128
"""Calls of one bulk operation that are under way at a time, unless ``batch_size`` says otherwise."""

_FSSPEC_OPTIONS: Final = frozenset({"use_listings_cache", "listings_expiry_time", "max_paths"})
"""Options that fsspec may give to any file system; listings are not cached here."""


class FsspecPart(AsyncFileSystem):  # type: ignore[misc]  # fsspec ships no types
    """Some of the file system's calls. Parts stand side by side: each derives from this class alone, and what it needs
    of another it calls by fsspec's own names (``_info``, ``_makedirs``), which ``AsyncFileSystem`` declares."""

    protocol = entries.PROTOCOL
    blocksize = 1 << 20
    mirror_sync_methods: ClassVar[bool] = False  # ``add_blocking_faces`` does it

    def __init__(
        self,
        state_file: str | os.PathLike[str] | None = None,
        state_dir: str | os.PathLike[str] | None = None,
        realm: str | None = None,
        *,
        auto_mkdir: bool = True,
        asynchronous: bool = False,
        loop: Any = None,
        batch_size: int | None = None,
        **options: Any,
    ) -> None:
        """``state_file``, or ``state_dir``, and ``realm`` choose the instance; without them it is ``SigmaClnt()``'s.
        ``auto_mkdir``: files that are written make the directories above them. ``loop`` is ignored: coroutines may be
        awaited on any."""
        unknown = sorted(options.keys() - _FSSPEC_OPTIONS)
        if unknown:
            raise TypeError(f"unknown storage options: {', '.join(unknown)}")
        self._own_transaction: ContextVar[tuple[bool, Any]] = ContextVar("transaction", default=(False, None))
        # As if asynchronous: else fsspec would start a loop thread of its own beside the client's.
        super().__init__(asynchronous=True, batch_size=batch_size or CALLS_IN_FLIGHT_MAX, **options)
        self.asynchronous = asynchronous
        self.auto_mkdir = auto_mkdir
        self._connection = Connection(state_file, state_dir, realm)
        self._dir_maker = DirMaker()

    # -- the transaction: of this thread, or task, and what it calls; of no other

    @property
    def _intrans(self) -> bool:
        return self._own_transaction.get()[0]

    @_intrans.setter
    def _intrans(self, value: bool) -> None:
        self._own_transaction.set((value, self._transaction))

    @property
    def _transaction(self) -> Any:
        return self._own_transaction.get()[1]

    @_transaction.setter
    def _transaction(self, value: Any) -> None:
        self._own_transaction.set((self._intrans, value))

    # -- the client

    @property
    def clnt(self) -> SigmaClnt:
        """The client of this process, and in a worker of this proc; opened when it is first asked for. Unreachable if
        there is no instance."""
        return self._connection.clnt()

    @property
    def _sc(self) -> AsyncSigmaClnt:
        return self.clnt.asynchronous

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The client's, also after a fork."""
        return loopthread.shared().loop

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine on the client's loop and blocks for its result."""
        try:
            clnt = self.clnt
        except BaseException:
            coroutine.close()  # else Python warns of a coroutine that nobody awaited, on top of the error
            raise
        return clnt.run(coroutine)

    def close(self) -> None:
        """Ends the client's sessions; the next call opens new ones. Needed by nobody: a process does it at its exit."""
        self._connection.close()

    @property
    def fsid(self) -> str:
        """Equal for file systems of one instance and realm, on machines that know it by the same name."""
        return f"{entries.PROTOCOL}_{tokenize(*self._connection.where())}"

    async def _together(self, calls: Iterable[Coroutine[Any, Any, T]], batch_size: int | None = None) -> list[T]:
        """Results in order; ``batch_size`` calls at a time, all for -1. The first error ends what is under way, and is
        raised."""
        waiting = list(calls)
        results: list[Any] = [None] * len(waiting)
        numbered = enumerate(waiting)  # the queue of all workers: whoever is free takes the next call from it

        async def work() -> None:
            for number, call in numbered:
                results[number] = await call

        in_flight = batch_size or self.batch_size
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(len(waiting) if in_flight < 0 else min(in_flight, len(waiting))):
                    group.create_task(work())
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        finally:
            for _, call in numbered:
                call.close()
        return results

    # -- pathnames

    async def _is_name(self, path: str) -> bool:
        """Whether this is a name, not a pattern: nothing in it is special, or something has it, be it a link that
        leads nowhere."""
        return not has_magic(path) or await self._has_entry(self._strip_protocol(path))

    @on_client_loop
    async def _has_entry(self, path: str) -> bool:
        try:
            await self._sc.stat(path)
        except (serr.NotFound, serr.NotDir):
            return False
        return True

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(part) for part in path]
        return entries.strip(stringify_path(path))

    async def _with_parents(self, path: str, call: Callable[[], Awaitable[T]], *, make: bool) -> T:
        """What ``call`` returns; where the directory above ``path`` is missing, it is made first, if ``make``."""
        try:
            return await call()
        except serr.NotFound:
            parent = self._parent(path)
            if not make or entries.is_top(parent):
                raise
        await self._makedirs(parent, exist_ok=True)
        return await call()
