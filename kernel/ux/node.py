"""What the nodes of files, pipes and directories have in common."""

from __future__ import annotations

import stat
import time
from typing import TYPE_CHECKING, Protocol

from kernel.ux.state import perm_of
from sigmaos_ray import serr
from sigmaos_ray.protsrv.node import Node
from sigmaos_ray.sigmap import DMTMP, NO_LEASE, Perm, Qid, Stat

if TYPE_CHECKING:
    from kernel.ux.hostdir import HostDir
    from kernel.ux.shared import UxShared
    from kernel.ux.state import HostStat
    from sigmaos_ray.rpcsrv import Caller


class Parent(Protocol):
    """What a node needs of the directory that it is in."""

    @property
    def name(self) -> str: ...

    parent: Parent | None
    is_root: bool

    def taken_out(self, name: str, node: UxNode) -> None:
        """The entry has gone, and the node stands for nothing from now on."""

    def lose(self, name: str, node: UxNode) -> None:
        """The node stands for nothing from now on; of the entry nothing is known."""


# A node knows its parent, not its pathname: so a directory above it may be renamed without a word to those below.
class UxNode(Node):
    """An entry of the host, while somebody holds it."""

    def __init__(self, shared: UxShared, name: str, host: HostStat, parent: Parent | None) -> None:
        self.shared = shared
        self._name = name
        self.host = host
        self.parent = parent
        """None once it is removed, and for the root."""
        self.is_root = parent is None
        self.version = shared.versions.first(host)
        self.lease = NO_LEASE
        self.mark = ""
        """Of a node that does not outlive the server; see ``passing``."""

    @property
    def name(self) -> str:
        return self._name

    @property
    def perm(self) -> Perm:
        return perm_of(self.host.mode) | (DMTMP if self.lease else 0)

    def qid(self) -> Qid:
        return Qid.of(self.perm, self.version, self.shared.qid_path(self.host))

    def way(self) -> list[str]:
        """The names from the root to here. NotFound if this, or what it is in, was removed."""
        names: list[str] = []
        here: UxNode | Parent = self
        while here.parent is not None:
            names.append(here.name)
            here = here.parent
        # The chain ends before the root: something on the way was taken out.
        if not here.is_root:
            raise serr.NotFound(here.name)
        names.reverse()
        return names

    def open_parent(self) -> HostDir:
        """The directory on the host that the entry is in; the caller closes it."""
        return self.shared.store.directory(self.way()[:-1])

    def see(self, host: HostStat) -> None:
        """Takes note of what the host says now."""
        self.host = host

    def touch(self) -> None:
        """Moves the version on after a change."""
        self.version = self.shared.versions.moved(self.host.inode, self.version, time.time_ns())

    def moved_to(self, parent: Parent, name: str) -> None:
        """The entry is elsewhere now."""
        self.parent, self._name = parent, name

    def gone(self) -> None:
        """The entry is no more."""
        self.parent = None
        self.shared.ties.forget(self)

    async def stat(self, caller: Caller) -> Stat:
        self.see(self._look())
        return self.shared.stat_of(self._name, self.host, self.version, is_leased=bool(self.lease))

    def _look(self) -> HostStat:
        with self.open_parent() as directory:
            if self.parent is None:
                return directory.status()
            host = directory.look(self._name)
        # A file that the host replaced by another one is still the file of that name. One that is leased is not: the
        # lease's end must not remove what is the host's.
        if stat.S_IFMT(host.mode) != stat.S_IFMT(self.host.mode) or (self.mark and host.inode != self.host.inode):
            raise serr.NotFound(self._name, "replaced on the host")
        return host

    def vanish(self) -> None:
        """Takes the entry out, as ``remove`` does, since its lease is over; what the host put in its place stays."""
        parent = self.parent
        if parent is None:
            return
        try:
            directory = self.open_parent()
        except (serr.NotFound, serr.NotDir, serr.Perm):  # the host took a directory above it away
            parent.lose(self._name, self)
            return
        with directory:
            present = directory.peek_any(self._name)
            if present is None or present.inode != self.host.inode:
                # Not ours: it came in the place of what the lease was for.
                parent.lose(self._name, self)
                return
            directory.remove(self._name, is_dir=False)
        parent.taken_out(self._name, self)
