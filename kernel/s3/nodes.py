"""Buckets and objects as nodes (B-1, B-2). A directory is a beginning that keys share; it exists while a key has it.

What changes through this server is told to watches and moves versions at that moment; what others change in S3 is
seen at the next look.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import time
from typing import TYPE_CHECKING

from kernel.s3 import removal, requests, state
from kernel.s3.budget import Budget
from kernel.s3.keeping import FenceFile, Journal
from kernel.s3.objects import FILE_PERM, S3Object, check_writable
from kernel.s3.state import MARKER, ObjectInfo, Versions
from kernel.s3.writer import Writer
from sigmaos_ray import debug, serr
from sigmaos_ray.protsrv.fences import FenceTable
from sigmaos_ray.protsrv.locks import LockTable
from sigmaos_ray.protsrv.node import Dir, Node, OpenFile, OpenHow
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
    from pathlib import Path

    from kernel.s3.store import Account, S3Store
    from sigmaos_ray.protsrv.watch import WatchTable
    from sigmaos_ray.rpcsrv import Caller

_log = debug.selector("S3")


class S3Fs:
    """All buckets, as each caller may use them. Used from one loop; the store belongs to the caller. Hand ``fences`` to
    the server of the root; ``close`` it behind that server."""

    def __init__(self, store: S3Store, watches: WatchTable, directory: Path | None = None) -> None:
        """``directory``: where fences and unfinished uploads outlive the server. Error if what is there is damaged."""
        self.store = store
        self.watches = watches
        self.limits = store.limits
        self.budget = Budget(self.limits.s3_ahead_bytes_max)
        self.journal = Journal(directory)
        self._fence_file = FenceFile(directory)
        self.fences = FenceTable(self._fence_file.load(), self._save_fences)
        self.versions = Versions(time.time_ns())
        self.locks: LockTable[tuple[str, str]] = LockTable()
        """Changes of one object, by bucket and key, are made one after the other."""
        self.root = S3Root(self)
        self._dropping: asyncio.Task[None] | None = None

    def account(self, caller: Caller) -> Account:
        """S3 with what the caller shows. Perm for nothing, where the node's own credentials are not for callers."""
        return self.store.of(caller)

    def check(self, fence: Fence) -> None:
        """Before a change: Stale for a fence that another has overtaken. A newer one is on the disk once this
        returns."""
        self.fences.check(fence)
        if self._fence_file.is_behind:
            self._save_fences()

    def _save_fences(self) -> None:
        self._fence_file.save(self.fences.newest())

    def drop_left_uploads(self) -> None:
        """Begins to abort what the last server left half sent. What S3 does not take now is tried at the next start."""
        if self.journal.left:
            self._dropping = asyncio.create_task(self._drop_left_uploads(), name="s3-left-uploads")

    async def _drop_left_uploads(self) -> None:
        account = self.store.own()
        for left in self.journal.left:
            try:
                await account.abort_parts(left.bucket, left.key, left.upload)
            except serr.SigmaError as error:
                _log(f"upload of {left.key} stays for now: {error}")
            else:
                self.journal.ended(left.bucket, left.key, left.upload)

    async def close(self) -> None:
        """Ends what it began by itself."""
        dropping, self._dropping = self._dropping, None
        if dropping is not None:
            dropping.cancel()
            await asyncio.wait({dropping})

    def report(self) -> dict[str, int]:
        """For ``.statsd``."""
        return {
            "held_bytes": self.budget.used_bytes,
            "upload_count": len(self.journal),
            "credentials_count": self.store.credentials_count,
        }

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
        if not await self.fs.account(caller).has_bucket(name):
            raise serr.NotFound(name)
        return S3Bucket(self.fs, name)

    async def walk(self, caller: Caller, names: Sequence[str]) -> list[Node]:
        names = _before_unions(names)
        if len(names) < 2:
            return [await self.lookup(caller, name) for name in names]
        bucket = S3Bucket(self.fs, names[0])
        return [bucket, *await bucket.nodes_along(self.fs.account(caller), names[1:])]

    async def get(self, caller: Caller, names: Sequence[str], offset: int, count: int) -> bytes | None:
        return await S3Bucket(self.fs, names[0]).get(caller, names[1:], offset, count) if names else None

    async def entries(self, caller: Caller, after: str, limit: int) -> list[Stat]:
        names = [name for name in await self.fs.account(caller).buckets() if name > after]
        return [S3Bucket(self.fs, name).status() for name in names[:limit]]

    async def create(self, caller: Caller, name: str, how: OpenHow) -> tuple[Node, OpenFile | None]:
        raise serr.NoCreate(name, "buckets are made outside of SigmaOS")

    async def put(self, caller: Caller, name: str, data: bytes, how: OpenHow, offset: int = 0) -> int:
        raise serr.NoCreate(name, "buckets are made outside of SigmaOS")


