"""A directory's entries, kept up to date, each with a value that is made when it is first asked for (W-11)."""

from __future__ import annotations

import asyncio
import inspect
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, cast

from sigmaos_ray import debug, serr
from sigmaos_ray.config import LOCAL
from sigmaos_ray.deadlines import within
from sigmaos_ray.fslib.dirview import DirView

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable
    from types import TracebackType

    from sigmaos_ray.fslib.clnt import AsyncFsLib

_log = debug.selector("FSLIB")

V = TypeVar("V")


class AsyncDirCache(Generic[V]):
    """A view of the directory ``pn`` that follows it by a watch, from the first call on until ``stop_watching``.

    ``new_value(name)`` makes the value of an entry, a coroutine function if need be; without it the value is the name.
    Names that begin with one of ``filters`` are hidden. If the watch breaks, the directory is read anew: no
    difference is lost. If it cannot be read at all, those that wait get the error; a later call tries again.
    """

    def __init__(
        self,
        sc: AsyncFsLib,
        pn: str,
        new_value: Callable[[str], V | Awaitable[V]] | None = None,
        filters: Collection[str] = (),
    ) -> None:
        self._sc = sc
        self._pathname = pn
        self._new_value = new_value
        self._view = DirView(filters)
        self._values: dict[str, tuple[int, asyncio.Task[V]]] = {}
        self._follower: asyncio.Task[None] | None = None
        self._is_read = False
        """True while the view is what the directory was when it was last heard of."""
        self._failure: serr.SigmaError | None = None
        self._is_stopped = False
        self._changed = asyncio.Event()

    # -- following

    async def _ready(self) -> None:
        """Returns once the directory was read."""
        if self._is_read:
            return
        await self._wait(lambda: self._is_read, None)

    async def _wait(self, reached: Callable[[], bool], timeout_s: float | None) -> None:
        """Returns once ``reached()``, looking after each change. Timeout past ``timeout_s``; the error if the directory
        cannot be read."""
        self._start()
        async with within(timeout_s, self._pathname):
            while not (self._is_read and reached()):
                changed = self._changed
                await changed.wait()
                if self._failure is not None:
                    # A new one for each: an error that many tasks raise gathers all of their tracebacks.
                    raise type(self._failure)(self._failure.obj, self._failure.msg)

    def _start(self) -> None:
        if self._is_stopped:
            raise serr.Closed(self._pathname, "the cache was stopped")
        if self._follower is None or self._follower.done():
            self._failure = None
            self._follower = asyncio.create_task(self._follow(), name=f"dircache-{self._pathname}")

    async def _follow(self) -> None:
        try:
            while True:
                await self._follow_once()
        except Exception as error:  # noqa: BLE001  # whatever it is, those that wait must hear of it
            _log(f"dircache {self._pathname}: {error}")
            self._is_read = False
            self._failure = serr.wrap(error, self._pathname)
            self._tell()

    async def _follow_once(self) -> None:
        """From a reading of the directory to the end of its watch. Raises what makes the reading impossible."""
        # The watch first: what changes while the directory is read is then told twice, which does no harm.
        async with self._sc.watch_dir(self._pathname) as watch:
            self._view.replace([stat.name for stat in await self._sc.core.list_dir(self._pathname, at_once=False)])
            self._is_read = True
            self._tell()
            while True:
                try:
                    events = await watch.read()
                except (*serr.SESSION_ERRORS, serr.Version) as error:
                    _log(f"dircache {self._pathname}: {error}")
                    return
                for event in events:
                    if event.kind == "created":
                        self._view.created(event.name)
                    else:
                        self._view.removed(event.name)
                self._tell()

    def _tell(self) -> None:
        """Something changed: values of what is gone go, and all that wait look."""
        values = self._values.items()
        for name in [name for name, (generation, _) in values if generation != self._view.generation(name)]:
            self._drop(name)
        # One event for each change: none that waits can take an old change for a new one.
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _drop(self, name: str) -> None:
        _, making = self._values.pop(name)
        if not making.done():
            making.cancel()

    async def stop_watching(self) -> None:
        """Ends it: those that wait, and later calls, get Closed. May be repeated."""
        self._is_stopped = True
        self._is_read = False
        follower, self._follower = self._follower, None
        tasks = [task for _, task in self._values.values()]
        if follower is not None:
            follower.cancel()
            tasks.append(cast("asyncio.Task[Any]", follower))
        for name in list(self._values):
            self._drop(name)
        if tasks:
            await asyncio.wait(tasks)
        self._failure = serr.Closed(self._pathname, "the cache was stopped")
        self._tell()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop_watching()

    # -- entries

    async def get_entries(self) -> list[str]:
        """The names, in order."""
        await self._ready()
        return self._view.names()

    async def nentry(self) -> int:
        """How many entries there are."""
        await self._ready()
        return len(self._view)

    async def generation(self, name: str) -> int:
        """Which appearance of the name this is. NotFound if it is not there."""
        await self._ready()
        generation = self._view.generation(name)
        if generation is None:
            raise serr.NotFound(f"{self._pathname.rstrip('/')}/{name}")
        return generation

    async def get_entry(self, name: str) -> V:
        """An entry's value, made if need be: once, however many ask. NotFound if there is no such entry; what
        ``new_value`` raises, and then the next who asks tries again."""
        generation = await self.generation(name)
        if self._new_value is None:
            return cast("V", name)
        value = self._values.get(name)
        if value is None:
            making = asyncio.create_task(self._make(name), name=f"dircache-value-{name}")
            making.add_done_callback(partial(self._made, name))
            value = self._values[name] = (generation, making)
        try:
            # Shielded: others may wait for the same value.
            return await asyncio.shield(value[1])
        except asyncio.CancelledError:
            # Two ways to be here: the caller was cancelled, or the making was, as its entry went.
            if value[1].cancelled() and self._values.get(name) is not value:
                raise serr.NotFound(f"{self._pathname.rstrip('/')}/{name}", "removed meanwhile") from None
            raise

    async def _make(self, name: str) -> V:
        assert self._new_value is not None
        value = self._new_value(name)
        return await value if inspect.isawaitable(value) else value

    def _made(self, name: str, making: asyncio.Task[V]) -> None:
        value = self._values.get(name)
        if value is not None and value[1] is making and not _is_made(making):
            del self._values[name]

    async def lookup_entry(self, name: str) -> V | None:
        """An entry's value, if it was made already; None otherwise."""
        await self._ready()
        if self._new_value is None:
            return cast("V", name) if name in self._view else None
        value = self._values.get(name)
        return value[1].result() if value is not None and _is_made(value[1]) else None

    async def invalidate_entry(self, name: str) -> bool:
        """Forgets an entry and its value, until it is seen again; tells whether it was there."""
        await self._ready()
        was_there = self._view.removed(name)
        self._tell()
        return was_there

    # -- waiting

    async def wait_entry_created(self, name: str, timeout_s: float | None = None) -> None:
        """Returns once the entry is there."""
        await self._wait(lambda: name in self._view, timeout_s)

    async def wait_entry_removed(self, name: str, timeout_s: float | None = None) -> None:
        """Returns once the entry is not there."""
        await self._wait(lambda: name not in self._view, timeout_s)

    async def wait_all_entries_created(self, names: Iterable[str], timeout_s: float | None = None) -> None:
        """Returns once all of them are there at a time."""
        wanted = list(names)
        await self._wait(lambda: all(name in self._view for name in wanted), timeout_s)

    async def wait_all_entries_removed(self, names: Iterable[str], timeout_s: float | None = None) -> None:
        """Returns once none of them is there."""
        unwanted = list(names)
        await self._wait(lambda: not any(name in self._view for name in unwanted), timeout_s)

    async def wait_entries_n(self, n: int, timeout_s: float | None = None) -> None:
        """Returns once there are at least ``n`` entries."""
        await self._wait(lambda: len(self._view) >= n, timeout_s)

    async def wait_get_entries_n(self, n: int, timeout_s: float | None = None) -> list[str]:
        """The names, once there are at least ``n``."""
        await self.wait_entries_n(n, timeout_s)
        return self._view.names()

    async def wait_empty(self, timeout_s: float | None = None) -> None:
        """Returns once there is no entry."""
        await self._wait(lambda: not len(self._view), timeout_s)

    async def wait_timed_random_entry(self, timeout_s: float = LOCAL.walk.entry_timeout_s) -> str:
        """The name of any entry, once there is one. NotFound if there is none in time."""
        await self._wait_some(timeout_s)
        return cast("str", self._view.any_name())

    async def wait_timed_round_robin(self, timeout_s: float = LOCAL.walk.entry_timeout_s) -> str:
        """The name of the next entry in turn, once there is one: all get the same share. NotFound if there is none in
        time."""
        await self._wait_some(timeout_s)
        return cast("str", self._view.next_name())

    async def _wait_some(self, timeout_s: float) -> None:
        try:
            await self.wait_entries_n(1, timeout_s)
        except serr.Timeout:
            raise serr.NotFound(self._pathname, f"no entry within {timeout_s} s") from None


def _is_made(making: asyncio.Task[Any]) -> bool:
    return making.done() and not making.cancelled() and making.exception() is None
