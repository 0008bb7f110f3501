"""Directories as nodes, and with them all changes of entries: making, putting, renaming."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from kernel.ux import hostfile, state
from kernel.ux.file import UxFile
from kernel.ux.hostdir import not_shown
from kernel.ux.listing import NameList
from kernel.ux.node import UxNode
from kernel.ux.pipe import UxPipe
from kernel.ux.workshop import HIDDEN
from sigmaos_ray import serr
from sigmaos_ray.protsrv.node import (
    WHATEVER,
    ChangeHow,
    Dir,
    Node,
    OpenFile,
    OpenHow,
    check_no_server,
    check_opening,
)
from sigmaos_ray.sigmap import (
    DMDIR,
    DMNAMEDPIPE,
    DMSYMLINK,
    DMTMP,
    NO_LEASE,
    OEXCL,
    OTRUNC,
    Stat,
    path,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernel.ux.hostdir import HostDir
    from kernel.ux.node import Parent
    from kernel.ux.shared import UxShared
    from kernel.ux.state import HostStat
    from kernel.ux.workshop import Workpiece
    from sigmaos_ray.rpcsrv import Caller


# Calls on names do not wait between looking and doing. What does wait, to prepare contents say, looks again behind
# that: the host, other clients and the ends of leases go on meanwhile.
class UxDir(UxNode, Dir):
    """A directory, and the nodes of its entries that somebody holds."""

    short_is_last = True
    creates_whole = True

    def __init__(self, shared: UxShared, name: str, host: HostStat, parent: Parent | None) -> None:
        super().__init__(shared, name, host, parent)
        # Weak: a node is there as long as a fid or an open file has it; nothing else need be remembered of an entry.
        self._held: WeakValueDictionary[str, UxNode] = WeakValueDictionary()

    def open_dir(self) -> HostDir:
        """This directory on the host; the caller closes it."""
        return self.shared.store.directory(self.way())

    def _is_below(self, other: UxNode) -> bool:
        """True if this is ``other`` or within it."""
        here: UxNode | Parent | None = self
        while here is not None and here is not other:
            here = here.parent
        return here is other

    def _check_name(self, name: str) -> None:
        """Perm for the entry that the server keeps for itself."""
        if self.is_root and name == HIDDEN:
            raise serr.Perm(name, "kept by the server for itself")

    async def settle(self) -> None:
        """After a change of entries: if the server is to outlive a loss of power, blocks until they are on the disk."""
        if self.shared.store.syncs:
            with contextlib.suppress(serr.NotFound):  # removed by now: then nothing of it is to last
                await self.shared.store.sync_dir(self.way())

    async def open(self, caller: Caller, how: OpenHow) -> OpenFile:
        raise serr.IsDir(self._name)

    # -- nodes of the entries

    async def open_entry(self, caller: Caller, name: str, how: OpenHow) -> tuple[Node, OpenFile | None]:
        while True:
            with self.open_dir() as directory:
                present = directory.peek(name) if how.makes else directory.look(name)
                if present is not None:
                    node = self._entry(directory, name, present)
                    check_opening(node, name, how)
                    if not isinstance(node, UxFile):
                        return node, None
                    # No wait between the look and this: what is opened is what has the name.
                    file = node.open_in(directory, how)
                    break
            try:
                return await self.create(caller, name, how)
            except serr.Exists:  # somebody else was quicker: then there is something to open
                if how.mode & OEXCL:
                    raise
        await node.truncate_opened(file, how)
        return node, file

    def _node_of(self, name: str, host: HostStat) -> UxNode:
        """The node of an entry that the host shows."""
        node = self._held.get(name)
        # By inode, not by name alone: the host's programs may have put another file there.
        if node is not None and node.host.inode == host.inode and node.is_dir == host.is_dir:
            node.see(host)
            return node
        if node is not None:  # replaced on the host: who holds the old one holds nothing
            self.lose(name, node)
        kind = UxDir if host.is_dir else UxPipe if host.is_pipe else UxFile
        node = self._held[name] = kind(self.shared, name, host, self)
        return node

    def _file_of(self, name: str, host: HostStat) -> UxFile:
        """Like ``_node_of``, of an entry that should be a file."""
        node = self._node_of(name, host)
        if not isinstance(node, UxFile):
            raise serr.IsDir(name) if host.is_dir else not_shown(name)
        return node

    def _has_come(self, node: UxNode) -> None:
        """Moves the version and tells the watches."""
        self._held[node.name] = node
        self.touch()
        self.shared.watches.created(self.qid().path, node.name)

    def _has_gone(self, name: str) -> None:
        """Moves the version and tells the watches."""
        self.touch()
        self.shared.watches.removed(self.qid().path, name)

    def taken_out(self, name: str, node: UxNode) -> None:
        self._has_gone(name)
        self.lose(name, node)

    def lose(self, name: str, node: UxNode) -> None:
        self._let_go(name, node)
        node.gone()

    def _let_go(self, name: str, node: UxNode) -> None:
        """The node no longer stands for this entry."""
        if self._held.get(name) is node:
            del self._held[name]

    def gone(self) -> None:
        super().gone()
        self.shared.watches.end(self.qid().path)

    # -- looking

    async def lookup(self, caller: Caller, name: str) -> Node:
        with self.open_dir() as directory:
            return self._entry(directory, name)

    def _entry(self, directory: HostDir, name: str, host: HostStat | None = None) -> UxNode:
        """``host``: what a look has just shown."""
        if self.is_root and name == HIDDEN:
            raise serr.NotFound(name)
        host = host or directory.look(name)
        self.shared.check_shown(name, host)
        return self._node_of(name, host)

    async def walk(self, caller: Caller, names: Sequence[str]) -> list[Node]:
        way: list[Node] = []
        here: UxNode = self
        with self.open_dir() as directory:
            for name in names:
                if path.is_union(name) or here.is_link:
                    break
                if not isinstance(here, UxDir):
                    raise serr.NotDir(here.name)
                try:
                    if here is not self:
                        directory.enter(here.name)
                    here = here._entry(directory, name)
                except serr.NotFound:
                    if not way:
                        raise
                    break
                way.append(here)
        return way

    async def entries(self, caller: Caller, after: str, limit: int) -> list[Stat]:
        listings = self.shared.listings
        listing = listings.going_on(self.host.inode) if after else None
        names = listing.names if listing else None
        for is_last in (False, True):
            number, version = listings.next_number(), self.version
            page = await self.shared.store.page(self.way(), names, after, limit, self.shared.is_shown, now=is_last)
            # A thread looks at one entry after the other: a file that is renamed meanwhile may be in it twice. What
            # fits in a page is to be of one moment: so once more, and then without leaving the loop.
            if after or len(page.entries) == limit or self.version == version:
                break
        listings.read_from(self.host.inode, listing or NameList(number, page.names), is_end=not page.entries)
        return [self._stat_of_entry(name, host) for name, host in page.entries]

    def _stat_of_entry(self, name: str, host: HostStat) -> Stat:
        node = self._held.get(name)
        version = self.shared.versions.first(host)
        if node is None or node.host.inode != host.inode:
            return self.shared.stat_of(name, host, version)
        # A directory's version is moved by us alone; a file's also by the host's programs, by the inode's time.
        version = node.version if node.is_dir else max(version, node.version)
        return self.shared.stat_of(name, host, version, is_leased=bool(node.lease))

    # -- making

    async def create(self, caller: Caller, name: str, how: OpenHow) -> tuple[Node, OpenFile | None]:
        self._check_name(name)
        host_mode = _host_mode_of(name, how)
        self.shared.check(how.fence, lease=how.lease)
        node, fd = await self._create(name, how, host_mode)
        # Before the wait: whoever removes or replaces the file meanwhile must find it open.
        file = node.files.adopt(fd) if isinstance(node, UxFile) and fd is not None else None
        try:
            await self.settle()
        except BaseException:  # cancelled as well: nobody else would close it
            if file is not None:
                await file.abort()
            raise
        return node, file

    async def _create(self, name: str, how: OpenHow, host_mode: int) -> tuple[UxNode, int | None]:
        """Makes an entry; returns its node, and for a file the descriptor that made it, which then belongs to the
        caller. Exists if the name is taken."""
        if how.perm & DMNAMEDPIPE:
            return self._create_pipe(name, how, host_mode), None
        if how.lease or how.data:
            return await self._create_whole(name, how, host_mode)
        with self.open_dir() as directory:
            if how.perm & DMDIR:
                directory.make_dir(name, host_mode)
                return self._new_node(name, directory.look(name)), None
            fd = directory.make_file(name, host_mode)
        return self._new_node(name, hostfile.status(fd, name)), fd

    def _create_pipe(self, name: str, how: OpenHow, host_mode: int) -> UxNode:
        workshop = self.shared.store.workshop
        with self.open_dir() as directory:
            # Made apart and then linked: a FIFO must have its mark before it has a name in the tree.
            piece = workshop.prepare_pipe(host_mode)
            try:
                return self._place_passing(directory, piece, name, how.lease)
            finally:
                workshop.drop(piece)

    async def _create_whole(self, name: str, how: OpenHow, host_mode: int) -> tuple[UxNode, int]:
        store = self.shared.store
        piece = await store.prepare(how.data, 0, host_mode, name)
        try:
            # Again: to prepare it took time, in which the lease may have ended, or a newer fence have come.
            self.shared.check(how.fence, lease=how.lease)
            with self.open_dir() as directory:
                node = self._place_new(directory, piece, name, how.lease)
            return node, piece.take_fd()
        finally:
            store.workshop.drop(piece)

    def _new_node(self, name: str, host: HostStat) -> UxNode:
        """An entry was made on the host; returns its node."""
        node = self._node_of(name, host)
        self._has_come(node)
        return node

    def _place_new(self, directory: HostDir, piece: Workpiece, name: str, lease: int) -> UxNode:
        """Lets a prepared file appear. Exists if the name is taken."""
        if lease != NO_LEASE:
            return self._place_passing(directory, piece, name, lease)
        self.shared.store.workshop.place_new(piece, directory, name)
        return self._new_node(name, hostfile.status(piece.fd, name))

    def _place_passing(self, directory: HostDir, piece: Workpiece, name: str, lease: int) -> UxNode:
        """Lets something appear that does not outlive the server."""
        mark = self.shared.store.workshop.place_passing(piece, directory, [*self.way(), name])
        node = self._node_of(name, directory.look(name))
        self.shared.ties.tie(node, lease, mark)
        self._has_come(node)
        return node

    # -- putting

    async def put(self, caller: Caller, name: str, data: bytes, how: OpenHow, offset: int = 0) -> int:
        """What is new or replaced appears whole (P-9); else ``data`` goes into the file in place."""
        self._check_name(name)
        host_mode = _host_mode_of(name, how)
        if how.perm & (DMDIR | DMNAMEDPIPE):
            raise serr.Inval(name, "a put makes a file")
        # Both ways take time, in which a file may come or go: then it is the other one's turn.
        while True:
            if self._goes_in_place(name, how):
                return await self._put_in_place(name, data, how=how, offset=offset)
            if await self._put_whole(name, data, host_mode=host_mode, how=how, offset=offset):
                await self.settle()
                return len(data)

    def _goes_in_place(self, name: str, how: OpenHow) -> bool:
        """True if a put goes into a file that is there, untruncated. Exists, IsDir and the like where it cannot."""
        with self.open_dir() as directory:
            present = directory.peek(name)
        if present is None:
            return False
        self.shared.check_shown(name, present)
        if how.follows and state.perm_of(present.mode) & DMSYMLINK:
            raise serr.NotDir(name)
        if how.mode & OEXCL:
            raise serr.Exists(name)
        if present.is_dir:
            raise serr.IsDir(name)
        if present.is_pipe:
            raise serr.Inval(name, "a pipe is opened, and written then")
        return not how.mode & OTRUNC

    async def _put_in_place(self, name: str, data: bytes, *, how: OpenHow, offset: int) -> int:
        with self.open_dir() as directory:
            file = self._file_of(name, directory.look(name)).open_in(directory, how)
        try:
            # Through an opening like any other: under the file's lock, so that it does not mix with writes under way.
            count = await file.write(offset, data, how.fence, how.lease)
        except BaseException:  # cancelled as well: nobody else would close it
            await file.abort()
            raise
        await file.close()
        return count

    async def _put_whole(self, name: str, data: bytes, *, host_mode: int, how: OpenHow, offset: int) -> bool:
        """Makes a file, or lets another one take its place. False, and nothing done, if a file came meanwhile that
        must be written in place."""
        store = self.shared.store
        piece = await store.prepare(data, offset, host_mode, name)
        try:
            if self._goes_in_place(name, how):
                return False
            self.shared.check(how.fence, lease=how.lease)
            with self.open_dir() as directory:
                old = directory.peek(name)
                if old is None:
                    self._place_new(directory, piece, name, how.lease)
                else:
                    self._place_over(directory, piece, name, old, how.lease)
            return True
        finally:
            store.workshop.drop(piece)

    def _place_over(self, directory: HostDir, piece: Workpiece, name: str, old: HostStat, lease: int) -> None:
        """The file has new contents, in a new inode: its node, and who has it open, go over to that, and so does its
        lease, unless the put brings one."""
        workshop = self.shared.store.workshop
        node = self._file_of(name, old)
        lease = lease or node.lease
        if not lease:
            workshop.place_over(piece, directory, name, old)
            node.replaced(piece)
            return
        mark = workshop.place_passing_over(piece, directory, [*self.way(), name], old)
        node.replaced(piece)
        self.shared.ties.tie(node, lease, mark)

    # -- removing and renaming

    def _expected_entry(self, directory: HostDir, name: str, how: ChangeHow) -> UxNode:
        self._check_name(name)
        node = self._entry(directory, name)
        how.check(name, node.qid())
        return node

    async def remove_entry(self, caller: Caller, name: str, how: ChangeHow = WHATEVER) -> None:
        with self.open_dir() as directory:
            node = self._expected_entry(directory, name, how)
            self.shared.check(*how.fences)
            directory.remove(name, is_dir=node.is_dir)
        self.taken_out(name, node)
        await self.settle()

    async def rename_entry(
        self, caller: Caller, name: str, new_dir: Dir, new_name: str, how: ChangeHow = WHATEVER
    ) -> None:
        with self.open_dir() as source:
            node = self._expected_entry(source, name, how)
        if not isinstance(new_dir, UxDir) or new_dir.shared is not self.shared:
            raise serr.Inval(new_name, "a rename stays within one server")
        new_dir._check_name(new_name)
        # The host would refuse it too, with an error (EINVAL) that says nothing of the reason.
        if node.is_dir and new_dir._is_below(node):
            raise serr.Inval(new_name, "a directory cannot move into itself")
        self.shared.check(*how.fences)
        # Without this the file would be taken for two names of one file, of which one goes.
        if new_dir is self and new_name == name:
            return
        is_replaced = self._move_on_host(node, new_dir, new_name)
        # From here to the last watch no wait: who lists and who watches see one moment (W-3).
        if is_replaced:
            new_dir._has_gone(new_name)
            victim = new_dir._held.get(new_name)
            if victim is not None:
                new_dir.lose(new_name, victim)
        self._has_gone(node.name)
        self._let_go(node.name, node)
        node.moved_to(new_dir, new_name)
        new_dir._has_come(node)
        self.shared.ties.moved()
        # Last: whoever waits for the disk must not hold up what clients see.
        for directory in {self, new_dir}:
            await directory.settle()

    def _move_on_host(self, node: UxNode, new_dir: UxDir, new_name: str) -> bool:
        """True if there was something of the new name, which is gone now."""
        with self.open_dir() as source, new_dir.open_dir() as target:
            victim = target.peek(new_name)
            if victim is not None:
                self.shared.check_shown(new_name, victim)
                check_no_server(new_name, new_dir._entry(target, new_name).qid())
            # Noted before it is done: killed in between, the next server looks at both places.
            self.shared.ties.moves(node, node.way(), [*new_dir.way(), new_name])
            source.rename(node.name, target, new_name)
            if victim is not None and victim.inode == node.host.inode:  # two names of one file: Unix leaves both
                source.remove(node.name, is_dir=False)
        return victim is not None


def _host_mode_of(name: str, how: OpenHow) -> int:
    """The mode on the host of what is to be made. Inval and NotSupported for what ux cannot make."""
    if how.lease and how.perm & DMDIR:
        raise serr.NotSupported(name, "ux leases files, not directories")
    if how.perm & DMTMP and not how.lease:
        raise serr.Inval(name, "DMTMP goes with a lease")
    return state.host_mode_of(name, how.perm & ~DMTMP)
