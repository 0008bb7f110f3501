"""Buckets and objects as nodes (B-1, B-2). A directory is a beginning that keys share; it exists while a key has it.

What changes through this server is told to watches and moves versions at that moment; what others change in S3 is
seen at the next look.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import TYPE_CHECKING

from kernel.s3 import state
from kernel.s3.objects import FILE_PERM, S3Object, check_writable
from kernel.s3.s3file import Writer
from kernel.s3.state import MARKER, ObjectInfo, Versions
from sigmaos_ray import serr
from sigmaos_ray.protsrv.fences import FenceTable
from sigmaos_ray.protsrv.locks import LockTable
from sigmaos_ray.protsrv.node import Caller, Dir, Node, OpenFile, OpenHow
from sigmaos_ray.sigmap import (
    DEV_S3,
    DMDIR,
    DMTMP,
    NO_FENCE,
    NO_LEASE,
    OEXCL,
    PERM_MASK,
    Fence,
    Perm,
    Qid,
    Stat,
    path,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from kernel.s3.store import S3Store
    from sigmaos_ray.protsrv.watch import WatchTable


class S3Fs:
    """All buckets of one account. Used from one loop; the store belongs to the caller."""

    def __init__(self, store: S3Store, watches: WatchTable, part_bytes: int) -> None:
        self.store = store
        self.watches = watches
        self.part_bytes = part_bytes
        self.fences = FenceTable()
        self.versions = Versions(time.time_ns())
        self.locks: LockTable[tuple[str, str]] = LockTable()
        """Changes of one object, by bucket and key, are made one after the other."""
        self.root = S3Root(self)

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


class _S3Dir(Dir):
    """What the root and directories share."""

    def __init__(self, fs: S3Fs, name: str) -> None:
        self.fs = fs
        self._name = name

    @property
    def name(self) -> str:
        return self._name

    @property
    def perm(self) -> Perm:
        return DMDIR | FILE_PERM

    def status(self) -> Stat:
        return Stat(name=self._name, qid=self.qid(), mode=self.perm, dev=DEV_S3)


class S3Root(_S3Dir):
    """The buckets. They are made and removed outside of SigmaOS."""

    def __init__(self, fs: S3Fs) -> None:
        super().__init__(fs, "")

    def qid(self) -> Qid:
        return Qid.of(self.perm, 0, state.qid_path("", ""))

    async def stat(self, caller: Caller) -> Stat:
        return self.status()

    async def lookup(self, caller: Caller, name: str) -> Node:
        if not await self.fs.store.has_bucket(name):
            raise serr.NotFound(name)
        return S3Bucket(self.fs, name)

    async def walk(self, caller: Caller, names: Sequence[str]) -> list[Node]:
        names = _before_unions(names)
        if len(names) < 2:
            return [await self.lookup(caller, name) for name in names]
        bucket = S3Bucket(self.fs, names[0])
        return [bucket, *await bucket.nodes_along(names[1:])]

    async def entries(self, caller: Caller, after: str, limit: int) -> list[Stat]:
        found = await self.fs.store.buckets()
        names = [name for name, _ in found if name > after]
        return [S3Bucket(self.fs, name).status() for name in names[:limit]]

    async def create(self, caller: Caller, name: str, how: OpenHow) -> tuple[Node, OpenFile | None]:
        raise serr.NoCreate(name, "buckets are made outside of SigmaOS")

    async def put(self, caller: Caller, name: str, data: bytes, how: OpenHow, offset: int = 0) -> int:
        raise serr.NoCreate(name, "buckets are made outside of SigmaOS")


class S3Dir(_S3Dir):
    """A directory: what lies below ``prefix`` in a bucket, without the slash at its end; ``""`` is the bucket."""

    def __init__(self, fs: S3Fs, name: str, bucket: str, prefix: str) -> None:
        super().__init__(fs, name)
        self.bucket = bucket
        self.prefix = prefix

    def qid(self) -> Qid:
        version = self.fs.versions.of_dir(self.bucket, self.prefix)
        return Qid.of(self.perm, version, state.qid_path(self.bucket, state.within(self.prefix)))

    async def stat(self, caller: Caller) -> Stat:
        return self.status()

    def key_of(self, name: str) -> str:
        return state.join_key(self.prefix, name)

    def _dir(self, name: str) -> S3Dir:
        return S3Dir(self.fs, name, self.bucket, self.key_of(name))

    def _object(self, name: str, info: ObjectInfo) -> S3Object:
        return S3Object(self.fs, name, self, info)

    # -- looking

    async def lookup(self, caller: Caller, name: str) -> Node:
        node = await self._find(name)
        if node is None:
            raise serr.NotFound(name)
        return node

    async def _find(self, name: str) -> Node | None:
        """The object of that name, else the directory. One request for the one, two for the other."""
        if name == MARKER:
            return None
        info = await self.fs.store.head(self.bucket, self.key_of(name))
        if info is not None:
            return self._object(name, info)
        return self._dir(name) if await self._has_keys(self.key_of(name)) else None

    async def _has_keys(self, prefix: str) -> bool:
        return bool(await self.fs.store.first_keys(self.bucket, prefix, 1))

    async def walk(self, caller: Caller, names: Sequence[str]) -> list[Node]:
        way = await self.nodes_along(_before_unions(names))
        if not way and names:
            raise serr.NotFound(names[0])
        return way

    async def nodes_along(self, names: Sequence[str]) -> list[Node]:
        """Like ``walk``, but empty if the first is missing. One or two requests if the way ends at an object or a
        directory; where it does not, the directories above are looked for from below. NotFound of a bucket."""
        dirs: list[S3Dir] = []
        here = self
        for name in itertools.takewhile(lambda name: name != MARKER, names):
            here = here._dir(name)
            dirs.append(here)
        if not dirs:
            return []
        above = [self, *dirs]
        end = await above[-2]._find(above[-1].name)
        if end is not None:
            return [*dirs[:-1], end]
        depth = len(dirs) - 1
        while depth and not await self._has_keys(dirs[depth - 1].prefix):
            depth -= 1
        if depth + 1 < len(dirs) and await self.fs.store.head(self.bucket, dirs[depth].prefix) is not None:
            raise serr.NotDir(dirs[depth].name)
        return list(dirs[:depth])

    async def entries(self, caller: Caller, after: str, limit: int) -> list[Stat]:
        """One page of S3's, put into the order of names (see ``state.late_dirs``)."""
        token = ""
        while True:
            listing = await self.fs.store.list(self.bucket, self.prefix, after, token)
            found = state.merge(listing, after)
            if found or listing.is_last:
                break
            token = listing.next_token
        if not listing.is_last:
            for name in state.late_dirs(state.last_name(listing), after, found):
                if state.is_shown(name) and await self._has_keys(self.key_of(name)):
                    found[name] = None
        return [self._stat_of_entry(name, found[name]) for name in sorted(found)[:limit]]

    def _stat_of_entry(self, name: str, info: ObjectInfo | None) -> Stat:
        if info is None:
            return self._dir(name).status()
        return self.fs.object_stat(self.bucket, self.key_of(name), info)

    # -- changes

    async def create(self, caller: Caller, name: str, how: OpenHow) -> tuple[Node, OpenFile | None]:
        """A directory is there at once; a file appears at its close, in place of what may have appeared there
        meanwhile, unless OEXCL."""
        self._check_new(name, how)
        self.fs.fences.check(how.fence)
        if how.perm & DMDIR:
            return await self._make_dir(name, how.fence), None
        check_writable(name, how.mode)
        if await self._find(name) is not None:
            raise serr.Exists(name)
        writer = Writer(self, name, exclusive=bool(how.mode & OEXCL), only_if_written=False, fence=how.fence)
        return self._object(name, ObjectInfo(0, "", time.time())), writer

    async def _make_dir(self, name: str, fence: Fence) -> S3Dir:
        made = self._dir(name)
        async with self.fs.locks.hold(exclusive=[(self.bucket, made.prefix)]):
            if await self._find(name) is not None:
                raise serr.Exists(name)
            self.fs.fences.check(fence)
            await self.fs.store.put(self.bucket, made.key_of(MARKER), b"", exclusive=False)
            self._has_come(name)
        return made

    async def put(self, caller: Caller, name: str, data: bytes, how: OpenHow, offset: int = 0) -> int:
        """Always the whole object, with or without OTRUNC."""
        self._check_new(name, how)
        if how.perm & DMDIR:
            raise serr.Inval(name, "a put makes a file")
        check_writable(name, how.mode)
        if offset:
            raise serr.Inval(name, f"S3 files are written from 0 on, not from {offset}")
        exclusive = bool(how.mode & OEXCL)
        key = self.key_of(name)
        await self.commit(
            name,
            lambda: self.fs.store.put(self.bucket, key, data, exclusive=exclusive),
            fence=how.fence,
            exclusive=exclusive,
        )
        return len(data)

    async def commit(self, name: str, finish: Callable[[], Awaitable[str]], *, fence: Fence, exclusive: bool) -> None:
        """Lets an object appear: ``finish`` does it and returns the ETag. IsDir if there is a directory."""
        key = self.key_of(name)
        async with self.fs.locks.hold(exclusive=[(self.bucket, key)]):
            old, below = await asyncio.gather(self.fs.store.head(self.bucket, key), self._has_keys(key))
            if old is not None and exclusive:
                raise serr.Exists(name)
            if old is None and below:
                raise serr.Exists(name, "a directory") if exclusive else serr.IsDir(name)
            self.fs.fences.check(fence)
            etag = await finish()
            self.fs.versions.move_object(self.bucket, key, etag, time.time_ns())
            if old is None:
                self._has_come(name)

    def _check_new(self, name: str, how: OpenHow) -> None:
        state.check_new_key(name, self.key_of(name))
        if how.lease != NO_LEASE or how.perm & DMTMP:
            raise serr.NotSupported(name, "S3 keeps no leased files: put them into named")
        if how.perm & ~(DMDIR | PERM_MASK):
            raise serr.NotSupported(name, f"S3 keeps files and directories only: perm {how.perm:#x}")

    def _has_come(self, name: str) -> None:
        self.fs.versions.move_dir(self.bucket, self.prefix, time.time_ns())
        self.fs.watches.created(self.qid().path, name)

    def has_gone(self, name: str) -> None:
        """An entry was removed: moves the version, tells the watches."""
        self.fs.versions.move_dir(self.bucket, self.prefix, time.time_ns())
        self.fs.watches.removed(self.qid().path, name)

    async def remove(self, caller: Caller, fence: Fence = NO_FENCE) -> None:
        marks = state.markers(self.prefix)
        async with self.fs.locks.hold(exclusive=[(self.bucket, self.prefix)]):
            keys = await self.fs.store.first_keys(self.bucket, self.prefix, len(marks) + 1)
            if not keys:
                raise serr.NotFound(self._name)
            if not marks.issuperset(keys):
                raise serr.NotEmpty(self._name)
            self.fs.fences.check(fence)
            for key in keys:
                await self.fs.store.delete(self.bucket, key)
            self._parent().has_gone(self._name)
            self.fs.watches.end(self.qid().path)

    def _parent(self) -> S3Dir:
        prefix = self.prefix.rpartition("/")[0]
        return S3Dir(self.fs, prefix.rpartition("/")[2], self.bucket, prefix)

    async def rename(self, caller: Caller, new_dir: Dir, new_name: str, fence: Fence = NO_FENCE) -> None:
        raise serr.NotSupported(self._name, "S3 cannot rename")


class S3Bucket(S3Dir):
    """A bucket: a directory that stays."""

    def __init__(self, fs: S3Fs, bucket: str) -> None:
        super().__init__(fs, bucket, bucket, "")

    async def remove(self, caller: Caller, fence: Fence = NO_FENCE) -> None:
        raise serr.NoRemove(self.name, "buckets are removed outside of SigmaOS")


def _before_unions(names: Sequence[str]) -> list[str]:
    return list(itertools.takewhile(lambda name: not path.is_union(name), names))
