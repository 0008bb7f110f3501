"""Uploads that are not finished: a server that starts drops what the one before it left half sent."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

import msgspec

from kernel.keeping import KeptFile
from sigmaos_ray import serr

if TYPE_CHECKING:
    from kernel.keeping import OpenDirectory

UPLOADS_FILE: Final = "uploads"


class UnfinishedUpload(msgspec.Struct, frozen=True):
    """An upload that S3 knows of."""

    bucket: str
    key: str
    upload: str


class UploadsFile:
    """Uploads under way, on the disk."""

    def __init__(self, open_directory: OpenDirectory | None) -> None:
        """Error if the file is damaged. ``open_directory``: see ``keeping``."""
        # Not synced: an upload that a loss of power made us forget costs room in S3, and no contents.
        self._file = KeptFile(open_directory, UPLOADS_FILE, list[UnfinishedUpload], syncs=False)
        self.abandoned = self._file.read() or []
        """Those of the server before this one: to be aborted."""
        # A dictionary as an ordered set. The abandoned ones stay in the file until S3 has dropped them.
        self._open = dict.fromkeys(self.abandoned)

    def __len__(self) -> int:
        return len(self._open)

    def began(self, bucket: str, key: str, upload: str) -> None:
        """Error if the disk does not take it."""
        self._open[UnfinishedUpload(bucket, key, upload)] = None
        self._write()

    def ended(self, bucket: str, key: str, upload: str) -> None:
        """Never raises: one that stays noted is aborted once more, which does no harm."""
        self._open.pop(UnfinishedUpload(bucket, key, upload), None)
        with contextlib.suppress(serr.Error):
            self._write()

    def _write(self) -> None:
        self._file.update(lambda _: list(self._open))
