"""Watches: waiting for entries to come and go (W-1 to W-12).

A watch is set relative to the version that a directory had when it was opened; if it changed since, the server says
Version and everything starts over, so that no change falls between looking and waiting (W-3).
"""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Literal, NoReturn, Self

import msgspec
from google.protobuf.message import DecodeError

from sigmaos_ray import serr
from sigmaos_ray.deadlines import is_cancelled, within
from sigmaos_ray.fslib.fdtable import OpenFd
from sigmaos_ray.fslib.naming import about
from sigmaos_ray.fslib.part import FsPart, NeedsDirs, NeedsEntries, NeedsFiles
from sigmaos_ray.fslib.pathnames import parse
from sigmaos_ray.fslib.repeats import LOOKED
from sigmaos_ray.pb import sigmap_pb2 as pb
from sigmaos_ray.sigmap import OREAD, path

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from types import TracebackType

    from sigmaos_ray.fslib.core import FsCore
    from sigmaos_ray.fslib.fidclnt import RemoteFid
    from sigmaos_ray.sigmap import Mode, Stat


class WatchEvent(msgspec.Struct, frozen=True):
    """One change of a directory's entries; a rename is a ``removed`` and a ``created``."""

    kind: Literal["created", "removed"]
    name: str


class DirWatch:
    """A watch of one directory: an async context manager that is an async iterator of events.

    Set when the block is entered; tells what changes after that, each once and in order. Ends with Closed when the
    directory is removed, and with a session error when its server goes away.
    """

    def __init__(self, core: FsCore, pn: str) -> None:
        self._core = core
        self._pathname = pn
        self._dir: RemoteFid | None = None
        self._watch: RemoteFid | None = None
        self._unread: list[WatchEvent] = []
        self._reading: asyncio.Task[bytes] | None = None
        """The read under way. It outlives a time-out, and ends with the block."""

    async def __aenter__(self) -> Self:
        with about(self._pathname):
            await self._core.repeats.call(self._set, LOOKED)
        return self

    async def _set(self) -> None:
        while self._watch is None:
            directory = await self._core.open_dir(self._pathname)
            try:
                self._watch = await directory.watch()
                self._dir = directory
            except serr.Version:  # it changed between the open and the watch
                directory.free()
            except BaseException:
                directory.free()
                raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        watch, self._watch = self._watch, None
        reading, self._reading = self._reading, None
        if self._dir is not None:
            self._dir.free()
        try:
            if reading is not None:
                reading.cancel()
                await asyncio.wait({reading})
        finally:
            if watch is not None and is_cancelled():
                watch.free()
            elif watch is not None:
                # Not for long: a time-out of a read in the block, perhaps, led here.
                await self._core.behind.briefly(watch.clunk_quietly(), "watch-clunk")

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> WatchEvent:
        return await self.next_event()

    @property
    def is_lost(self) -> bool:
        """True once the session with the directory's server is over."""
        return self._dir is None or self._dir.session.ended

    async def has(self, name: str) -> bool:
        """Whether the directory that is watched has an entry of that name. Asked of that very directory, also if its
        name is another one's by now, or gone: a session error if its server cannot say."""
        if self._dir is None:
            raise serr.Closed(self._pathname, "the watch is not set")
        try:
            await self._dir.stat([name])
        except serr.NotFound:
            return False
        return True

    async def next_event(self, timeout_s: float | None = None) -> WatchEvent:
        """The next change. Timeout if there is none in time; the watch stays set."""
        while not self._unread:
            events = await self.read(timeout_s)
            self._unread.extend(events)
        return self._unread.pop(0)

    async def read(self, timeout_s: float | None = None) -> list[WatchEvent]:
        """All changes since the last read; blocks until there is one. A time-out loses none; Closed once the block
        was left, also for who waits then."""
        if self._unread:
            unread, self._unread = self._unread, []
            return unread
        if self._watch is None:
            raise serr.Closed(self._pathname, "the watch is not set")
        if self._reading is None:
            self._reading = asyncio.create_task(self._watch.read(0, self._core.io_bytes_max), name="watch-read")
        reading = self._reading
        # The read goes on past a time-out here, and the next caller waits for it: a server tells each change once, and
        # what a cancelled read was about to return would be lost.
        await asyncio.wait({reading}, timeout=timeout_s)
        if not reading.done():
            raise serr.Timeout(self._pathname, f"no change in {timeout_s} s")
        if reading is not self._reading:  # others waited for the same changes, and have taken them
            return await self.read(timeout_s) if self._watch is not None else self._closed()
        self._reading = None
        if reading.cancelled():
            return self._closed()
        with about(self._pathname):
            events = _events_from(reading.result())
        return [WatchEvent("removed" if event.kind else "created", event.name) for event in events]

    def _closed(self) -> NoReturn:
        raise serr.Closed(self._pathname, "the watch was closed")


