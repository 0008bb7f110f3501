"""The nodes that do not outlive the server: leased files (L-2, L-3) and pipes. ``passing`` has the same on the disk."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from sigmaos_ray import debug, serr
from sigmaos_ray.sigmap import NO_LEASE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kernel.ux.nodes import UxFile, UxNode
    from kernel.ux.passing import Passing
    from kernel.ux.state import HostStat


_STUCK: Final = -1
"""No lease has this number: what should be gone, and is still there."""


class Ties:
    """Held nodes by lease; pipes have none. Used from one loop.

    A tied node is in its directory's table for as long as it is tied: nothing else stands for its entry.
    """

    def __init__(self, passing: Passing) -> None:
        self._passing = passing
        self._by_lease: dict[int, set[UxNode]] = {}
        self._pipes: set[tuple[int, int]] = set()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def is_own_pipe(self, host: HostStat) -> bool:
        """True for a pipe that this server made. May be asked from any thread."""
        return host.inode in self._pipes

    def tie(self, node: UxNode, lease: int, mark: str) -> None:
        """``mark`` stands for the node's inode; it takes the place of the one the node had."""
        if node.mark:
            self._passing.forget(node.mark)
        else:
            self._count += 1
        node.mark = mark
        self._hang(node, lease)
        if node.host.is_pipe:
            self._pipes.add(node.host.inode)
        self._shorten()

    def tie_existing(self, node: UxNode, lease: int) -> None:
        """Ties a file that is there to a lease, instead of the one it hangs on."""
        if node.mark:
            self._hang(node, lease)
            return
        passing = self._passing
        way = node.way()
        with node.open_parent() as directory:
            mark = passing.mark_checked(node.name, directory, node.host.inode)
        try:
            passing.expect(mark, way)
        except BaseException:  # a cancellation too: what was made is taken back, and it goes on
            passing.forget(mark)
            raise
        self.tie(node, lease, mark)

    def untie(self, node: UxNode, lease: int) -> None:
        """Hangs a file on the lease that it had before, or on none."""
        if lease == NO_LEASE:
            self.forget(node)
        elif node.mark:
            self._hang(node, lease)

    def _hang(self, node: UxNode, lease: int) -> None:
        self._unhang(node)
        node.lease = lease
        self._by_lease.setdefault(lease, set()).add(node)

    def _unhang(self, node: UxNode) -> None:
        nodes = self._by_lease.get(node.lease)
        if nodes is not None:
            nodes.discard(node)
            if not nodes:
                del self._by_lease[node.lease]

    def moves(self, node: UxNode, old: Sequence[str], new: Sequence[str]) -> None:
        """A node is about to be renamed; ``moved`` follows."""
        if node.mark:
            self._passing.expect(node.mark, new)
        elif node.is_dir and self._count:
            self._passing.expect_below(old, new)

    def moved(self) -> None:
        """A rename was done, or failed."""
        self._shorten()

    def forget(self, node: UxNode) -> None:
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
        for node in sorted(self._by_lease.get(lease, set()), key=lambda node: node.name):
            try:
                vanish(node)
            except serr.SigmaError as error:
                debug.error(f"ux: the lease of {node.name!r} ended, and it cannot be removed: {error}")
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


def vanish(node: UxNode) -> None:
    """Takes an entry out, as ``remove`` does, since its lease is over; what the host put in its place stays."""
    parent = node.parent
    if parent is None:
        return
    try:
        directory = node.open_parent()
    except (serr.NotFound, serr.NotDir, serr.Perm):  # the host took a directory above it away
        parent.lose(node.name, node)
        return
    with directory:
        found = directory.peek_any(node.name)
        if found is None or found.inode != node.host.inode:
            parent.lose(node.name, node)
            return
        directory.remove(node.name, is_dir=False)
    parent.taken_out(node.name, node)


@contextlib.contextmanager
def leased(node: UxFile, lease: int) -> Iterator[None]:
    """A block that changes a file, which hangs on ``lease`` from then on, unless there is none or the block fails."""
    if lease == NO_LEASE:
        yield
        return
    fs, before = node.fs, node.lease
    fs.ties.tie_existing(node, lease)
    try:
        yield
    except BaseException:  # a cancellation too: what was begun is undone, and it goes on
        try:
            fs.leases.check(before)
        except serr.NotFound:
            vanish(node)
        else:
            fs.ties.untie(node, before)
        raise
