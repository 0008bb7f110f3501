"""What a tenant is granted, and what it may use at most. Stands in its record in the root realm's ``name/realm``."""

from __future__ import annotations

from typing import Final

import msgspec

from sigmaos_ray import serr


class RealmTerms(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The terms of one realm. A limit of 0: what everybody has (``config.py``)."""

    buckets: tuple[str, ...] = ()
    """Of S3, with the node's own credentials. With others a caller sees what those may."""
    database: bool = False
    """The instance's configured database; else the realm has one of its own."""
    sessions_max: int = 0
    """Of one server of the realm."""
    fids_max: int = 0
    """Open files and directories, of one server of the realm."""
    files_max: int = 0
    """Files and directories in named."""
    bytes_max: int = 0
    """Of contents in named."""
    procs_queued_max: int = 0
    """Waiting at one schedd."""
    cores_max: float = 0.0
    """Of one kernel node."""
    mem_mb_max: float = 0.0
    """Of one kernel node: what procs reserve of it."""

    def check(self) -> None:
        """Inval for terms that mean nothing."""
        for name in LIMITS:
            if getattr(self, name) < 0:
                raise serr.Inval(name, "a limit is 0, for none of its own, or more")
        for bucket in self.buckets:
            if not bucket or "/" in bucket:
                raise serr.Inval(bucket, "no bucket has such a name")


LIMITS: Final = tuple(field for field in RealmTerms.__struct_fields__ if field.endswith("_max"))
"""The names of the limits."""
