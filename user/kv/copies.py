"""The directories on ux, one per kernel node, in which a group's leader keeps what it wrote.

Those that are in step hold all that was acknowledged; which these are stands in ``grp-<i>-conf``, written under the
leader's fence. A write is acknowledged once every one of them has it, or is no longer called in step: so any of them
will do for the next leader (the in-sync replicas of Kafka).

Of one file all copies are the beginning of the same bytes, since one leader at a time writes it, in one order.
"""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from sigmaos_ray import debug, decoding, serr
from sigmaos_ray.sigmap import NO_FENCE, OEXCL, OWRITE
from user.kv.paths import UX

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from sigmaos_ray import AsyncSigmaClnt
    from sigmaos_ray.leaderclnt import AsyncLeaderClnt
    from user.kv.paths import KvPaths

T = TypeVar("T")

_PAUSE_S: Final = 0.5
_LOOK_S: Final = 1.0
"""How often a leader that has too few copies looks for a node for another one."""
_TELL_TRIES_MAX: Final = 20
_log = debug.selector("KVGRP")


class InStep(msgspec.Struct, frozen=True):
    """The contents of ``grp-<i>-conf``."""

    nodes: list[str]
    """Kernel ids; never none."""


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
        await sc.remove(paths.conf(group))


class NodeCopy:
    """One copy: a directory, and the files of it that are being written."""

    def __init__(self, sc: AsyncSigmaClnt, node: str, directory: str) -> None:
        self._sc = sc
        self.node = node
        self.directory = directory
        self._fds: dict[str, int] = {}
        self._made: set[str] = set()

    def _pn(self, name: str) -> str:
        return f"{self.directory}/{name}"

    async def sizes(self) -> dict[str, int]:
        """Its files."""
        return {stat.name: stat.length for stat in await self._sc.get_dir(self.directory)}

    async def read(self, name: str) -> bytes:
        return await self._sc.get_file(self._pn(name))

    def has(self, name: str) -> bool:
        """Whether it was there when a file was begun, and has it whole."""
        return name in self._made

    async def create(self, name: str) -> None:
        """Begins a file, to be ``append``ed to, and closed. Exists if it is there."""
        self._fds[name] = await self._sc.create(self._pn(name), mode=OWRITE | OEXCL)
        self._made.add(name)

    async def append(self, name: str, data: bytes) -> None:
        fd = self._fds.get(name)
        if fd is None:
            raise serr.IOErr(self._pn(name), "is not open")
        await self._sc.write(fd, data)

    async def close_file(self, name: str) -> None:
        fd = self._fds.pop(name, None)
        if fd is not None:
            await self._sc.close_fd(fd)

    async def rename(self, name: str, new: str) -> None:
        await self._sc.rename(self._pn(name), self._pn(new))
        self._made.discard(name)
        self._made.add(new)

    async def remove(self, name: str) -> None:
        with contextlib.suppress(serr.NotFound):
            await self._sc.remove(self._pn(name))

    async def become(self, source: NodeCopy) -> None:
        """Makes its files those of another copy. Whatever it is stopped by, it holds as much as it held."""
        theirs, ours = await source.sizes(), await self.sizes()
        for name, size in theirs.items():
            if ours.get(name) != size:
                await self._sc.put_file_atomic(self._pn(name), await source.read(name))
        for name in ours.keys() - theirs.keys():
            await self.remove(name)

    async def clear(self) -> None:
        """Makes it an empty directory."""
        await self._sc.makedirs(self.directory)
        for name in await self.sizes():
            await self.remove(name)

    async def abandon(self) -> None:
        """Closes its files, as far as its server takes part."""
        for name in list(self._fds):
            with contextlib.suppress(serr.SigmaError):
                await self.close_file(name)