def _events_from(data: bytes) -> Sequence[pb.WatchEvent]:
    try:
        return pb.WatchEventList.FromString(data).events
    except DecodeError as error:
        raise serr.IOErr(msg=f"what a watch returned is no list of events: {error}") from error


class WatchCalls(FsPart, NeedsEntries, NeedsFiles, NeedsDirs):
    """Calls that wait for changes."""

    def watch_dir(self, pn: str) -> DirWatch:
        """A watch of a directory's entries, one level deep: ``async with sc.watch_dir(pn) as w: async for e in w``."""
        return DirWatch(self.core, pn)

    async def wait_create(self, pn: str, timeout_s: float | None = None) -> None:
        """Returns once ``pn`` exists. NotFound if its parent is missing; Timeout past ``timeout_s`` (0: look once)."""
        await self._wait_entry(pn, timeout_s, present=True)

    async def wait_remove(self, pn: str, timeout_s: float | None = None) -> None:
        """Returns once ``pn`` was removed, also with its directory; at once if it never was. NotFound if its parent is
        missing, or nothing leads there any more, and Unreachable if its server does not come back: then nobody knows
        whether it is there. Timeout past ``timeout_s`` (0: look once)."""
        await self._wait_entry(pn, timeout_s, present=False)

    async def _wait_entry(self, pn: str, timeout_s: float | None, *, present: bool) -> None:
        parts, _ = parse(pn)
        mount = self.core.mounts.at(tuple(parts))
        # Neither is an entry of the directory: it has no name of its own there.
        if path.is_union(parts[-1]) or (mount is not None and mount.is_asked_for):

            async def reached() -> bool:
                return await self._exists(pn.rstrip("/")) is present

            await self._wait_until(pn, _parent_of(pn), reached, timeout_s)
            return
        with about(pn):
            await self._wait_change(_parent_of(pn), parts[-1], timeout_s, present=present)

    async def _wait_change(self, directory: str, name: str, timeout_s: float | None, *, present: bool) -> None:
        once = timeout_s is not None and timeout_s <= 0
        async with within(None if once else timeout_s, directory):
            while True:
                async with self.watch_dir(directory) as watch:
                    if await _reaches(watch, name, present=present, once=once):
                        return
                if once:
                    raise serr.Timeout(directory, "not yet")

    async def open_wait(self, pn: str, mode: Mode = OREAD, timeout_s: float | None = None) -> int:
        """``open``, once the file exists. NotFound if its parent is missing; Timeout past ``timeout_s`` (0: look
        once)."""
        return self.core.fds.add(OpenFd(await self._open_fid_wait(pn, mode, timeout_s), mode, pn))

    async def _open_fid_wait(self, pn: str, mode: Mode, timeout_s: float | None) -> RemoteFid:
        """An open fid of ``pn``, once it exists; the caller clunks it."""
        fids: list[RemoteFid] = []

        async def opened() -> bool:
            try:
                fids.append(await self.core.open_fid(pn, mode))
            except serr.NotFound:
                return False
            return True

        try:
            await self._wait_until(pn, _parent_of(pn), opened, timeout_s)
        except BaseException:
            # The time may have run out, or the caller been cancelled, once it was open: while the watch was closed.
            for fid in fids:
                fid.free(abort=True)
            raise
        return fids[0]

    async def get_file_watch(self, pn: str, timeout_s: float | None = None) -> bytes:
        """``get_file``, once the file exists. Raises like ``open_wait``."""
        contents: list[bytes] = []

        async def read() -> bool:
            try:
                contents.append(await self.get_file(pn))
            except serr.NotFound:
                return False
            return True

        await self._wait_until(pn, _parent_of(pn), read, timeout_s)
        return contents[0]

    async def wait_empty(self, pn: str, timeout_s: float | None = None) -> None:
        """Returns once the directory has no entries."""

        async def reached() -> bool:
            return not await self._listed(pn)

        await self._wait_until(pn, pn, reached, timeout_s)

    async def read_dir_watch(
        self, pn: str, wanted: Callable[[list[Stat]], bool | Awaitable[bool]], timeout_s: float | None = None
    ) -> None:
        """Hands ``wanted`` the entries, again after each change, for as long as it returns true (it wants to see more).
        Timeout past ``timeout_s`` (0: look once)."""

        async def reached() -> bool:
            more = wanted(await self._listed(pn))
            return not (await more if inspect.isawaitable(more) else more)

        await self._wait_until(pn, pn, reached, timeout_s)

    async def wait_entries(self, pn: str, n: int, timeout_s: float | None = None) -> list[str]:
        """Returns the names once the directory has at least ``n`` entries."""

        stats: list[Stat] = []

        async def reached() -> bool:
            stats[:] = await self._listed(pn)
            return len(stats) >= n

        await self._wait_until(pn, pn, reached, timeout_s)
        return [stat.name for stat in stats]

    async def _listed(self, pn: str) -> list[Stat]:
        """The entries, however fast they change: who waits looks again after each change."""
        with about(pn):
            return await self.core.list_dir(pn, at_once=False)

    async def _exists(self, pn: str) -> bool:
        try:
            await self.stat(pn)
        except serr.NotFound:
            return False
        return True

    async def wait_until(
        self,
        directory: str,
        reached: Callable[[], Awaitable[bool]],
        timeout_s: float | None = None,
        *,
        of: Callable[[str], bool] | None = None,
    ) -> None:
        """Returns once ``reached()`` is true: looks, and looks again after each change of the directory's entries, or
        of those alone whose names ``of`` is true of. Timeout past ``timeout_s`` (0: look once). For recipes, which know
        more of their entries than a name."""
        await self._wait_until(directory, directory, reached, timeout_s, of)

    async def _wait_until(
        self,
        pn: str,
        directory: str,
        reached: Callable[[], Awaitable[bool]],
        timeout_s: float | None,
        of: Callable[[str], bool] | None = None,
    ) -> None:
        with about(pn):
            if timeout_s is not None and timeout_s <= 0:
                await self.stat(directory)  # NotFound, as a watch would say
                if not await reached():
                    raise serr.Timeout(pn, "not yet")
                return
            async with within(timeout_s, pn):
                await self._watch_until(directory, reached, of)

    async def _watch_until(
        self, directory: str, reached: Callable[[], Awaitable[bool]], of: Callable[[str], bool] | None
    ) -> None:
        """Looks, and looks again after each change of the directory. A server that goes away meanwhile is looked for
        anew; a directory that is removed meanwhile ends the wait, one way or the other."""
        while True:
            async with self.watch_dir(directory) as watch:
                while not await reached():
                    try:
                        while not any(of is None or of(event.name) for event in await watch.read()):
                            continue
                    except (*serr.SESSION_ERRORS, serr.Version):
                        break
                else:
                    return
            if await reached():
                return


async def _reaches(watch: DirWatch, name: str, *, present: bool, once: bool) -> bool:
    """True once the entry is as it should be; False if the watch is of no use any more, or after the first look."""
    try:
        while await watch.has(name) is not present:
            if once:
                return False
            while all(event.name != name for event in await watch.read()):
                continue
    except (*serr.SESSION_ERRORS, serr.UnknownFid, serr.Version) as error:
        # A directory that was removed was empty by then. All else says that its server is lost, or that too much has
        # happened: the entry may be there.
        return isinstance(error, serr.Closed) and not (present or watch.is_lost or isinstance(error, serr.NotLeading))
    return True


def _parent_of(pn: str) -> str:
    """Where ``pn`` comes and goes; links to that directory are followed."""
    parts, _ = parse(pn)
    if len(parts) < 2:
        raise serr.Inval(pn, "the root neither comes nor goes")
    return "/".join(parts[:-1]) + "/"
