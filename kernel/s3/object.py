"""Objects as nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.s3 import state
from kernel.s3.reader import ObjectReader
from kernel.s3.state import FILE_PERM
from kernel.s3.writer import ObjectWriter
from sigmaos_ray import serr
from sigmaos_ray.protsrv.node import Node, OpenFile, OpenHow
from sigmaos_ray.sigmap import NO_FENCE, OACCESS_MASK, OTRUNC, OWRITE, Fence, Perm, Qid, Stat

if TYPE_CHECKING:
    from kernel.s3.folder import Folder
    from kernel.s3.state import ObjectInfo
    from kernel.s3.store import Account
    from sigmaos_ray.rpcsrv import Caller


class S3Object(Node):
    """An object, as S3 last showed it."""

    def __init__(self, folder: Folder, name: str, info: ObjectInfo) -> None:
        self._shared = folder.shared
        self._folder = folder
        self._name = name
        self._key = folder.key_of(name)
        self._see(info)
        self._is_fresh = bool(info.etag)
        """True until the first use of what the look-up found: that is news enough."""

    def _see(self, info: ObjectInfo) -> None:
        self._info = info
        self._version = self._shared.versions.of_object(self._folder.bucket, self._key, info)

    @property
    def name(self) -> str:
        return self._name

    @property
    def perm(self) -> Perm:
        return FILE_PERM

    def qid(self) -> Qid:
        return Qid.of(FILE_PERM, self._version, state.qid_path(self._folder.bucket, self._key))

    async def _refresh(self, account: Account) -> None:
        """Looks again. NotFound if it is gone."""
        info = await account.head(self._folder.bucket, self._key)
        if info is None:
            raise serr.NotFound(self._name)
        self._see(info)

    async def _refresh_once_used(self, account: Account) -> None:
        if not self._is_fresh:
            await self._refresh(account)
        self._is_fresh = False

    async def stat(self, caller: Caller) -> Stat:
        await self._refresh_once_used(self._shared.account(caller))
        return self._shared.object_stat(self._folder.bucket, self._key, self._info)

    async def open(self, caller: Caller, how: OpenHow) -> OpenFile:
        state.check_writable(self._name, how.mode)
        account = self._shared.account(caller)
        # S3 is not asked: what is there now says nothing of what will be there at the close.
        if how.mode & OACCESS_MASK == OWRITE or how.mode & OTRUNC:
            self._shared.fences.check(how.fence)
            only_if_written = not how.mode & OTRUNC
            return ObjectWriter(
                self._folder, account, self._name, exclusive=False, only_if_written=only_if_written, fence=how.fence
            )
        await self._refresh_once_used(account)
        return ObjectReader(self._folder, account, self._name, self._info)

    async def remove(self, caller: Caller, fence: Fence = NO_FENCE) -> None:
        account, bucket = self._shared.account(caller), self._folder.bucket
        async with self._shared.locks.hold(exclusive=[(bucket, self._key)]):
            # S3 says of no key that it was not there to delete.
            await self._refresh(account)
            self._shared.fences.check(fence)
            await account.delete(bucket, self._key)
            self._folder.has_gone(self._name)