class Copies:
    """The copies of one group, for its leader. ``open`` them once it leads, and ``close`` them.

    Each call is one to all copies in step. One that fails is no longer in step; with the last one, the call fails.
    """

    def __init__(self, sc: AsyncSigmaClnt, paths: KvPaths, group: str, leader: AsyncLeaderClnt, count: int) -> None:
        self._sc = sc
        self._paths = paths
        self._group = group
        self._leader = leader
        self._count = count
        """So many there are to be, given so many nodes."""
        self._conf = paths.conf(group)
        self._stores: list[NodeCopy] = []
        """At all of which a write must be."""
        self._told: list[str] = []
        self._joining: NodeCopy | None = None
        self._telling = asyncio.Lock()
        self._keeper: asyncio.Task[None] | None = None

    @property
    def nodes(self) -> list[str]:
        """The kernel nodes whose copies are in step."""
        return list(self._told)

    # -- beginning

    async def open(self) -> None:
        """Blocks until one copy that is in step can be reached; the first leader ever begins with an empty one.
        Afterwards all that can be reached are equal, and refuse older leaders."""
        await self._sc.fence_dir(self._conf, self._leader.fence)  # named knows by itself who leads
        found = await self._found()
        if not found:
            debug.error(f"kv {self._group}: waits for a ux that has, or may have, what the group wrote")
        while not found:
            await asyncio.sleep(_PAUSE_S)
            found = await self._found()
        self._stores = found
        await self._tell(found)

    async def _found(self) -> list[NodeCopy]:
        try:
            known = _decode(await self._sc.get_file(self._conf)).nodes
        except serr.NotFound:
            return await self._first()
        reached = [store for store in map(self._store, known) if await self._is_reached(store)]
        return await self._equal(reached)

    async def _first(self) -> list[NodeCopy]:
        """An empty copy, here if there is a ux here."""
        for node in await self._candidates():
            store = self._store(node)
            if await self._is_cleared(store):
                return [store]
        return []

    async def _equal(self, stores: list[NodeCopy]) -> list[NodeCopy]:
        """The first of them, and those that now equal it. As often as one fails, begins with the others."""
        while stores:
            source, *others = stores
            try:
                for store in others:
                    await store.become(source)
            except serr.SigmaError as error:
                self._check(error)
                stores = [store for store in stores if await self._is_reached(store)]
            else:
                break
        return stores

    def _store(self, node: str) -> NodeCopy:
        return NodeCopy(self._sc, node, self._paths.copy(self._group, node))

    async def _candidates(self) -> list[str]:
        """Nodes that run a ux, this one first."""
        try:
            nodes = [stat.name for stat in await self._sc.get_dir(UX)]
        except serr.NotFound:
            return []
        here = self._sc.kernel_id
        # The others in an order of the group's own, so that not all groups choose the same ones.
        return sorted(nodes, key=lambda node: (node != here, zlib.crc32(f"{self._group} {node}".encode())))

    async def _is_reached(self, store: NodeCopy) -> bool:
        """Whether it is there, and refuses older leaders from now on."""
        try:
            await self._leader.fence_dir(store.directory)
            await store.sizes()
        except serr.SigmaError as error:
            self._check(error)
            _log(f"{self._group}: copy at {store.node}: {error}")
            return False
        return True

    async def _is_cleared(self, store: NodeCopy) -> bool:
        try:
            await self._sc.makedirs(store.directory)
            await self._leader.fence_dir(store.directory)
            await store.clear()
        except serr.SigmaError as error:
            self._check(error)
            _log(f"{self._group}: {store.node} takes no copy: {error}")
            return False
        return True

    @staticmethod
    def _check(error: serr.SigmaError) -> None:
        """An error of one copy is that copy's; but Stale says that another one leads."""
        if isinstance(error, serr.Stale):
            raise error

    # -- which are in step

    async def _tell(self, stores: list[NodeCopy]) -> None:
        """Writes which copies are in step. Stale if another one leads; IOErr if it stays unknown."""
        nodes = [store.node for store in stores]
        content = msgspec.json.encode(InStep(nodes))
        for _ in range(_TELL_TRIES_MAX):
            try:
                await self._sc.put_file(self._conf, content)
            except serr.SESSION_ERRORS as error:  # again is the same: the whole file, under the fence
                _log(f"{self._conf}: {error}")
                await asyncio.sleep(_PAUSE_S)
            else:
                self._told = nodes
                return
        raise serr.IOErr(self._conf, "cannot say which copies are in step")

    async def _drop(self, failed: Sequence[NodeCopy], error: serr.SigmaError) -> None:
        """Goes on without some. Their error, if none is left."""
        async with self._telling:
            left = [store for store in self._stores if store not in failed]
            if len(left) == len(self._stores):
                return
            if not left:
                raise error
            debug.error(f"kv {self._group}: goes on without {', '.join(store.node for store in failed)}: {error}")
            await self._tell(left)
            self._stores = left

    # -- more of them

    def keep(self, turn: Callable[[], None]) -> None:
        """From now on new copies take the place of those that were lost. ``turn`` is called once one is ready: the
        caller then begins a log, writes a snapshot, and says ``caught_up``."""
        if self._count > 1:
            self._keeper = asyncio.create_task(self._keep(turn), name="kv-copies")

    async def _keep(self, turn: Callable[[], None]) -> None:
        while True:
            if len(self._stores) < self._count and self._joining is None:
                try:
                    await self._look(turn)
                except serr.Stale as error:  # whoever writes next learns it too, and ends this server
                    _log(f"{self._group}: {error}")
                    return
                except serr.SESSION_ERRORS as error:
                    _log(f"{self._group}: {error}")
            await asyncio.sleep(_LOOK_S)

    async def _look(self, turn: Callable[[], None]) -> None:
        taken = [store.node for store in self._stores]
        for node in await self._candidates():
            store = self._store(node)
            if node not in taken and await self._is_cleared(store):
                _log(f"{self._group}: {node} is to take a copy")
                self._joining = store
                turn()
                return

    async def caught_up(self, snapshot: str, log: str) -> None:
        """A snapshot is written, and a log was begun before it: who has both has everything."""
        store = self._joining
        if store is None or not (store.has(snapshot) and store.has(log)):
            return
        async with self._telling:
            if self._joining is store:  # from now on it must not miss anything
                self._joining = None
                self._stores = [*self._stores, store]
                await self._tell(self._stores)
                _log(f"{self._group}: the copy at {store.node} is in step")

    async def _at_joining(self, store: NodeCopy, call: Awaitable[None]) -> None:
        """A copy that is not in step yet may fail; it is given up then."""
        try:
            await call
        except serr.SigmaError as error:
            self._check(error)
            if self._joining is store:
                self._joining = None
                debug.error(f"kv {self._group}: no copy at {store.node}: {error}")
            else:
                await self._drop([store], error)

    # -- files

    async def sizes(self) -> dict[str, int]:
        """The files of a copy, all being equal."""
        return await self._one(lambda store: store.sizes())

    async def read(self, name: str) -> bytes:
        return await self._one(lambda store: store.read(name))

    async def create(self, name: str) -> None:
        """Begins a file."""
        await self._each(lambda store: store.create(name), "")

    async def append(self, name: str, data: bytes) -> None:
        """Returns once every copy in step has it."""
        if len(self._stores) == 1 and self._joining is None:  # as it mostly is: no tasks
            await self._stores[0].append(name, data)
        else:
            await self._each(lambda store: store.append(name, data), name)

    async def close_file(self, name: str) -> None:
        """No more of it comes."""
        await self._each(lambda store: store.close_file(name), name)

    async def rename(self, name: str, new: str) -> None:
        """Of a file that was begun here."""
        await self._each(lambda store: store.rename(name, new), name)

    async def remove(self, name: str) -> None:
        """Of a file that may be gone."""
        await self._each(lambda store: store.remove(name), "")

    async def _one(self, call: Callable[[NodeCopy], Awaitable[T]]) -> T:
        while True:
            store = self._stores[0]
            try:
                return await call(store)
            except serr.SigmaError as error:
                self._check(error)
                await self._drop([store], error)

    async def _each(self, call: Callable[[NodeCopy], Awaitable[None]], name: str) -> None:
        """``name``: what a copy that joins must have, to take part."""
        stores, joining = list(self._stores), self._joining
        calls: list[Awaitable[None]] = [call(store) for store in stores]
        if joining is not None and (not name or joining.has(name)):
            calls.append(self._at_joining(joining, call(joining)))
        results = await asyncio.gather(*calls, return_exceptions=True)
        failed: list[NodeCopy] = []
        why: serr.SigmaError | None = None
        for store, result in zip((*stores, None), results, strict=False):
            if isinstance(result, serr.SigmaError) and store is not None and not isinstance(result, serr.Stale):
                failed.append(store)
                why = result
            elif isinstance(result, BaseException):
                raise result
        if why is not None:
            await self._drop(failed, why)

    async def stop_growing(self) -> None:
        """No new copy from now on: before whoever writes stops."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait({self._keeper})

    async def close(self) -> None:
        """The files stay, for the next leader."""
        await self.stop_growing()
        for store in (*self._stores, *filter(None, [self._joining])):
            await store.abandon()
        await self._sc.fence_dir(self._conf, NO_FENCE)
