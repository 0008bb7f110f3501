"""The directories on ux, one per kernel node, in which a group's leader keeps what it wrote.

Those that are in step hold all that was acknowledged; which these are stands in ``grp-<i>-conf``, written under the
leader's fence. A write is acknowledged once every one of them has it, or is no longer called in step: so any of them
will do for the next leader (the in-sync replicas of Kafka).

Of one file all copies are the beginning of the same bytes, since one leader at a time writes it, in one order. Each
copy refuses what an older leader still sends: a new leader shows its fence to all that it can reach before it reads
any.
"""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from sigmaos_ray import debug, decoding, serr
from sigmaos_ray.deadlines import within
from sigmaos_ray.sigmap import NO_FENCE, OEXCL, OWRITE
from user.kv.paths import UX
from user.kv.tuning import COPIES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

    from sigmaos_ray import AsyncSigmaClnt
    from sigmaos_ray.leaderclnt import AsyncLeaderClnt
    from user.kv.paths import KvPaths

T = TypeVar("T")

_log = debug.selector("KVGRP")


class InStep(msgspec.Struct, frozen=True):
    """The contents of ``grp-<i>-conf``."""

    nodes: list[str]
    """Kernel ids; at least one."""


_decode: Final = decoding.json_decoder(InStep)


async def remove_copies(sc: AsyncSigmaClnt, paths: KvPaths, group: str) -> None:
    """Removes what a group wrote, at each node that can be reached. The group's procs must be gone."""
    for stat in await sc.get_dir(UX):
        try:
            await sc.rmdir(paths.copy(group, stat.name))
        except serr.NotFound:
            continue
        except serr.SESSION_ERRORS as error:  # the node is going away, as far as anybody knows
            debug.error(f"kv {group}: its copy at {stat.name} stays: {error}")
    with contextlib.suppress(serr.NotFound):
        # Last: a group without this file has never written anything, and its leader begins with an empty copy.
        await sc.remove(paths.conf(group))


class NodeCopy:
    """One copy: a directory at a kernel node, and the files of it that are being written. ``abandon`` it.

    Calls raise what the node's ux raises; a change that failed may have been made.
    """

    def __init__(self, sc: AsyncSigmaClnt, node: str, directory: str) -> None:
        self._sc = sc
        self.node = node
        self.directory = directory
        self._fds: dict[str, int] = {}
        self._complete: set[str] = set()
        """Files of which it has everything from their beginning on."""

    def _pn(self, name: str) -> str:
        return f"{self.directory}/{name}"

    async def sizes(self) -> dict[str, int]:
        """Its files, and how many bytes each has."""
        return {stat.name: stat.length for stat in await self._sc.get_dir(self.directory)}

    async def read(self, name: str) -> bytes:
        """All of a file."""
        return await self._sc.get_file(self._pn(name))

    def has(self, name: str) -> bool:
        """Whether it took part when the file was begun, and so has all of it."""
        return name in self._complete

    async def create(self, name: str) -> None:
        """Begins a file, to be ``append``ed to, and closed. Exists if it is there."""
        # OEXCL: whatever else has that name holds bytes that are not in this order.
        self._fds[name] = await self._sc.create(self._pn(name), mode=OWRITE | OEXCL)
        self._complete.add(name)

    async def append(self, name: str, data: bytes) -> None:
        """IOErr for a file that was not begun here."""
        fd = self._fds.get(name)
        if fd is None:
            raise serr.IOErr(self._pn(name), "is not open")
        await self._sc.write(fd, data)

    async def close_file(self, name: str) -> None:
        """May be repeated."""
        fd = self._fds.pop(name, None)
        if fd is not None:
            await self._sc.close_fd(fd)

    async def rename(self, name: str, new: str) -> None:
        """Of a file that was begun here."""
        await self._sc.rename(self._pn(name), self._pn(new))
        self._complete.discard(name)
        self._complete.add(new)

    async def remove(self, name: str) -> None:
        """A file that is gone already is fine."""
        with contextlib.suppress(serr.NotFound):
            await self._sc.remove(self._pn(name))

    async def become(self, source: NodeCopy) -> None:
        """Makes its files those of another copy. Wherever it is stopped, it holds at least what it held."""
        theirs, ours = await source.sizes(), await self.sizes()
        for name, size in theirs.items():
            # Equal in size is equal in contents: all copies of a file begin with the same bytes.
            if ours.get(name) != size:
                # Whole or not at all: a copy that is cut off here may be the only one that the next leader reaches.
                await self._sc.put_file_atomic(self._pn(name), await source.read(name))
        for name in ours.keys() - theirs.keys():
            await self.remove(name)

    async def clear(self) -> None:
        """Makes it an empty directory, whatever was there."""
        await self._sc.makedirs(self.directory)
        for name in await self.sizes():
            await self.remove(name)

    async def abandon(self) -> None:
        """Closes its files, as far as its ux answers."""
        with contextlib.suppress(serr.SigmaError):
            async with within(COPIES.answer_s, self.directory, "no answer"):
                for name in list(self._fds):
                    await self.close_file(name)


