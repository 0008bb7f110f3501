"""What the nodes of one tree share: the store, and the tables of fences, leases, versions, listings and locks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.keeping import KeptFences
from kernel.ux.hostdir import not_shown
from kernel.ux.listing import Listings
from kernel.ux.state import HostStat, InodeVersions, perm_of, qid_path
from kernel.ux.ties import Ties
from sigmaos_ray.protsrv.leases import LeaseKeeper
from sigmaos_ray.protsrv.locks import LockTable
from sigmaos_ray.sigmap import DEV_UX, DMTMP, NO_LEASE, Fence, Qid, Stat

if TYPE_CHECKING:
    from kernel.ux.store import UxStore
    from sigmaos_ray.protsrv.watch import WatchTable


class UxShared:
    """Used from one loop; the store and the watches belong to the caller."""

    def __init__(self, store: UxStore, watches: WatchTable) -> None:
        self.store = store
        self.watches = watches
        # Beside the tree, not in the process's own part: fences outlive it.
        self.fences = KeptFences(store.workshop.open_hidden)
        self.ties = Ties(store.workshop.passing)
        self.leases = LeaseKeeper(self.ties.end)
        self.versions = InodeVersions()
        self.listings = Listings()
        self.locks: LockTable[tuple[int, int]] = LockTable()
        """Contents of files, by inode."""
        with store.directory([]) as root:
            self.root_status = root.status()

    def check(self, *fences: Fence, lease: int = NO_LEASE) -> None:
        """Before a change: NotFound for a lease that is over; Stale for a fence that another has overtaken. Newer
        ones are on the disk once this returns."""
        # The lease first: what is refused for it must not raise a fence.
        self.leases.check(lease)
        self.fences.check(*fences)

    def is_shown(self, host: HostStat) -> bool:
        """False for the pipes of others, of which the server knows nothing. May be asked from any thread."""
        return not host.is_pipe or self.ties.is_own_pipe(host)

    def check_shown(self, name: str, host: HostStat) -> None:
        """Perm for what is not shown."""
        if not self.is_shown(host):
            raise not_shown(name)

    def qid_path(self, host: HostStat) -> int:
        return qid_path(host.inode, self.root_status.dev)

    def stat_of(self, name: str, host: HostStat, version: int, *, is_leased: bool = False) -> Stat:
        perm = perm_of(host.mode) | (DMTMP if is_leased else 0)
        return Stat(
            name=name,
            qid=Qid.of(perm, version, self.qid_path(host)),
            mode=perm,
            length=host.length,
            mtime=host.mtime_ns / 1e9,
            atime=host.atime_ns / 1e9,
            uid=str(host.uid),
            gid=str(host.gid),
            dev=DEV_UX,
        )
