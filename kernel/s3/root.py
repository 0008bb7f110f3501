"""The root of s3: its entries are the buckets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernel.s3 import state
from kernel.s3.directory import S3Bucket
from kernel.s3.state import DIR_PERM
from sigmaos_ray import serr
from sigmaos_ray.protsrv.node import Dir, Node, OpenFile, OpenHow
from sigmaos_ray.sigmap import DEV_S3, Perm, Qid, Stat

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernel.s3.shared import S3Shared
    from sigmaos_ray.rpcsrv import Caller


class S3Root(Dir):
    """The buckets. They are made and removed outside of SigmaOS."""

    def __init__(self, shared: S3Shared) -> None:
        self._shared = shared

    @property
    def name(self) -> str:
        return ""

    @property
    def perm(self) -> Perm:
        return DIR_PERM

    def qid(self) -> Qid:
        return Qid.of(DIR_PERM, 0, state.qid_path("", ""))

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

    async def create(self, caller: Caller, name: str, how: OpenHow) -> tuple[Node, OpenFile | None]:
        raise serr.NoCreate(name, "buckets are made outside of SigmaOS")

    async def put(self, caller: Caller, name: str, data: bytes, how: OpenHow, offset: int = 0) -> int:
        raise serr.NoCreate(name, "buckets are made outside of SigmaOS")
