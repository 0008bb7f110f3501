"""The root of s3: its entries are the buckets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.s3 import state
from kernel.s3.directory import S3Bucket
from kernel.s3.state import DIR_PERM
from sigmaos_ray import serr
from sigmaos_ray.protsrv.node import Dir, Node, OpenFile, OpenHow
from sigmaos_ray.sigmap import DEV_S3, DMDIR, DMTMP, NO_LEASE, Perm, Qid, Stat

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernel.s3.shared import S3Shared
    from sigmaos_ray.rpcsrv import Caller


class S3Root(Dir):
    """The buckets. They are made where the caller's credentials may, and removed outside of SigmaOS."""

    def __init__(self, shared: S3Shared) -> None:
        self._shared = shared
        self._version = 0

    @property
    def name(self) -> str:
        return ""

    @property
    def perm(self) -> Perm:
        return DIR_PERM

    def qid(self) -> Qid:
        return Qid.of(DIR_PERM, self._version, state.qid_path("", ""))

    async def stat(self, caller: Caller) -> Stat:
        return Stat(name="", qid=self.qid(), mode=DIR_PERM, dev=DEV_S3)

    def _bucket(self, name: str) -> S3Bucket:
        return S3Bucket(self._shared, name)

    async def lookup(self, caller: Caller, name: str) -> Node:
        if not await self._shared.account(caller).has_bucket(name):
            raise serr.NotFound(name)
        return self._bucket(name)

    async def walk(self, caller: Caller, names: Sequence[str]) -> list[Node]:
        names = state.before_unions(names)
        if len(names) < 2:
            return [await self.lookup(caller, name) for name in names]
        # The bucket is not asked for: what is in it, or is not, tells of it too.
        bucket = self._bucket(names[0])
        return [bucket, *await bucket.nodes_along(self._shared.account(caller), names[1:])]

    async def get(self, caller: Caller, names: Sequence[str], offset: int, count: int) -> bytes | None:
        return await self._bucket(names[0]).get(caller, names[1:], offset, count) if names else None

    async def entries(self, caller: Caller, after: str, limit: int) -> list[Stat]:
        # All of them for each page: a page of S3's own would not begin behind a name.
        names = [name for name in await self._shared.account(caller).buckets() if name > after]
        return [self._bucket(name).status() for name in names[:limit]]

    async def dir_to_come(self, caller: Caller, names: Sequence[str]) -> Dir | None:
        return await self._bucket(names[0]).dir_to_come(caller, names[1:]) if len(names) > 1 else None

    async def create(self, caller: Caller, name: str, how: OpenHow) -> tuple[Node, OpenFile | None]:
        """Makes a bucket, with what S3 says where that is not allowed: Perm, Inval for its name, Exists."""
        if not how.perm & DMDIR:
            raise serr.NoCreate(name, "what is in the root of S3 is buckets")
        if how.lease != NO_LEASE or how.perm & DMTMP:
            raise serr.NotSupported(name, "a leased bucket")
        self._shared.fences.check(how.fence)
        account = self._shared.account(caller)
        async with self._shared.locks.hold(exclusive=[(name, "")]):
            # S3 may say of one's own bucket that it was made.
            if await account.has_bucket(name):
                raise serr.Exists(name)
            await account.make_bucket(name)
            self._version += 1
            self._shared.watches.created(self.qid().path, name)
        return self._bucket(name), None

    async def put(self, caller: Caller, name: str, data: bytes, how: OpenHow, offset: int = 0) -> int:
        raise serr.NoCreate(name, "what is in the root of S3 is buckets")
