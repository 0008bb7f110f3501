"""named as a kernel service: campaigns, loads the tree, makes the root's directories, serves (section D)."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from kernel.named.committer import Committer, LeaderKey
from kernel.named.contents import ContentsCache
from kernel.named.election import Candidate, Election
from kernel.named.etcd import Compacted, Etcd
from kernel.named.keys import Keys
from kernel.named.nodes import NamedFs
from kernel.named.state import ROOT_INO, Contents, Entry, Inode, Meta, Plan, Tree
from kernel.shell import KernelArgs, KernelService
from sigmaos_ray import config as configuration
from sigmaos_ray import debug, serr
from sigmaos_ray.pb.rpc_pb2 import AskLeaseReply, AskLeaseRequest, LeaseReply, LeaseRequest
from sigmaos_ray.protsrv.node import Caller
from sigmaos_ray.protsrv.server import FileServer
from sigmaos_ray.protsrv.watch import WatchTable
from sigmaos_ray.sigmap import (
    DMDIR,
    DMMOUNT,
    DMSYMLINK,
    NAMED_ROOT_DIRS,
    OREAD,
    OTRUNC,
    OWRITE,
    Endpoint,
    named_election,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from sigmaos_ray.config import Config
    from sigmaos_ray.protsrv.rpcdev import RpcContext

_log = debug.selector("NAMED")


class LeaseSrv:
    """Leases of files in named: etcd's own, so they outlive a change of leader (L-1, L-5)."""

    def __init__(self, etcd: Etcd) -> None:
        self._etcd = etcd

    async def AskLease(self, ctx: RpcContext, request: AskLeaseRequest) -> AskLeaseReply:
        """A new lease. etcd grants whole seconds, and at least about 2."""
        lease_id, ttl_s = await self._etcd.grant(max(1, round(request.ttl_s)))
        return AskLeaseReply(lease_id=lease_id, ttl_s=ttl_s)

    async def Extend(self, ctx: RpcContext, request: LeaseRequest) -> LeaseReply:
        """NotFound if the lease is gone."""
        await self._etcd.extend(request.lease_id)
        return LeaseReply()

    async def End(self, ctx: RpcContext, request: LeaseRequest) -> LeaseReply:
        """Its files go now. NotFound if it is gone already."""
        await self._etcd.revoke(request.lease_id)
        return LeaseReply()


