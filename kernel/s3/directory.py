"""Directories and buckets as nodes."""

from __future__ import annotations

import functools
import itertools
import time
from typing import TYPE_CHECKING

from kernel.s3 import removal, requests, state
from kernel.s3.folder import Folder
from kernel.s3.object import S3Object
from kernel.s3.state import DIR_PERM, MARKER, ObjectInfo
from kernel.s3.writer import ObjectWriter
from sigmaos_ray import serr
from sigmaos_ray.protsrv.node import Dir, Node, OpenFile, OpenHow
from sigmaos_ray.sigmap import DEV_S3, DMDIR, DMTMP, NO_FENCE, NO_LEASE, OEXCL, PERM_MASK, Fence, Perm, Qid, Stat

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from kernel.s3.shared import S3Shared
    from kernel.s3.store import Account
    from sigmaos_ray.rpcsrv import Caller


# Nothing is cached, not even for a moment: other programs change S3 without telling us, and an old answer would be
# wrong in a way that no client could see.
class S3Dir(Dir):
    """A directory. Nothing is remembered of it between two calls but its folder: S3 is asked."""

    removes_all = True

    def __init__(self, folder: Folder) -> None:
        self._shared = folder.shared
        self.folder = folder

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def perm(self) -> Perm:
        return DIR_PERM

    def qid(self) -> Qid:
        return self.folder.qid()

    def status(self) -> Stat:
        """What ``stat`` gives: S3 keeps nothing of a directory."""
        return Stat(name=self.name, qid=self.qid(), mode=DIR_PERM, dev=DEV_S3)

    async def stat(self, caller: Caller) -> Stat:
        return self.status()

    def _dir(self, name: str) -> S3Dir:
        return S3Dir(self.folder.below(name))

    # -- looking

    async def lookup(self, caller: Caller, name: str) -> Node:
        node = await self._find(self._shared.account(caller), name)
        if node is None:
            raise serr.NotFound(name)
        return node

    async def _find(self, account: Account, name: str) -> Node | None:
        """The object of that name, else the directory. One request for the one, two for the other."""
        key = self.folder.key_of(name)
        if not state.is_shown(name) or not state.may_exist(key):
            return None
        # The object first, as files are looked up more often than directories, and win over one of their name (B-1).
        info = await account.head(self.folder.bucket, key)
        if info is not None:
            return S3Object(self.folder, name, info)
        return self._dir(name) if await self.folder.below(name).is_there(account) else None

    async def walk(self, caller: Caller, names: Sequence[str]) -> list[Node]:
        way = await self.nodes_along(self._shared.account(caller), state.before_unions(names))
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
        # What is at the end of the way shows that all directories above it are there.
        end = await above[-2]._find(account, above[-1].name)
        if end is not None:
            if len(dirs) < len(names) and not isinstance(end, Dir):
                raise serr.NotDir(end.name)
            return [*dirs[:-1], end]
        depth = len(dirs) - 1
        while depth and not await dirs[depth - 1].folder.is_there(account):
            depth -= 1
        # The way may have ended at an object instead of a directory: that is another error.
        if depth + 1 < len(dirs) and await self._is_object(account, dirs[depth].folder.prefix):
            raise serr.NotDir(dirs[depth].name)
        return list(dirs[:depth])

    async def dir_to_come(self, caller: Caller, names: Sequence[str]) -> Dir | None:
        """What is made makes its directory, and those above: S3 has them as beginnings of keys only."""
        if not all(state.is_shown(name) for name in names):
            return None
        prefix = self.folder.key_of("/".join(names)) if names else self.folder.prefix
        return S3Dir(Folder(self._shared, self.folder.bucket, prefix, is_to_come=True))

    async def _is_object(self, account: Account, key: str) -> bool:
        return state.may_exist(key) and await account.head(self.folder.bucket, key) is not None

    async def get(self, caller: Caller, names: Sequence[str], offset: int, count: int) -> bytes | None:
        """One request. None also where there is no such object: the walk tells what is missing."""
        key = self.folder.key_of("/".join(names))
        if not names or not count or not all(state.is_shown(name) for name in names) or not state.may_exist(key):
            return None
        reply = await self._shared.account(caller).read(requests.Range(self.folder.bucket, key, offset, count))
        return None if reply is None else reply[0]

    async def entries(self, caller: Caller, after: str, limit: int) -> list[Stat]:
        """One page of S3's, put into the order of names (see ``state.late_dirs``)."""
        account = self._shared.account(caller)
        listing, merged = await self._first_with_entries(account, after)
        if not listing.is_last:
            # Asked for one by one: they are few, since names seldom begin with each other.
            for name in state.late_dirs(state.last_name(listing), after, merged):
                if state.is_shown(name) and await self.folder.below(name).is_there(account):
                    merged[name] = None
        return [self._stat_of_entry(name, merged[name]) for name in sorted(merged)[:limit]]

    async def _first_with_entries(
        self, account: Account, after: str
    ) -> tuple[state.DirPage, dict[str, ObjectInfo | None]]:
        """The first page that shows something behind ``after``, or the last one; and its entries (``state.merge``)."""
        token = ""
        while True:
            listing = await account.list(self.folder.bucket, self.folder.prefix, after, token)
            merged = state.merge(listing, after)
            # A page may hold nothing that is shown: an empty reply would be taken for the end.
            if merged or listing.is_last:
                return listing, merged
            token = listing.next_token

    def _stat_of_entry(self, name: str, info: ObjectInfo | None) -> Stat:
        if info is None:
            return self._dir(name).status()
        return self._shared.object_stat(self.folder.bucket, self.folder.key_of(name), info)

    # -- changes

    async def create(self, caller: Caller, name: str, how: OpenHow) -> tuple[Node, OpenFile | None]:
        """A directory is there at once; a file appears at its close, in place of what may have appeared there
        meanwhile, unless OEXCL."""
        self._check_new(name, how)
        self._shared.fences.check(how.fence)
        account = self._shared.account(caller)
        if how.perm & DMDIR:
            return await self._make_dir(account, name, how.fence), None
        state.check_writable(name, how.mode)
        if await self._find(account, name) is not None:
            raise serr.Exists(name)
        exclusive = bool(how.mode & OEXCL)
        writer = ObjectWriter(self.folder, account, name, exclusive=exclusive, only_if_written=False, fence=how.fence)
        return S3Object(self.folder, name, ObjectInfo(0, "", time.time())), writer

    async def _make_dir(self, account: Account, name: str, fence: Fence) -> S3Dir:
        folder = self.folder.below(name)
        state.check_new_key(name, folder.prefix, extra_bytes=len(f"/{MARKER}"))
        held = [(folder.bucket, folder.prefix), *self.folder.locks_to_come()]
        async with self._shared.locks.hold(exclusive=held):
            if await self._find(account, name) is not None:
                raise serr.Exists(name)
            coming = await self.folder.coming(account)
            self._shared.fences.check(fence)
            # Not exclusive: under the lock nobody else of this server makes it, and another server's mark is the same.
            # Those above have marks too: what is made as a directory does not go with what is below it.
            for made in (*coming, folder):
                await account.put(folder.bucket, made.key_of(MARKER), [b""], exclusive=False)
            self.folder.has_come(name, coming)
        return S3Dir(folder)

    async def put(self, caller: Caller, name: str, data: bytes, how: OpenHow, offset: int = 0) -> int:
        """Always the whole object, with or without OTRUNC."""
        self._check_put(name, how, offset)
        exclusive = bool(how.mode & OEXCL)
        account, key = self._shared.account(caller), self.folder.key_of(name)

        def finish() -> Awaitable[str]:
            return account.put(self.folder.bucket, key, [data], exclusive=exclusive)

        await self.folder.commit(account, name, finish, fence=how.fence, exclusive=exclusive)
        return len(data)

    def _check_put(self, name: str, how: OpenHow, offset: int) -> None:
        self._check_new(name, how)
        if how.perm & DMDIR:
            raise serr.Inval(name, "a put makes a file")
        state.check_writable(name, how.mode)
        if offset:
            raise serr.Inval(name, f"S3 files are written from 0 on, not from {offset}")

    def _check_new(self, name: str, how: OpenHow) -> None:
        state.check_new_key(name, self.folder.key_of(name))
        if how.lease != NO_LEASE or how.perm & DMTMP:
            raise serr.NotSupported(name, "S3 keeps no leased files: put them into named")
        if how.perm & ~(DMDIR | PERM_MASK):
            raise serr.NotSupported(name, f"S3 keeps files and directories only: perm {how.perm:#x}")

    # -- removing

    async def remove(self, caller: Caller, fence: Fence = NO_FENCE) -> None:
        account, marks = self._shared.account(caller), state.markers(self.folder.prefix)
        bucket, prefix = self.folder.bucket, self.folder.prefix
        async with self._shared.locks.hold(exclusive=[(bucket, prefix)]):
            page = await account.keys(bucket, state.within(prefix), count=len(marks) + 1)
            keys = [key for key, _ in page.keys]
            if not keys:
                raise serr.NotFound(self.name)
            if not marks.issuperset(keys):
                raise serr.NotEmpty(self.name)
            self._shared.fences.check(fence)
            for key in keys:
                await account.delete(bucket, key)
            self._has_gone()

    async def remove_all(self, caller: Caller, fence: Fence = NO_FENCE) -> None:
        """A thousand keys per request; the mark goes last, so that an error leaves a directory."""
        account, bucket, prefix = self._shared.account(caller), self.folder.bucket, self.folder.prefix
        async with self._shared.locks.hold(exclusive=[(bucket, prefix)]):
            if not await self.folder.is_there(account):
                raise serr.NotFound(self.name)
            self._shared.fences.check(fence)
            # Where it fails half-way, too, some of what is below has gone.
            try:
                await removal.remove_below(account, bucket, prefix, functools.partial(self._publish_removed, set()))
            finally:
                self._shared.versions.move_below(bucket, prefix, time.time_ns())
            self._has_gone()

    def _has_gone(self) -> None:
        self.folder.above().has_gone(self.name)
        self._shared.watches.end(self.qid().path)

    # Mostly nobody watches: a thousand keys are not taken apart for that.
    def _publish_removed(self, published: set[tuple[str, str]], keys: Sequence[str]) -> None:
        """These keys went: tells the watches, and ends those of directories below. ``published``: by earlier calls, as
        the keys of one directory may come in several parts."""
        watches, watched = self._shared.watches, set(self._shared.watches.watched())
        if not watched:
            return
        top = self.folder.prefix
        for prefix, name in dict.fromkeys(entry for key in keys for entry in state.entries_along(key, top)):
            qid_path = self._elsewhere(prefix).qid().path
            if qid_path in watched and (prefix, name) not in published:
                published.add((prefix, name))
                watches.removed(qid_path, name)
        for prefix in {above for key in keys for above in state.dirs_above(key, top)}:
            watches.end(self._elsewhere(prefix).qid().path)

    def _elsewhere(self, prefix: str) -> Folder:
        return Folder(self._shared, self.folder.bucket, prefix)


class S3Bucket(S3Dir):
    """A bucket: a directory that stays."""

    def __init__(self, shared: S3Shared, bucket: str) -> None:
        super().__init__(Folder(shared, bucket, ""))

    async def remove(self, caller: Caller, fence: Fence = NO_FENCE) -> None:
        raise serr.NoRemove(self.name, "buckets are removed outside of SigmaOS")

    async def remove_all(self, caller: Caller, fence: Fence = NO_FENCE) -> None:
        raise serr.NoRemove(self.name, "buckets are removed outside of SigmaOS")
