"""What the nodes of one s3 share: S3 itself, and the tables of fences, versions and locks."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from kernel import keeping
from kernel.keeping import KeptFences
from kernel.s3 import state
from kernel.s3.budget import Budget
from kernel.s3.state import FILE_PERM, KeyVersions, ObjectInfo
from kernel.s3.uploads import UploadsFile
from sigmaos_ray.protsrv.locks import LockTable
from sigmaos_ray.sigmap import DEV_S3, Qid, Stat

if TYPE_CHECKING:
    from pathlib import Path

    from kernel.s3.store import Account, S3Store
    from sigmaos_ray.protsrv.watch import WatchTable
    from sigmaos_ray.rpcsrv import Caller


class S3Shared:
    """Used from one loop; the store and the watches belong to the caller."""

    def __init__(self, store: S3Store, watches: WatchTable, directory: Path | None) -> None:
        """``directory``: where fences and unfinished uploads outlive the server. Error if what is there is damaged."""
        self.store = store
        self.watches = watches
        self.limits = store.limits
        self.budget = Budget(self.limits.s3_ahead_bytes_max)
        self.uploads = UploadsFile(keeping.opening(directory))
        self.fences = KeptFences(keeping.opening(directory))
        # From the clock on, so that versions of directories do not go back when the server is started again.
        self.versions = KeyVersions(time.time_ns())
        self.locks: LockTable[tuple[str, str]] = LockTable()
        """Changes of one object, by bucket and key, are made one after the other."""

    def account(self, caller: Caller) -> Account:
        """S3 with what the caller shows. Perm for nothing, where the node's own credentials are not for callers."""
        return self.store.of(caller)

    def object_stat(self, bucket: str, key: str, info: ObjectInfo) -> Stat:
        version = self.versions.of_object(bucket, key, info)
        return Stat(
            name=key.rpartition("/")[2],
            qid=Qid.of(FILE_PERM, version, state.qid_path(bucket, key)),
            mode=FILE_PERM,
            length=info.size,
            mtime=info.mtime,
            atime=info.mtime,
            dev=DEV_S3,
        )