async def _outcomes(calls: Sequence[Coroutine[None, None, None]], copies: Sequence[NodeCopy]) -> list[object]:
    """What became of each call: None, or its error. One that goes on for long after another one is done is given up,
    with a Timeout of the copy. ``copies``: those of the first calls."""
    tasks = [asyncio.create_task(call, name="kv-copy") for call in calls]
    try:
        silent = (await asyncio.wait(tasks, timeout=COPIES.answer_s))[1]
        # As long as none has answered the fault may be here, or everywhere: then nothing is gained by giving up any.
        # A copy that joins does not count: it has not all that was written before.
        while silent and not any(_is_good(task) for task in tasks[: len(copies)]):
            silent = (await asyncio.wait(silent, return_when=asyncio.FIRST_COMPLETED))[1]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    why = f"no answer in {COPIES.answer_s:g} s"
    names = [copy.directory for copy in copies]
    return [
        serr.Timeout(names[number], why) if task.cancelled() and number < len(names) else _outcome(task)
        for number, task in enumerate(tasks)
    ]


def _is_good(task: asyncio.Task[None]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None


def _outcome(task: asyncio.Task[None]) -> BaseException | None:
    return None if task.cancelled() else task.exception()


class Copies:
    """The copies of one group, for its leader: ``JournalFiles``. ``open`` them once it leads, and ``close`` them.

    Each call goes to all copies in step. One that fails is said to be in step no more before the call returns; with the
    last one, the call fails. Stale says that another one leads: nothing is said of any copy then.
    """

    def __init__(self, sc: AsyncSigmaClnt, paths: KvPaths, group: str, leader: AsyncLeaderClnt, count: int) -> None:
        self._sc = sc
        self._paths = paths
        self._group = group
        self._leader = leader
        self._count = count
        """So many there are to be, if there are as many nodes."""
        self._conf = paths.conf(group)
        self._in_step: list[NodeCopy] = []
        """At all of which a write must be before it is acknowledged."""
        self._announced: list[str] = []
        """Their nodes, as the group's file has them: by now, or soon."""
        self._joining: NodeCopy | None = None
        """One more, that gets all that is written from some moment on, and is not in step yet."""
        self._announcing = asyncio.Lock()
        self._keeper: asyncio.Task[None] | None = None

    @property
    def nodes(self) -> list[str]:
        """The kernel nodes whose copies are in step."""
        return list(self._announced)

    # -- beginning

    async def open(self) -> None:
        """Blocks until one copy that is in step can be reached; the first leader ever begins with an empty one.
        Afterwards all that could be reached are equal, and refuse older leaders. Stale if another one leads."""
        await self._sc.fence_dir(self._conf, self._leader.fence)  # named knows by itself who leads
        copies = await self._reachable()
        if not copies:
            debug.error(f"kv {self._group}: waits for a ux that has, or may have, what the group wrote")
        # For ever, if need be: what was acknowledged is nowhere else.
        while not copies:
            await asyncio.sleep(COPIES.pause_s)
            copies = await self._reachable()
        self._in_step = copies
        # Those that were not reached lack what comes from now on: no later leader may read them.
        await self._announce(copies)

    async def _reachable(self) -> list[NodeCopy]:
        """The copies in step that can be reached, made equal."""
        try:
            nodes = _decode(await self._sc.get_file(self._conf)).nodes
        except serr.NotFound:
            # Nobody of this group has led before: the file is there before anything is written.
            return await self._first()
        return await self._equal([copy for copy in map(self._copy, nodes) if await self._is_reached(copy)])

    async def _first(self) -> list[NodeCopy]:
        """An empty copy, here if there is a ux here; none if no ux takes one."""
        for node in await self._candidates():
            copy = self._copy(node)
            if await self._is_cleared(copy):
                return [copy]
        return []

    async def _equal(self, copies: list[NodeCopy]) -> list[NodeCopy]:
        """The first of them, and those that now equal it. As often as one fails, begins with the others. The last
        log's end may differ: an older leader wrote it to some, acknowledged to nobody; so any will do."""
        while copies:
            source, *others = copies
            try:
                for copy in others:
                    await copy.become(source)
                break
            except serr.SigmaError as error:
                self._check(error)
                # Which of the two failed the error does not say: each is asked again.
                copies = [copy for copy in copies if await self._is_reached(copy)]
        return copies

    def _copy(self, node: str) -> NodeCopy:
        return NodeCopy(self._sc, node, self._paths.copy(self._group, node))

    async def _candidates(self) -> list[str]:
        """Nodes that run a ux, this one first: a leader writes fastest to its own."""
        try:
            nodes = [stat.name for stat in await self._sc.get_dir(UX)]
        except serr.NotFound:
            return []
        here = self._sc.kernel_id
        # The others in an order of the group's own, so that not all groups choose the same ones.
        return sorted(nodes, key=lambda node: (node != here, zlib.crc32(f"{self._group} {node}".encode())))

    async def _is_reached(self, copy: NodeCopy) -> bool:
        """Whether it is there, and refuses older leaders from now on."""
        try:
            async with within(COPIES.answer_s, copy.directory, "no answer"):
                await self._leader.fence_dir(copy.directory)
                # NotFound where the node came back with an empty disk: that is no copy any more.
                await copy.sizes()
        except serr.SigmaError as error:
            self._check(error)
            _log(f"{self._group}: copy at {copy.node}: {error}")
            return False
        return True

    async def _is_cleared(self, copy: NodeCopy) -> bool:
        """Whether it is there, empty, and refuses older leaders from now on."""
        try:
            async with within(COPIES.answer_s, copy.directory, "no answer"):
                await self._sc.makedirs(copy.directory)
                # Before it is emptied: behind that an older leader could still write into it.
                await self._leader.fence_dir(copy.directory)
            await copy.clear()
        except serr.SigmaError as error:
            self._check(error)
            _log(f"{self._group}: {copy.node} takes no copy: {error}")
            return False
        return True

    @staticmethod
    def _check(error: serr.SigmaError) -> None:
        """An error of one copy is that copy's; but Stale says that another one leads."""
        if isinstance(error, serr.Stale):
            raise error

    # -- which are in step

    async def _announce(self, copies: list[NodeCopy]) -> None:
        """Writes which copies are in step. Stale if another one leads; IOErr if it stays unknown."""
        nodes = [copy.node for copy in copies]
        content = msgspec.json.encode(InStep(nodes))
        for _ in range(COPIES.announce_tries_max):
            try:
                await self._sc.put_file(self._conf, content)
            except serr.SESSION_ERRORS as error:  # again is the same: the whole file, under the fence
                _log(f"{self._conf}: {error}")
                await asyncio.sleep(COPIES.pause_s)
            else:
                self._announced = nodes
                return
        raise serr.IOErr(self._conf, "cannot say which copies are in step")

    async def _drop(self, failed: Sequence[NodeCopy], error: serr.SigmaError) -> None:
        """Goes on without some. Their error, if none is left."""
        async with self._announcing:
            # One after the other: of two lists that are written side by side, the older one could stay.
            remaining = [copy for copy in self._in_step if copy not in failed]
            if len(remaining) == len(self._in_step):
                return  # another write failed there, too, and was quicker
            if not remaining:
                raise error
            debug.error(f"kv {self._group}: goes on without {', '.join(copy.node for copy in failed)}: {error}")
            # Announced before the write that failed there returns: what it acknowledges is at all copies in step.
            await self._announce(remaining)
            self._in_step = remaining

    # -- more of them

    def keep(self, turn: Callable[[], None]) -> None:
        """From now on new copies take the place of those that were lost. ``turn`` is called once one is ready: the
        caller then begins a log, writes a snapshot, and calls ``caught_up``."""
        if self._count > 1:
            self._keeper = asyncio.create_task(self._keep(turn), name="kv-copies")

    async def _keep(self, turn: Callable[[], None]) -> None:
        while True:
            if len(self._in_step) < self._count and self._joining is None:
                try:
                    await self._look(turn)
                except serr.Stale as error:  # whoever writes next hears it too, and ends this server
                    _log(f"{self._group}: {error}")
                    return
                except serr.SESSION_ERRORS as error:
                    _log(f"{self._group}: {error}")
            await asyncio.sleep(COPIES.look_s)

    async def _look(self, turn: Callable[[], None]) -> None:
        """Has one node, if there is one without a copy, take part in what is written from now on."""
        taken = [copy.node for copy in self._in_step]
        for node in await self._candidates():
            copy = self._copy(node)
            if node not in taken and await self._is_cleared(copy):
                _log(f"{self._group}: {node} is to take a copy")
                # In this order: the log that begins now is the first file that it has from its beginning on.
                self._joining = copy
                turn()
                return

    # A snapshot that was begun before the copy took part is not whole there. The turn that it asked for brings another
    # one.
    async def caught_up(self, snapshot: str, log: str) -> None:
        """A snapshot is written, and a log was begun before it: a copy that has both has everything."""
        copy = self._joining
        if copy is None or not (copy.has(snapshot) and copy.has(log)):
            return
        async with self._announcing:
            if self._joining is copy:
                # First every write has to be there, then it is announced: the other way round, a leader that takes
                # over in between would believe that it has what it missed.
                self._joining = None
                self._in_step = [*self._in_step, copy]
                await self._announce(self._in_step)
                _log(f"{self._group}: the copy at {copy.node} is in step")

    async def _at_joining(self, copy: NodeCopy, call: Awaitable[None]) -> None:
        """A copy that is not in step yet may fail; it is given up then."""
        try:
            async with within(COPIES.answer_s, copy.directory, "no answer"):
                await call
        except serr.SigmaError as error:
            self._check(error)
            if self._joining is copy:
                self._joining = None
                debug.error(f"kv {self._group}: no copy at {copy.node}: {error}")
            else:  # it came in step while this call was under way, and must not miss it
                await self._drop([copy], error)

    # -- files

    async def sizes(self) -> dict[str, int]:
        """The files of a copy, all being equal."""
        return await self._one(lambda copy: copy.sizes())

    async def read(self, name: str) -> bytes:
        """All of a file."""
        return await self._one(lambda copy: copy.read(name))

    async def create(self, name: str) -> None:
        """Begins a file."""
        await self._each(lambda copy: copy.create(name), "")

    async def append(self, name: str, data: bytes) -> None:
        """Returns once every copy in step has it."""
        if len(self._in_step) == 1 and self._joining is None:  # as it mostly is: no tasks
            await self._in_step[0].append(name, data)
        else:
            await self._each(lambda copy: copy.append(name, data), name)

    async def close_file(self, name: str) -> None:
        """No more of it comes."""
        await self._each(lambda copy: copy.close_file(name), name)

    async def rename(self, name: str, new: str) -> None:
        """Of a file that was begun here."""
        await self._each(lambda copy: copy.rename(name, new), name)

    async def remove(self, name: str) -> None:
        """Of a file that may be gone."""
        await self._each(lambda copy: copy.remove(name), "")

    async def _one(self, call: Callable[[NodeCopy], Awaitable[T]]) -> T:
        """Asks one copy after the other, until one answers."""
        while True:
            copy = self._in_step[0]
            try:
                return await call(copy)
            except serr.SigmaError as error:
                self._check(error)
                await self._drop([copy], error)

    async def _each(self, call: Callable[[NodeCopy], Coroutine[None, None, None]], name: str) -> None:
        """Has all copies do something, side by side. ``name``: the file that a copy that joins must have whole to take
        part; empty for what any takes part in."""
        copies, joining = list(self._in_step), self._joining
        calls: list[Coroutine[None, None, None]] = [call(copy) for copy in copies]
        if joining is not None and (not name or joining.has(name)):
            calls.append(self._at_joining(joining, call(joining)))
        # All of them, also after an error: only then it is known which copies lack something.
        results = await _outcomes(calls, copies)
        failed: list[NodeCopy] = []
        failure: serr.SigmaError | None = None
        # None stands for the one that joins. It fails by itself, so an error that comes from there is the leader's.
        for copy, result in zip((*copies, None), results, strict=False):
            if isinstance(result, serr.SigmaError) and copy is not None and not isinstance(result, serr.Stale):
                failed.append(copy)
                failure = result
            elif isinstance(result, BaseException):
                raise result
        if failure is not None:
            await self._drop(failed, failure)

    async def stop_growing(self) -> None:
        """No new copy from now on. To be called before the journal is closed, which a new copy would wait for."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait({self._keeper})

    async def close(self) -> None:
        """Lets go of the files, which stay for the next leader. After the journal is closed."""
        await self.stop_growing()
        for copy in (*self._in_step, *filter(None, [self._joining])):
            await copy.abandon()
        await self._sc.fence_dir(self._conf, NO_FENCE)