class NamedServer(KernelService):
    """One candidate for a realm's named. ``on_lost`` is told once when it loses the leadership."""

    def __init__(
        self, args: KernelArgs, on_lost: Callable[[], None] = lambda: None, config: Config | None = None
    ) -> None:
        self._args = args
        self._config = config or configuration.current()
        self._on_lost = on_lost
        self._etcd = Etcd(args.etcd_endpoints, self._config.named.etcd_timeout_s)
        self._keys = Keys(args.realm)
        self._election = Election(self._etcd, self._keys, self._config.lease.election_ttl_s, self._lost)
        watches = WatchTable()
        self.fs = NamedFs(watches, self._config.named)
        self._files = FileServer(
            self.fs.root,
            watches,
            realm=args.realm,
            services=[LeaseSrv(self._etcd)],
            host=args.host,
            config=self._config,
            guard=self._election.guard,
        )
        self._committer: Committer | None = None
        self._expiry: asyncio.Task[None] | None = None
        self._is_lost = False
        self.etcd_version = ""

    @property
    def endpoint(self) -> Endpoint:
        """Where it answers, once started."""
        return self._files.endpoint

    async def start(self) -> Endpoint:
        """Blocks until this process leads and serves."""
        try:
            self.etcd_version = await self._etcd.version()
            endpoint = await self._files.start()
            leader = await self._election.campaign(Candidate.here(self._args.kernel_id, endpoint))
            await self._lead(leader)
            await self._make_root_dirs(endpoint)
        except BaseException:
            await self.stop()
            raise
        _log(f"leads {self._args.realm} with {len(self.fs.tree.inodes)} objects, etcd {self.etcd_version}")
        return endpoint

    async def _lead(self, leader: LeaderKey) -> None:
        """Loads what is stored, and from then on answers."""
        election, config = self._election, self._config.named
        committer = Committer(self._etcd, self._keys, leader, config, election.guard, election.lose)
        await committer.start()
        self._committer = committer
        contents = ContentsCache(self._etcd, self._keys, config.data_cache_bytes_max)
        tree, revision, strays = await self._load(contents)
        self.fs.lead(tree, contents, committer)
        if strays:
            _log(f"{len(strays)} objects without a name: removed")
            await asyncio.gather(
                *(committer.commit(Plan(delete_contents=[(stray.ino, stray.lease)])) for stray in strays)
            )
        self._expiry = asyncio.create_task(self._follow_leases(revision), name="named-expiry")

    async def _load(self, cache: ContentsCache) -> tuple[Tree, int, list[Inode]]:
        """The tree as it stands in etcd at one revision, with as many contents as the cache takes."""
        revision = await self._etcd.revision()
        tree = Tree()
        entries: list[Entry] = []
        for prefix in self._keys.tables():
            async for kv in self._etcd.scan(prefix, revision):
                stored = self._keys.decode(kv.key, kv.value)
                if isinstance(stored, Entry):
                    entries.append(stored)
                else:
                    cache.keep(tree.load(stored, kv.mod_revision))
        strays = tree.link(entries, revision)
        for stray in strays:
            cache.forget(stray)
        return tree, revision, strays

    async def _follow_leases(self, revision: int) -> None:
        """Takes out the leased files that etcd deletes, for as long as this process leads."""
        try:
            while True:
                try:
                    async for key, deleted_at in self._etcd.watch_deletes(self._keys.leased, revision):
                        entry = self._keys.parse_entry_key(key)
                        if entry is not None:
                            await self.fs.expire(entry[0], entry[1], deleted_at)
                except Compacted:
                    _log("etcd compacted the history of leases: lists them")
                    revision = await self._expire_missing(revision)
        except Exception as error:  # noqa: BLE001  # who does not hear of expired leases must not lead
            self._election.lose(f"leases: {type(error).__name__}: {error}")

    async def _expire_missing(self, seen: int) -> int:
        """Takes out the leased files that etcd no longer has; returns the revision up to which that holds. ``seen``
        if etcd did not answer: the caller tries again."""
        try:
            revision = await self._etcd.revision()
            there = {kv.key async for kv in self._etcd.scan(self._keys.leased, revision)}
        except serr.Unreachable:
            return seen
        for inode in self.fs.tree.leased():
            directory, name = inode.parent, inode.name
            if directory is not None and self._keys.entry(directory.ino, name, inode.lease) not in there:
                await self.fs.expire(directory.ino, name, revision)
        return revision

    async def _make_root_dirs(self, endpoint: Endpoint) -> None:
        caller = Caller(realm=self._args.realm)
        tree, root = self.fs.tree, self.fs.root
        if not tree.root.mtime:
            meta = Meta(tree.root.perm, time.time())
            plan = Plan(put_contents=[Contents(ROOT_INO, meta, b"")])

            def apply(revision: int) -> None:
                tree.root.version, tree.root.mtime = revision, meta.mtime

            await self.fs.committer.commit(plan, apply=apply)
        election = named_election(self._args.realm)
        for name in sorted({*NAMED_ROOT_DIRS, election} - set(tree.root.children)):
            await root.create(caller, name, DMDIR | 0o777, OREAD)
        directory = self.fs.node(tree.root.children[election])
        await directory.put(  # type: ignore[attr-defined]
            caller,
            self._args.kernel_id,
            endpoint.to_bytes(),
            perm=DMSYMLINK | DMMOUNT | 0o444,
            mode=OWRITE | OTRUNC,
            lease=self._election.lease,
        )

    def _lost(self, why: str) -> None:
        if not self._is_lost:
            self._is_lost = True
            debug.error(f"named of {self._args.realm}: lost the leadership: {why}")
            self._on_lost()

    async def stop(self) -> None:
        """Stops answering, resigns, frees everything. May be repeated."""
        self._is_lost = True
        if self._expiry is not None:
            self._expiry.cancel()
            await asyncio.wait({self._expiry})
            self._expiry = None
        await self._files.stop()
        if self._committer is not None:
            await self._committer.close()
            self._committer = None
        await self._election.resign()
        await self._etcd.close()
