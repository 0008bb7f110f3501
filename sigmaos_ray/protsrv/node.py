"""The Node contract: what a file server must provide for ``protsrv`` to serve it as sigmap.

A server is a tree of nodes below one root ``Dir``. ``protsrv`` owns fids, sessions, walks and the messages; nodes own
the objects, and with them atomicity: each method takes effect at one moment, whole or not at all, however many
calls run at a time (P-15). Nodes raise ``serr`` errors only; the object of an error is the component concerned.

A node publishes what happens to a directory's entries in the server's ``WatchTable`` at the very moment its ``qid``
shows the new version, without an ``await`` between the two: watches rely on that (W-3).

Modelled on the gVisor p9 stack's ``File`` and SigmaOS's ``fs.FsObj``: few methods, each with its guarantee. Everything
here is called on the server's loop; what blocks (disks, boto3) goes through ``threads``. A call may be cancelled at any
wait, when the client's session ends: it then leaves its object as it was, or changed as a whole.
"""

from __future__ import annotations

import abc
import enum
from typing import TYPE_CHECKING, Final

import msgspec

from sigmaos_ray import serr
from sigmaos_ray.sigmap import (
    DMDIR,
    DMMOUNT,
    DMNAMEDPIPE,
    DMSYMLINK,
    DMTMP,
    NO_FENCE,
    NO_LEASE,
    OACCESS_MASK,
    OEXCL,
    OREAD,
    Fence,
    Mode,
    Perm,
    Qid,
    Stat,
    path,
)

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence
    from typing import Any

    from sigmaos_ray.rpcsrv import Caller


class OpenHow(msgspec.Struct, frozen=True):
    """What a request asks for when it opens, creates or puts, beside the name (as Linux's ``open_how``)."""

    mode: Mode = OREAD
    perm: Perm = 0o777
    """Of what is made; an entry that exists keeps its own."""
    lease: int = NO_LEASE
    fence: Fence = NO_FENCE
    """Checked where something changes: by making an entry, and by OTRUNC."""
    data: bytes = b""
    """By create alone, where the directory ``creates_whole``: contents from the start."""
    makes: bool = False
    """By ``open_entry``: a file that is not there is made."""
    follows: bool = False
    """By ``open_entry`` and ``put``: a link is not meant itself, and is refused (NotDir): the client follows it."""


_LEASED_ENDPOINT: Final = Qid.of(DMMOUNT | DMTMP, 0, 0).type


class ChangeHow(msgspec.Struct, frozen=True):
    """What a request asks for when it removes or renames an entry, beside the names: under which fences, and what the
    entry must be. Otherwise it is refused, and nothing is changed."""

    fences: tuple[Fence, ...] = ()
    """Those of all directories that change."""
    path: int = 0
    """The entry is the object of that qid path (else NotFound); 0: any."""
    version: int = 0
    """The object has that version (else Version); 0: any."""
    follows: bool = False
    """It is no link, as that is to be followed (else NotDir)."""
    knows: bool = False
    """Whoever asks has looked at the object itself, and not only at its name: a live server's name goes so alone."""

    def check(self, name: str, qid: Qid) -> None:
        """Whether the entry is what it must be; ``qid``: of what has the name now."""
        if self.follows and qid.is_symlink:
            raise serr.NotDir(name)
        if self.path and qid.path != self.path:
            raise serr.NotFound(name, "another object has its name by now")
        if self.version and qid.version != self.version:
            raise serr.Version(name)
        if not self.knows:
            check_no_server(name, qid)


def check_no_server(name: str, qid: Qid) -> None:
    """N-18: NoRemove for the name of a server that lives: an endpoint file under a lease, which ends with its server.
    Without it nobody would find the server, which goes on and does not know."""
    if qid.type & _LEASED_ENDPOINT == _LEASED_ENDPOINT:
        raise serr.NoRemove(name, "the name of a server that lives: it goes with the server")


WHATEVER: Final = ChangeHow()


class ChangeKind(enum.IntEnum):
    """What a change of a transaction does; the numbers are the wire's."""

    CREATE = 0
    PUT = 1
    REMOVE = 2
    CHECK = 3


class EntryChange(msgspec.Struct, frozen=True):
    """One of the changes that ``Dir.transact`` makes together."""

    kind: ChangeKind
    directory: Dir
    name: str
    version: int = 0
    """Of an object that is there: the one that its qid must have; 0: any."""
    perm: Perm = 0o777
    lease: int = NO_LEASE
    data: bytes = b""
    """The whole contents: of what is created or put."""
    sequential: bool = False
    """Of CREATE: the directory's next number is put behind the name."""


class ChangeOutcome(msgspec.Struct, frozen=True):
    """What a change of a transaction came to."""

    name: str
    """As in the change, with its number if it was sequential."""
    version: int
    """0: the object is gone."""


