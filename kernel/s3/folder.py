"""A directory as S3 has it: what keys of a bucket begin with. It exists while a key has it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from kernel.s3 import state
from kernel.s3.state import DIR_PERM
from sigmaos_ray import serr
from sigmaos_ray.sigmap import Qid

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from kernel.s3.shared import S3Shared
    from kernel.s3.store import Account
    from sigmaos_ray.sigmap import Fence


class Folder:
    """What lies below ``prefix`` in a bucket, without the slash at its end; ``""`` is the bucket itself. It holds
    nothing: any number may stand for the same place."""

    def __init__(self, shared: S3Shared, bucket: str, prefix: str, *, is_to_come: bool = False) -> None:
        self.shared = shared
        self.bucket = bucket
        self.prefix = prefix
        self.is_to_come = is_to_come
        """True if nothing was below when it was looked for: it comes with its first entry, and so may those above."""

    @property
    def name(self) -> str:
        return self.prefix.rpartition("/")[2] or self.bucket

    def key_of(self, name: str) -> str:
        return state.join_key(self.prefix, name)

    def below(self, name: str) -> Folder:
        return Folder(self.shared, self.bucket, self.key_of(name))

    def above(self) -> Folder:
        return Folder(self.shared, self.bucket, self.prefix.rpartition("/")[0])

    def qid(self) -> Qid:
        version = self.shared.versions.of_dir(self.bucket, self.prefix)
        return Qid.of(DIR_PERM, version, state.qid_path(self.bucket, state.within(self.prefix)))

    async def is_there(self, account: Account) -> bool:
        """True if a key lies below. Asks S3, unless no key can."""
        beginning = state.within(self.prefix)
        return state.may_exist(beginning) and bool((await account.keys(self.bucket, beginning, count=1)).keys)

    async def commit(
        self, account: Account, name: str, finish: Callable[[], Awaitable[str]], *, fence: Fence, exclusive: bool
    ) -> None:
        """Lets an object appear: ``finish`` does it and returns the ETag. IsDir if there is a directory."""
        key = self.key_of(name)
        # S3 has files and directories of one name; the lock keeps two clients of this server from making both.
        async with self.shared.locks.hold(exclusive=[(self.bucket, key), *self.locks_to_come()]):
            coming = await self.coming(account)
            # Side by side: each is a round trip, and the lock is held over both.
            old, has_below = await asyncio.gather(account.head(self.bucket, key), self.below(name).is_there(account))
            if old is not None and exclusive:
                raise serr.Exists(name)
            if old is None and has_below:
                raise serr.Exists(name, "a directory") if exclusive else serr.IsDir(name)
            # Here and no earlier: the parts of a large object may have taken hours.
            self.shared.fences.check(fence)
            etag = await finish()
            self.shared.versions.move_object(self.bucket, key, etag, time.time_ns())
            if old is None:
                self.has_come(name, coming)

    def _to_come(self) -> list[Folder]:
        """What may come with an entry: this one and those above, the uppermost first, without the bucket, which does
        not come by itself. Empty if the directory was there."""
        folders: list[Folder] = []
        here = self
        while self.is_to_come and here.prefix:
            folders.insert(0, here)
            here = here.above()
        return folders

    def locks_to_come(self) -> list[tuple[str, str]]:
        """To be held while an entry is made, so that of a directory that comes with two of them the watches are told
        once."""
        return [(self.bucket, folder.prefix) for folder in self._to_come()]

    async def coming(self, account: Account) -> list[Folder]:
        """The directories that come with the first entry made now, for ``has_come``."""
        return [folder for folder in self._to_come() if not await folder.is_there(account)]

    def has_come(self, name: str, coming: Sequence[Folder] = ()) -> None:
        """An entry was made, and with it the directories that were ``coming``."""
        for folder in coming:
            folder.above()._entry_has_come(folder.name)
        self._entry_has_come(name)

    def _entry_has_come(self, name: str) -> None:
        """Moves the version, tells the watches."""
        self.shared.versions.move_dir(self.bucket, self.prefix, time.time_ns())
        self.shared.watches.created(self.qid().path, name)

    def has_gone(self, name: str) -> None:
        """An entry was removed: moves the version, tells the watches."""
        self.shared.versions.move_dir(self.bucket, self.prefix, time.time_ns())
        self.shared.watches.removed(self.qid().path, name)
