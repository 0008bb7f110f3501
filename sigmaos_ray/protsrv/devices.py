"""Files that a server makes itself, laid over its root: ``.statsd``, the ``rpc`` device (R-1, R-8, R-13)."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Final

from sigmaos_ray import serr
from sigmaos_ray.protsrv.node import WHATEVER, ChangeHow, Dir, Node, OpenFile, OpenHow
from sigmaos_ray.sigmap import (
    DEV_STAT,
    DMDEVICE,
    DMDIR,
    NO_FENCE,
    OACCESS_MASK,
    OEXCL,
    OREAD,
    OWRITE,
    Fence,
    Perm,
    Qid,
    Stat,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from sigmaos_ray.rpcsrv import Caller

OVERLAY_PATH: Final = 0xFFFF_FFFF_0000_0000
"""Qid paths of overlay objects lie above those that servers give out."""


class ReadOnlyDir(Dir):
    """A directory whose entries are the server's matter: ``nodes`` says which there are now."""

    dev = DEV_STAT
    short_is_last = True

    def __init__(self, name: str, path: int) -> None:
        self._name = name
        self._path = OVERLAY_PATH + path

    @abc.abstractmethod
    def nodes(self) -> dict[str, Node]:
        """The entries by name."""

    @property
    def name(self) -> str:
        return self._name

    @property
    def perm(self) -> Perm:
        return DMDIR | 0o555

    def qid(self) -> Qid:
        return Qid.of(self.perm, 0, self._path)

    async def stat(self, caller: Caller) -> Stat:
        return Stat(name=self._name, qid=self.qid(), mode=self.perm, dev=self.dev, length=len(self.nodes()))

    async def lookup(self, caller: Caller, name: str) -> Node:
        node = self.nodes().get(name)
        if node is None:
            raise serr.NotFound(name)
        return node

    async def entries(self, caller: Caller, after: str, limit: int) -> list[Stat]:
        nodes = self.nodes()
        names = sorted(name for name in nodes if name > after)[:limit]
        return [await nodes[name].stat(caller) for name in names]

    async def create(self, caller: Caller, name: str, how: OpenHow) -> tuple[Node, OpenFile | None]:
        raise serr.NotSupported(name, f"entries of {self._name!r} are made by the server")

    async def put(self, caller: Caller, name: str, data: bytes, how: OpenHow, offset: int = 0) -> int:
        raise serr.NotSupported(name, f"entries of {self._name!r} are made by the server")


class StaticDir(ReadOnlyDir):
    """A directory whose entries the server fixes when it starts."""

    def __init__(self, name: str, nodes: Sequence[Node], path: int, dev: int) -> None:
        super().__init__(name, path)
        self._nodes = {node.name: node for node in nodes}
        self.dev = dev

    def nodes(self) -> dict[str, Node]:
        return self._nodes


class DeviceNode(Node):
    """Base of the files that a server makes: no length that counts, no removal, no renaming. ``path``: distinguishes
    them within their server; ``OVERLAY_PATH`` is added."""

    dev = DEV_STAT

    def __init__(self, name: str, path: int, perm: Perm = 0o444) -> None:
        self._name = name
        self._perm = DMDEVICE | perm
        self._path = OVERLAY_PATH + path

    @property
    def name(self) -> str:
        return self._name

    @property
    def perm(self) -> Perm:
        return self._perm

    def qid(self) -> Qid:
        return Qid.of(self._perm, 0, self._path)

    async def stat(self, caller: Caller) -> Stat:
        return Stat(name=self._name, qid=self.qid(), mode=self._perm, dev=self.dev, length=self.length())

    def length(self) -> int:
        """What a stat shows, in bytes."""
        return 0


class ReportNode(DeviceNode):
    """A read-only file whose contents are made when it is opened: who reads it in pieces reads one report, not bits of
    several."""

    def __init__(self, name: str, path: int, report: Callable[[], bytes]) -> None:
        super().__init__(name, path)
        self._report = report

    async def open(self, caller: Caller, how: OpenHow) -> OpenFile:
        if how.mode & OACCESS_MASK != OREAD:
            raise serr.NotSupported(self.name, "read-only")
        return Snapshot(self.name, self._report())

    def length(self) -> int:
        return len(self._report())


class Snapshot(OpenFile):
    """A read-only file as it was when it was opened."""

    one_version = True

    def __init__(self, name: str, data: bytes) -> None:
        self._name = name
        self._data = data

    async def read(self, offset: int, count: int) -> bytes:
        return self._data[offset : offset + count]

    async def write(self, offset: int, data: bytes, fence: Fence = NO_FENCE) -> int:
        raise serr.NotSupported(self._name, "read-only")


class CommandNode(DeviceNode):
    """A file that is written only: each write is a command, which is carried out when the write returns. What
    ``command`` raises is the write's error."""

    def __init__(self, name: str, path: int, command: Callable[[str], Awaitable[None]]) -> None:
        super().__init__(name, path, 0o222)
        self._command = command

    async def open(self, caller: Caller, how: OpenHow) -> OpenFile:
        if how.mode & OACCESS_MASK != OWRITE:
            raise serr.NotSupported(self.name, "commands are written, and cannot be read")
        return _Commands(self.name, self._command)