class OpenFile(abc.ABC):
    """An object that is open for reading or writing. Owned by one fid; ``close`` or ``abort`` is called once.

    Calls on one OpenFile may overlap; each is atomic with respect to the others of the same object.
    """

    one_version = False
    """True if all reads are of one version of the file, and raise Version where that is no longer to be had."""

    @abc.abstractmethod
    async def read(self, offset: int, count: int) -> bytes:
        """At most ``count`` bytes from ``offset``; empty at and past the end."""

    @abc.abstractmethod
    async def write(self, offset: int, data: bytes, fence: Fence = NO_FENCE) -> int:
        """Writes all of ``data`` at ``offset`` (``NO_OFFSET``: at the end, atomically); returns its length.
        A write past the end fills the gap with zeros."""

    async def truncate(self, size: int, fence: Fence = NO_FENCE) -> None:
        """Cuts the file to ``size`` bytes, or fills it up to them with zeros, at one moment. NotSupported by what has
        no length that can be set."""
        raise serr.NotSupported(msg="its length cannot be set")

    async def writeread(self, frames: Sequence[bytes]) -> Sequence[bytes]:
        """One call on a device: frames in, frames out. Blocks for as long as the call takes. NotSupported by any other
        file."""
        raise serr.NotSupported(msg="not an RPC device")

    def begin_writeread(self, frames: Sequence[bytes]) -> Sequence[bytes] | Coroutine[Any, Any, Sequence[bytes]]:
        """The same, begun: what it answers, if that needs no wait, or what to await for it. Override it where that
        can be."""
        return self.writeread(frames)

    async def close(self) -> None:  # noqa: B027  # most files have nothing to do here
        """Makes durable what was written, and frees; an error here is the clunk's reply."""

    async def abort(self) -> None:
        """Frees, and drops what was not made durable: the client asked for it, or its session ended."""
        await self.close()


class Node(abc.ABC):
    """One object of a server's tree, as a walk found it. Any number of them may stand for the same object, for as long
    as fids hold them, also after it is gone."""

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """The entry's name today; the root's is ``""``."""

    @property
    @abc.abstractmethod
    def perm(self) -> Perm:
        """Type and permission bits."""

    @abc.abstractmethod
    def qid(self) -> Qid:
        """Identity and version, without I/O. A server whose objects live elsewhere answers with what it last saw."""

    @abc.abstractmethod
    async def stat(self, caller: Caller) -> Stat:
        """NotFound if the object is gone and cannot tell."""

    @abc.abstractmethod
    async def open(self, caller: Caller, how: OpenHow) -> OpenFile:
        """Opens a file. OTRUNC empties it, under the fence. Directories are opened by protsrv, never through here.
        A node that stands for a factory (a clone device) returns an OpenFile of its own for each call; a pipe waits
        for its other end, and takes back what it counted when it is cancelled."""

    async def remove(self, caller: Caller, fence: Fence = NO_FENCE) -> None:
        """Takes the object out of a directory that leaves it to its entries (``Dir.remove_entry``)."""
        raise serr.NotSupported(self.name, "remove")

    @property
    def is_dir(self) -> bool:
        """True for directories, which are ``Dir``."""
        return bool(self.perm & DMDIR)

    @property
    def is_link(self) -> bool:
        """True for symlinks and endpoint files: a walk stops here."""
        return bool(self.perm & DMSYMLINK)


