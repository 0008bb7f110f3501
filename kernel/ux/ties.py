"""The nodes that do not outlive the server: leased files (L-2, L-3) and pipes. ``passing`` has the same on the disk."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final, Protocol

from sigmaos_ray import debug, serr
from sigmaos_ray.sigmap import NO_LEASE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kernel.ux.hostdir import HostDir
    from kernel.ux.passing import Passing
    from kernel.ux.state import HostStat

_STUCK: Final = -1
"""No lease has this number: what should be gone, and is still there."""


class TiedNode(Protocol):
    """What ``Ties`` needs of a node."""

    @property
    def name(self) -> str: ...

    @property
    def is_dir(self) -> bool: ...

    host: HostStat
    lease: int
    mark: str

    def way(self) -> list[str]: ...

    def open_parent(self) -> HostDir: ...

    def vanish(self) -> None:
        """Takes the entry out; what the host put in its place stays."""


# Nodes are held here by strong references: directories hold theirs weakly, and a leased file that nobody has open would
# be forgotten before its lease ends.
class Ties:
    """Held nodes by lease; pipes have none. Used from one loop.

    A tied node is in its directory's table for as long as it is tied: nothing else stands for its entry.
    """

    def __init__(self, passing: Passing) -> None:
        self._passing = passing
        self._by_lease: dict[int, set[TiedNode]] = {}
        self._pipes: set[tuple[int, int]] = set()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def is_own_pipe(self, host: HostStat) -> bool:
        """True for a pipe that this server made. May be asked from any thread."""
        return host.inode in self._pipes

    def tie(self, node: TiedNode, lease: int, mark: str) -> None:
        """``mark`` stands for the node's inode; it takes the place of the one the node had."""
        if node.mark:
            # The file has another inode now, and the old mark keeps one that no entry has.
            self._passing.forget(node.mark)
        else:
            self._count += 1
        node.mark = mark
        self._hang(node, lease)
        if node.host.is_pipe:
            self._pipes.add(node.host.inode)
        self._shorten()

    def tie_existing(self, node: TiedNode, lease: int) -> None:
        """Ties a file that is there to a lease, instead of the one it hangs on. NotFound if the host has replaced it,
        NotSupported where it has no hard links; then nothing has changed."""
        if node.mark:
            self._hang(node, lease)
            return
        passing = self._passing
        way = node.way()
        with node.open_parent() as directory:
            mark = passing.mark_checked(node.name, directory, node.host.inode)
        try:
            passing.expect(mark, way)
        except BaseException:  # whatever it was: a mark that nothing expects is to go
            passing.forget(mark)
            raise
        self.tie(node, lease, mark)

    def untie(self, node: TiedNode, lease: int) -> None:
        """Hangs a file on the lease that it had before, or on none."""
        if lease == NO_LEASE:
            self.forget(node)
        elif node.mark:
            self._hang(node, lease)

    def _hang(self, node: TiedNode, lease: int) -> None:
        self._unhang(node)
        node.lease = lease
        self._by_lease.setdefault(lease, set()).add(node)

    def _unhang(self, node: TiedNode) -> None:
        nodes = self._by_lease.get(node.lease)
        if nodes is not None:
            nodes.discard(node)
            if not nodes:
                del self._by_lease[node.lease]

    def moves(self, node: TiedNode, old: Sequence[str], new: Sequence[str]) -> None:
        """A node is about to be renamed: the next server has to look at both places. ``moved`` follows if it was."""
        if node.mark:
            self._passing.expect(node.mark, new)
        # Whether something tied is below, to find out would take longer than a record.
        elif node.is_dir and self._count:
            self._passing.expect_below(old, new)

    def moved(self) -> None:
        """The rename is done: the journal may be written anew, as the nodes know where they are."""
        self._shorten()

    def forget(self, node: TiedNode) -> None:
        """The node's entry is gone."""
        if not node.mark:
            return
        self._unhang(node)
        self._pipes.discard(node.host.inode)
        self._count -= 1
        mark, node.mark, node.lease = node.mark, "", NO_LEASE
        self._passing.forget(mark)
        self._shorten()

    def end(self, lease: int) -> None:
        """Removes the files of a lease; watches hear of it. What cannot be removed is left to the next server."""
        # A copy: ``vanish`` takes each one out of the set.
        for node in sorted(self._by_lease.get(lease, set()), key=lambda node: node.name):
            # An error of one must not keep the others alive.
            try:
                node.vanish()
            except serr.SigmaError as error:
                debug.error(f"ux: the lease of {node.name!r} ended, and it cannot be removed: {error}")
                # Away from the lease, or an end that is repeated would meet it again.
                self._hang(node, _STUCK)

    def _shorten(self) -> None:
        if self._passing.is_long(self._count):
            try:
                self._passing.rewrite(list(self._places()))
            except serr.SigmaError as error:  # the long one is as good
                debug.error(f"ux: the journal cannot be written anew: {error}")

    def _places(self) -> Iterator[tuple[str, Sequence[str]]]:
        for nodes in self._by_lease.values():
            for node in nodes:
                with contextlib.suppress(serr.NotFound):  # the host took a directory above it away
                    yield node.mark, node.way()
