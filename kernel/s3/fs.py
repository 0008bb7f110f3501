"""Buckets and objects as a tree of nodes (B-1, B-2).

What changes through this server is told to watches and moves versions at that moment; what others change in S3 is
seen at the next look.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from kernel.s3.root import S3Root
from kernel.s3.shared import S3Shared
from sigmaos_ray import debug, serr

if TYPE_CHECKING:
    from pathlib import Path

    from kernel.s3.store import S3Store
    from sigmaos_ray.protsrv.watch import WatchTable

_log = debug.selector("S3")


class S3Fs:
    """All buckets, as each caller may use them. Used from one loop; the store belongs to the caller. Hand ``fences`` to
    the server of the root; ``close`` it behind that server."""

    def __init__(self, store: S3Store, watches: WatchTable, directory: Path | None = None) -> None:
        """``directory``: where fences and unfinished uploads outlive the server. Error if what is there is damaged."""
        self.shared = S3Shared(store, watches, directory)
        self.fences = self.shared.fences.table
        self.root = S3Root(self.shared)
        self._dropping: asyncio.Task[None] | None = None

    def drop_abandoned_uploads(self) -> None:
        """Begins to abort what the last server left half sent. What S3 does not take now is tried at the next start."""
        if self.shared.uploads.abandoned:
            self._dropping = asyncio.create_task(self._drop_abandoned_uploads(), name="s3-abandoned-uploads")

    async def _drop_abandoned_uploads(self) -> None:
        account, uploads = self.shared.store.own(), self.shared.uploads
        for upload in uploads.abandoned:
            try:
                await account.abort_parts(upload.bucket, upload.key, upload.upload)
            except serr.SigmaError as error:
                _log(f"upload of {upload.key} stays for now: {error}")
            else:
                uploads.ended(upload.bucket, upload.key, upload.upload)

    async def close(self) -> None:
        """Ends what it began by itself."""
        dropping, self._dropping = self._dropping, None
        if dropping is not None:
            dropping.cancel()
            await asyncio.wait({dropping})

    def report(self) -> dict[str, int]:
        """For ``.statsd``."""
        return {
            "held_bytes": self.shared.budget.used_bytes,
            "upload_count": len(self.shared.uploads),
            "credentials_count": self.shared.store.credentials_count,
        }
