"""named as a kernel service: campaigns, loads the tree, makes the root's directories, serves (section D)."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from kernel.named.committer import Committer, LeaderKey
from kernel.named.election import Candidate, Election
from kernel.named.etcd import Compacted, Etcd
from kernel.named.keys import Keys
from kernel.named.nodes import NamedFs
from kernel.named.state import ROOT_INO, Contents, Entry, Meta, Plan, Tree
from kernel.shell import KernelArgs, KernelService
from sigmaos_ray import config as configuration
from sigmaos_ray import debug
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
        committer = Committer(self._etcd, self._keys, leader, self._config.named, self._election.guard, self._lost)
        await committer.start()
        self._committer = committer
        tree, revision, orphans = await self._load()
        self.fs.lead(tree, committer)
        if orphans:
            _log(f"{len(orphans)} objects without a name: removed")
            await committer.commit(Plan(delete_contents=[(ino, 0) for ino in orphans]))
        self._expiry = asyncio.create_task(self._watch_expiry(revision), name="named-expiry")

    async def _load(self) -> tuple[Tree, int, list[int]]:
        revision = await self._etcd.revision()
        contents: list[tuple[Contents, int]] = []
        entries: list[Entry] = []
        for prefix in self._keys.tables():
            async for kv, _ in self._etcd.scan(prefix, revision):
                stored = self._keys.decode(kv.key, kv.value)
                if isinstance(stored, Entry):
                    entries.append(stored)
                else:
                    contents.append((stored, kv.mod_revision))
        tree = Tree()
        return tree, revision, tree.load(contents, entries)

    async def _watch_expiry(self, revision: int) -> None:
        """Follows the leased keys that etcd deletes; what it forgot meanwhile ends the leadership: a new one loads."""
        try:
            async for key, deleted_at in self._etcd.watch_deletes(self._keys.leased, revision):
                entry = self._keys.parse_entry_key(key)
                if entry is not None:
                    await self.fs.expire(entry[0], entry[1], deleted_at)
        except Compacted:
            self._lost("etcd compacted the history of leases")

    async def _make_root_dirs(self, endpoint: Endpoint) -> None:
        caller = Caller(realm=self._args.realm)
        tree, root = self.fs.tree, self.fs.root
        if tree.root.version == 0:
            meta = Meta(tree.root.perm, time.time())
            await self.fs.committer.commit(Plan(put_contents=[Contents(ROOT_INO, meta, b"")]))
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