class _Commands(OpenFile):
    """One opening of a ``CommandNode``."""

    def __init__(self, name: str, command: Callable[[str], Awaitable[None]]) -> None:
        self._name = name
        self._command = command

    async def read(self, offset: int, count: int) -> bytes:
        raise serr.NotSupported(self._name, "commands are written, and cannot be read")

    async def write(self, offset: int, data: bytes, fence: Fence = NO_FENCE) -> int:
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            raise serr.Inval(self._name, f"a command is text: {error}") from error
        await self._command(text)
        return len(data)


class OverlayRoot(Dir):
    """A server's root, with the server's own entries first (P-12). Those cannot be created, removed or renamed; a put
    into one that can be written is a write."""

    def __init__(self, root: Dir, nodes: Sequence[Node]) -> None:
        self._root = root
        self.creates_whole = root.creates_whole
        self.short_is_last = root.short_is_last
        self._nodes = {node.name: node for node in sorted(nodes, key=lambda node: node.name)}

    @property
    def beneath(self) -> Dir:
        """The server's own root."""
        return self._root

    @property
    def name(self) -> str:
        return self._root.name

    @property
    def perm(self) -> Perm:
        return self._root.perm

    @property
    def stays(self) -> bool:
        return self._root.stays

    def qid(self) -> Qid:
        return self._root.qid()

    async def stat(self, caller: Caller) -> Stat:
        return await self._root.stat(caller)

    async def lookup(self, caller: Caller, name: str) -> Node:
        return self._nodes.get(name) or await self._root.lookup(caller, name)

    async def walk(self, caller: Caller, names: Sequence[str]) -> list[Node]:
        if names and names[0] in self._nodes:
            return await super().walk(caller, names)
        return await self._root.walk(caller, names)

    async def entries(self, caller: Caller, after: str, limit: int) -> list[Stat]:
        """The server's own entries come first; a cursor that stands at one of them goes on with the rest."""
        own_names = list(self._nodes)
        own: list[Stat] = []
        if after == "" or after in self._nodes:
            unlisted = own_names[own_names.index(after) + 1 :] if after else own_names
            own = [await self._nodes[name].stat(caller) for name in unlisted[:limit]]
            after = ""
        if len(own) == limit:
            return own
        while True:
            page = await self._root.entries(caller, after, limit - len(own))
            # Entries beneath that bear such a name are hidden by the server's own, as walks have it.
            shown = [stat for stat in page if stat.name not in self._nodes]
            if own or shown or not page:
                return own + shown
            after = page[-1].name

    async def open_entry(self, caller: Caller, name: str, how: OpenHow) -> tuple[Node, OpenFile | None]:
        if name in self._nodes:
            return await super().open_entry(caller, name, how)
        return await self._root.open_entry(caller, name, how)

    async def remove_entry(self, caller: Caller, name: str, how: ChangeHow = WHATEVER) -> None:
        if name in self._nodes:
            await super().remove_entry(caller, name, how)
        else:
            await self._root.remove_entry(caller, name, how)

    async def rename_entry(
        self, caller: Caller, name: str, new_dir: Dir, new_name: str, how: ChangeHow = WHATEVER
    ) -> None:
        if name in self._nodes:
            await super().rename_entry(caller, name, new_dir, new_name, how)
        else:
            await self._root.rename_entry(caller, name, new_dir, new_name, how)

    async def dir_to_come(self, caller: Caller, names: Sequence[str]) -> Dir | None:
        return None if names and names[0] in self._nodes else await self._root.dir_to_come(caller, names)

    async def get(self, caller: Caller, names: Sequence[str], offset: int, count: int) -> bytes | None:
        return None if names[0] in self._nodes else await self._root.get(caller, names, offset, count)

    def check_name(self, name: str) -> None:
        """Exists for the name of one of the server's own entries."""
        if name in self._nodes:
            raise serr.Exists(name, "the server's own")

    async def create(self, caller: Caller, name: str, how: OpenHow) -> tuple[Node, OpenFile | None]:
        self.check_name(name)
        return await self._root.create(caller, name, how)

    async def put(self, caller: Caller, name: str, data: bytes, how: OpenHow, offset: int = 0) -> int:
        own = self._nodes.get(name)
        if own is not None and own.perm & 0o222 and not how.mode & OEXCL:
            file = await own.open(caller, how)
            try:
                return await file.write(offset, data, how.fence)
            finally:
                await file.close()
        self.check_name(name)
        return await self._root.put(caller, name, data, how, offset)


def own_dir(directory: Dir, new_name: str) -> Dir:
    """The server's own directory that a rename or a transaction is about: nodes know nothing of the overlay on their
    root. Exists for the names that are there alone."""
    if not isinstance(directory, OverlayRoot):
        return directory
    directory.check_name(new_name)
    return directory.beneath
