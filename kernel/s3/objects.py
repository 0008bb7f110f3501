"""Objects as nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kernel.s3 import state
from kernel.s3.s3file import Reader
from kernel.s3.writer import Writer
from sigmaos_ray import serr
from sigmaos_ray.protsrv.node import Dir, Node, OpenFile, OpenHow
from sigmaos_ray.sigmap import (
    NO_FENCE,
    OACCESS_MASK,
    OAPPEND,
    ORDWR,
    OTRUNC,
    OWRITE,
    Fence,
    Mode,
    Perm,
    Qid,
    Stat,
)

if TYPE_CHECKING:
    from kernel.s3.nodes import S3Dir, S3Fs
    from kernel.s3.state import ObjectInfo
    from kernel.s3.store import Account
    from sigmaos_ray.rpcsrv import Caller

FILE_PERM: Final = 0o777
"""S3 keeps no permissions."""


class S3Object(Node):
    """An object, as S3 last showed it."""

    def __init__(self, fs: S3Fs, name: str, directory: S3Dir, info: ObjectInfo) -> None:
        self.fs = fs
        self._name = name
        self._dir = directory
        self.bucket = directory.bucket
        self.key = directory.key_of(name)
        self._see(info)
        self._is_fresh = bool(info.etag)
        """True until the first use of what the look-up found: that is news enough."""

    def _see(self, info: ObjectInfo) -> None:
        self.info = info
        self._version = self.fs.versions.of_object(self.bucket, self.key, info)

    @property
    def name(self) -> str:
        return self._name

    @property
    def perm(self) -> Perm:
        return FILE_PERM

    def qid(self) -> Qid:
        return Qid.of(FILE_PERM, self._version, state.qid_path(self.bucket, self.key))

    async def refresh(self, account: Account) -> None:
        """Looks again. NotFound if it is gone."""
        info = await account.head(self.bucket, self.key)
        if info is None:
            raise serr.NotFound(self._name)
        self._see(info)

    async def _refresh_once_used(self, account: Account) -> None:
        if not self._is_fresh:
            await self.refresh(account)
        self._is_fresh = False

    async def stat(self, caller: Caller) -> Stat:
        await self._refresh_once_used(self.fs.account(caller))
        return self.fs.object_stat(self.bucket, self.key, self.info)

    async def open(self, caller: Caller, how: OpenHow) -> OpenFile:
        check_writable(self._name, how.mode)
        account = self.fs.account(caller)
        if how.mode & OACCESS_MASK == OWRITE or how.mode & OTRUNC:
            self.fs.check(how.fence)
            written_only = not how.mode & OTRUNC
            return Writer(
                self._dir, account, self._name, exclusive=False, only_if_written=written_only, fence=how.fence
            )
        await self._refresh_once_used(account)
        return Reader(self, account)

    async def remove(self, caller: Caller, fence: Fence = NO_FENCE) -> None:
        account = self.fs.account(caller)
        async with self.fs.locks.hold(exclusive=[(self.bucket, self.key)]):
            await self.refresh(account)
            self.fs.check(fence)
            await account.delete(self.bucket, self.key)
            self._dir.has_gone(self._name)

    async def rename(self, caller: Caller, new_dir: Dir, new_name: str, fence: Fence = NO_FENCE) -> None:
        raise serr.NotSupported(self._name, "S3 cannot rename")


def check_writable(name: str, mode: Mode) -> None:
    """S3 has neither appending nor reading what is being written."""
    if mode & OAPPEND:
        raise serr.NotSupported(name, "S3 cannot append")
    if mode & OACCESS_MASK == ORDWR:
        raise serr.NotSupported(name, "S3 files are opened for reading or for writing, not both")
