"""Removing directories with all that is below them, by what was seen there and not by what its names mean later."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple, Self

from sigmaos_ray import serr
from sigmaos_ray.fslib.naming import about
from sigmaos_ray.fslib.union import dir_pages
from sigmaos_ray.sigmap import OREAD

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from sigmaos_ray.fslib.core import FsCore
    from sigmaos_ray.fslib.fidclnt import RemoteFid
    from sigmaos_ray.sigmap import Fence, Stat


class DirectoryPlace(NamedTuple):
    """Where a directory is: for its errors, and for the fences of changes there."""

    pathname: str
    parts: list[str]
    way: list[str]
    """What the links on the way led to."""

    def below(self, name: str) -> Self:
        return type(self)(f"{self.pathname.rstrip('/')}/{name}", [*self.parts, name], [*self.way, name])


class TreeRemoval:
    """One removal. Each entry goes by the fid of its directory, by its name, and only if it still is the object that
    was listed (P-15): whatever others rename, and put in its place, what was not below is not removed.

    So many entries are under way at a time; of directories within directories a task goes on by itself where there is
    no room for another one, so that all together hold few fids however wide and deep it is."""

    def __init__(self, core: FsCore) -> None:
        self._core = core
        self._free_count = core.config.streams.removes_in_flight
        self._error: serr.SigmaError | None = None
        """The first one; nothing is begun after it."""

    def _fence(self, place: DirectoryPlace) -> Fence:
        return self._core.fence_of(place.parts, place.way)

    async def directory(self, fid: RemoteFid, place: DirectoryPlace) -> None:
        """Removes an open directory, whose fid is freed, with all below it. NotEmpty if something came meanwhile,
        NotFound if it does not have its name any more."""
        # One request carries one fence: where entries below have others, they go one by one.
        at_once = fid.removes_all and not self._core.fences.has_below(place.pathname)
        if not at_once:
            try:
                await self.entries(fid, place)
            except BaseException:
                fid.free()
                raise
        with about(place.pathname):
            await fid.remove(self._fence(place), everything=at_once)

    async def entries(self, fid: RemoteFid, place: DirectoryPlace) -> None:
        """Empties an open directory. The first error is raised when all that was under way has ended."""
        with about(place.pathname):
            # All of it first: a listing that goes on while its entries go would be another one.
            stats = [stat async for page in dir_pages(fid, self._core.config) for stat in page]
        async with asyncio.TaskGroup() as group:
            for stat in stats:
                if self._error is not None:
                    break
                work = self._noting(self._entry(fid, place.below(stat.name), stat))
                if self._free_count:
                    self._free_count -= 1
                    group.create_task(work, name="remove").add_done_callback(self._has_ended)
                else:
                    await work
        if self._error is not None:
            raise self._error

    def _has_ended(self, _task: asyncio.Task[None]) -> None:
        self._free_count += 1

    async def _noting(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except serr.NotFound:  # somebody else removed it, or gave its name to another object
            return
        except serr.SigmaError as error:
            self._error = self._error or error

    async def _entry(self, fid: RemoteFid, place: DirectoryPlace, stat: Stat) -> None:
        if not stat.is_dir:
            with about(place.pathname):
                await fid.remove_file([stat.name], resolve=False, fence=self._fence(place), qid_path=stat.qid.path)
            return
        with about(place.pathname):
            below, qids = await fid.walk([stat.name])
        try:
            if [qid.path for qid in qids] != [stat.qid.path]:
                raise serr.NotFound(place.pathname, "another object has its name by now")
            with about(place.pathname):
                await below.open(OREAD)
        except BaseException:
            below.free()
            raise
        await self.directory(below, place)