class Dir(Node):
    """A directory."""

    creates_whole = False
    """True if ``create`` can give a file its contents from the start: nobody sees it without them."""
    short_is_last = False
    """True if ``entries`` returns fewer than it may only at the end: a listing then needs no look behind it."""
    removes_all = False
    """True if ``remove_all`` is there: where an entry at a time would take too long."""

    @property
    def stays(self) -> bool:
        """True for a directory of the server's own, which is neither removed nor emptied: clients ask before they
        remove what is below. Override it where there are such."""
        return False

    async def open(self, caller: Caller, how: OpenHow) -> OpenFile:
        raise serr.IsDir(self.name)

    @abc.abstractmethod
    async def lookup(self, caller: Caller, name: str) -> Node:
        """The entry of that name, or NotFound. ``.`` and ``..`` never arrive here."""

    async def walk(self, caller: Caller, names: Sequence[str]) -> list[Node]:
        """The nodes along ``names``, from the first on, as far as the way goes (N-7): it ends before ``~any`` and
        ``~local``, at a link, and before a component that is missing. NotFound only if the first one is missing
        already; NotDir if the way continues through a file. Override it where a look-up by component costs."""
        way: list[Node] = []
        here: Node = self
        for name in names:
            if path.is_union(name) or here.is_link:
                break
            if not isinstance(here, Dir):
                raise serr.NotDir(here.name)
            try:
                here = await here.lookup(caller, name)
            except serr.NotFound:
                if not way:
                    raise
                break
            way.append(here)
        return way

    async def get(self, caller: Caller, names: Sequence[str], offset: int, count: int) -> bytes | None:
        """Looks up and reads as one operation, like the walk, open and read it stands for. None where it cannot tell:
        protsrv then walks. Override it where a look-up costs as much as a read."""
        return None

    async def dir_to_come(self, caller: Caller, names: Sequence[str]) -> Dir | None:
        """The directory along ``names``, which is missing today, where one comes with its first entry; None elsewhere,
        as something has to make it. NotDir if a file is in the way."""
        return None

    async def open_entry(self, caller: Caller, name: str, how: OpenHow) -> tuple[Node, OpenFile | None]:
        """What has that name now, opened, in one moment; a directory and a pipe are returned as they are. NotFound if
        there is nothing, unless ``how.makes``; Exists if there is something, and OEXCL with it. Override it where a
        look-up and an open are not one moment."""
        while True:
            try:
                node = await self.lookup(caller, name)
            except serr.NotFound:
                if not how.makes:
                    raise
                try:
                    return await self.create(caller, name, how)
                except serr.Exists:  # somebody else was quicker: then there is something to open
                    if how.mode & OEXCL:
                        raise
            else:
                check_opening(node, name, how)
                return node, None if opens_apart(node) else await node.open(caller, how)

    async def remove_entry(self, caller: Caller, name: str, how: ChangeHow = WHATEVER) -> None:
        """Takes out what has that name at that moment. NotFound if nothing has, or it is not what it must be; NotEmpty
        for a full directory. What is open stays readable where the server can do it."""
        node = await self.lookup(caller, name)
        how.check(name, node.qid())
        await node.remove(caller, *how.fences)

    async def rename_entry(
        self, caller: Caller, name: str, new_dir: Dir, new_name: str, how: ChangeHow = WHATEVER
    ) -> None:
        """Moves what has that name at that moment to ``new_dir/new_name``. A file takes the place of a file, a
        directory that of an empty directory; else IsDir, NotDir or NotEmpty. NotFound as for ``remove_entry``; Inval
        into its own subtree. Nodes of the object then stand for it under its new name."""
        raise serr.NotSupported(name, "rename")

    async def remove_all(self, caller: Caller, fence: Fence = NO_FENCE) -> None:
        """Takes the directory out of its own with all that is below it, not at one moment: an error leaves the rest.
        NotEmpty if something is below that cannot be seen, or comes all the time."""
        raise serr.NotSupported(self.name, "remove its entries first")

    @abc.abstractmethod
    async def entries(self, caller: Caller, after: str, limit: int) -> list[Stat]:
        """At most ``limit`` entries whose names sort after ``after`` (``""``: from the first), in order of name.
        An empty list is the end. Entries that are there throughout a listing are returned exactly once (P-12)."""

    @abc.abstractmethod
    async def create(self, caller: Caller, name: str, how: OpenHow) -> tuple[Node, OpenFile | None]:
        """Makes an entry: a directory, pipe, file, symlink or endpoint file as ``how.perm`` says, the latter three
        opened in ``how.mode``. Exists if the name is taken. protsrv has checked that the name is well-formed."""

    async def put(self, caller: Caller, name: str, data: bytes, how: OpenHow, offset: int = 0) -> int:
        """Create-or-open, and write, as one operation (P-9): OEXCL refuses what exists, OTRUNC replaces the whole
        contents (seen whole or not at all), else ``data`` goes to ``offset`` (NO_OFFSET: to the end) in place.
        An existing directory is IsDir; an existing entry keeps its permissions."""
        raise serr.NotSupported(name, "put")

    async def transact(
        self, caller: Caller, changes: Sequence[EntryChange], fences: Sequence[Fence] = ()
    ) -> list[ChangeOutcome]:
        """Makes all changes at one moment, in directories of this server, or none. A name stands in one of them at
        most, and none is below a directory that another one makes or removes (Inval). Version if an object has
        another one; else the errors of ``create``, ``put`` and ``remove``, about the name concerned."""
        raise serr.NotSupported(self.name, "transactions")


def check_opening(node: Node, name: str, how: OpenHow) -> None:
    """For ``open_entry``, of what has the name: NotDir for a link that is not meant itself, Exists if it must not be
    there, IsDir for a directory that is not to be read."""
    if how.follows and node.is_link:
        raise serr.NotDir(name)
    if how.makes and how.mode & OEXCL:
        raise serr.Exists(name)
    if node.is_dir and how.mode & OACCESS_MASK != OREAD:
        raise serr.IsDir(name)


def opens_apart(node: Node) -> bool:
    """True for what ``open_entry`` does not open: directories, which protsrv reads itself, and pipes, which wait."""
    return bool(node.perm & (DMDIR | DMNAMEDPIPE))