class S3Dir(_S3Dir):
    """A directory: what lies below ``prefix`` in a bucket, without the slash at its end; ``""`` is the bucket."""

    removes_all = True

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
        node = await self._find(self.fs.account(caller), name)
        if node is None:
            raise serr.NotFound(name)
        return node

    async def _find(self, account: Account, name: str) -> Node | None:
        """The object of that name, else the directory. One request for the one, two for the other."""
        key = self.key_of(name)
        if not state.is_shown(name) or not state.may_exist(key):
            return None
        info = await account.head(self.bucket, key)
        if info is not None:
            return self._object(name, info)
        return self._dir(name) if await self._has_keys(account, key) else None

    async def _has_keys(self, account: Account, prefix: str) -> bool:
        beginning = state.within(prefix)
        return state.may_exist(beginning) and bool((await account.keys(self.bucket, beginning, count=1)).keys)

    async def walk(self, caller: Caller, names: Sequence[str]) -> list[Node]:
        way = await self.nodes_along(self.fs.account(caller), _before_unions(names))
        if not way and names:
            raise serr.NotFound(names[0])
        return way

    async def nodes_along(self, account: Account, names: Sequence[str]) -> list[Node]:
        """Like ``walk``, but empty if the first is missing. One or two requests if the way ends at an object or a
        directory; where it does not, the directories above are looked for from below. NotFound of a bucket."""
        dirs: list[S3Dir] = []
        here = self
        for name in itertools.takewhile(state.is_shown, names):
            here = here._dir(name)
            dirs.append(here)
        if not dirs:
            return []
        above = [self, *dirs]
        end = await above[-2]._find(account, above[-1].name)
        if end is not None:
            if len(dirs) < len(names) and not isinstance(end, Dir):
                raise serr.NotDir(end.name)
            return [*dirs[:-1], end]
        depth = len(dirs) - 1
        while depth and not await self._has_keys(account, dirs[depth - 1].prefix):
            depth -= 1
        if depth + 1 < len(dirs) and await self._is_object(account, dirs[depth].prefix):
            raise serr.NotDir(dirs[depth].name)
        return list(dirs[:depth])

    async def _is_object(self, account: Account, key: str) -> bool:
        return state.may_exist(key) and await account.head(self.bucket, key) is not None

    async def get(self, caller: Caller, names: Sequence[str], offset: int, count: int) -> bytes | None:
        """One request. None also where there is no such object: the walk tells what is missing."""
        key = self.key_of("/".join(names))
        if not names or not count or not all(state.is_shown(name) for name in names) or not state.may_exist(key):
            return None
        found = await self.fs.account(caller).read(requests.Range(self.bucket, key, offset, count))
        return None if found is None else found[0]

    async def entries(self, caller: Caller, after: str, limit: int) -> list[Stat]:
        """One page of S3's, put into the order of names (see ``state.late_dirs``)."""
        account = self.fs.account(caller)
        token = ""
        while True:
            listing = await account.list(self.bucket, self.prefix, after, token)
            found = state.merge(listing, after)
            if found or listing.is_last:
                break
            token = listing.next_token
        if not listing.is_last:
            for name in state.late_dirs(state.last_name(listing), after, found):
                if state.is_shown(name) and await self._has_keys(account, self.key_of(name)):
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
        self.fs.check(how.fence)
        account = self.fs.account(caller)
        if how.perm & DMDIR:
            return await self._make_dir(account, name, how.fence), None
        check_writable(name, how.mode)
        if await self._find(account, name) is not None:
            raise serr.Exists(name)
        exclusive = bool(how.mode & OEXCL)
        writer = Writer(self, account, name, exclusive=exclusive, only_if_written=False, fence=how.fence)
        return self._object(name, ObjectInfo(0, "", time.time())), writer

    async def _make_dir(self, account: Account, name: str, fence: Fence) -> S3Dir:
        made = self._dir(name)
        state.check_new_key(name, made.prefix, extra_bytes=len(f"/{MARKER}"))
        async with self.fs.locks.hold(exclusive=[(self.bucket, made.prefix)]):
            if await self._find(account, name) is not None:
                raise serr.Exists(name)
            self.fs.check(fence)
            await account.put(self.bucket, made.key_of(MARKER), [b""], exclusive=False)
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
        account, key = self.fs.account(caller), self.key_of(name)

        def finish() -> Awaitable[str]:
            return account.put(self.bucket, key, [data], exclusive=exclusive)

        await self.commit(account, name, finish, fence=how.fence, exclusive=exclusive)
        return len(data)

    async def commit(
        self, account: Account, name: str, finish: Callable[[], Awaitable[str]], *, fence: Fence, exclusive: bool
    ) -> None:
        """Lets an object appear: ``finish`` does it and returns the ETag. IsDir if there is a directory."""
        key = self.key_of(name)
        async with self.fs.locks.hold(exclusive=[(self.bucket, key)]):
            old, below = await asyncio.gather(account.head(self.bucket, key), self._has_keys(account, key))
            if old is not None and exclusive:
                raise serr.Exists(name)
            if old is None and below:
                raise serr.Exists(name, "a directory") if exclusive else serr.IsDir(name)
            self.fs.check(fence)
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
        account, marks = self.fs.account(caller), state.markers(self.prefix)
        async with self.fs.locks.hold(exclusive=[(self.bucket, self.prefix)]):
            page = await account.keys(self.bucket, state.within(self.prefix), count=len(marks) + 1)
            keys = [key for key, _ in page.keys]
            if not keys:
                raise serr.NotFound(self._name)
            if not marks.issuperset(keys):
                raise serr.NotEmpty(self._name)
            self.fs.check(fence)
            for key in keys:
                await account.delete(self.bucket, key)
            self._parent().has_gone(self._name)
            self.fs.watches.end(self.qid().path)

    async def remove_all(self, caller: Caller, fence: Fence = NO_FENCE) -> None:
        """A thousand keys per request; the mark goes last, so that an error leaves a directory."""
        account = self.fs.account(caller)
        async with self.fs.locks.hold(exclusive=[(self.bucket, self.prefix)]):
            if not await self._has_keys(account, self.prefix):
                raise serr.NotFound(self._name)
            self.fs.check(fence)
            try:
                await removal.remove_below(account, self.bucket, self.prefix, functools.partial(self._tell, set()))
            finally:
                self.fs.versions.move_below(self.bucket, self.prefix, time.time_ns())
            self._parent().has_gone(self._name)
            self.fs.watches.end(self.qid().path)

    def _tell(self, told: set[tuple[str, str]], keys: Sequence[str]) -> None:
        """These keys went: tells the watches, and ends those of directories below. ``told``: what was told before, as
        the keys of one directory may come in several parts."""
        watches, watched = self.fs.watches, set(self.fs.watches.watched())
        if not watched:
            return
        for prefix, name in dict.fromkeys(entry for key in keys for entry in state.entries_along(key, self.prefix)):
            qid_path = S3Dir(self.fs, "", self.bucket, prefix).qid().path
            if qid_path in watched and (prefix, name) not in told:
                told.add((prefix, name))
                watches.removed(qid_path, name)
        for prefix in {above for key in keys for above in state.dirs_above(key, self.prefix)}:
            watches.end(S3Dir(self.fs, "", self.bucket, prefix).qid().path)

    def _parent(self) -> S3Dir:
        prefix = self.prefix.rpartition("/")[0]
        return S3Dir(self.fs, prefix.rpartition("/")[2], self.bucket, prefix)

    async def rename(self, caller: Caller, new_dir: Dir, new_name: str, fence: Fence = NO_FENCE) -> None:
        raise serr.NotSupported(self._name, "S3 cannot rename")


class S3Bucket(S3Dir):
    """A bucket: a directory that stays."""

    removes_all = False

    def __init__(self, fs: S3Fs, bucket: str) -> None:
        super().__init__(fs, bucket, bucket, "")

    async def remove(self, caller: Caller, fence: Fence = NO_FENCE) -> None:
        raise serr.NoRemove(self.name, "buckets are removed outside of SigmaOS")

    async def remove_all(self, caller: Caller, fence: Fence = NO_FENCE) -> None:
        raise serr.NoRemove(self.name, "buckets are removed outside of SigmaOS")


def _before_unions(names: Sequence[str]) -> list[str]:
    return list(itertools.takewhile(lambda name: not path.is_union(name), names))
