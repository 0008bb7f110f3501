"""The host's files as a tree of nodes.

Calls on names are short and run on the loop, without a wait between looking, doing, and telling the watches: each is
one moment, as in memfs. Only contents, long listings and syncs go to threads, contents under a lock per file.

A node stands for an entry while somebody holds it, and follows renames made through this server. Changes that the
host makes beside it are seen at the next look, but not told to watches, and move no directory's version.

Leased files and pipes are held for as long as they are there (see ``ties``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.ux.directory import UxDir
from kernel.ux.shared import UxShared

if TYPE_CHECKING:
    from kernel.ux.store import UxStore
    from sigmaos_ray.protsrv.watch import WatchTable


class UxFs:
    """One tree of the host. Used from one loop; the store belongs to the caller. Hand ``fences`` and ``leases`` to the
    ``FileServer`` of ``root``, which shows the ones and keeps the others."""

    def __init__(self, store: UxStore, watches: WatchTable) -> None:
        self.shared = UxShared(store, watches)
        self.fences = self.shared.fences.table
        self.leases = self.shared.leases
        self.root = UxDir(self.shared, "", self.shared.root_status, None)
