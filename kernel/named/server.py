"""named as a kernel service: follows etcd as a candidate, takes over when it is elected, serves."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from typing import TYPE_CHECKING

from kernel.named.committer import Committer, LeaderKey
from kernel.named.election import Candidate, Election, candidates_of, leader_of
from kernel.named.etcd import Compacted, Etcd, UnknownOutcome, is_created_at, put
from kernel.named.follower import Follower
from kernel.named.fs import NamedFs
from kernel.named.keys import Keys
from kernel.named.leases import Bridge, LeaseSrv
from kernel.named.nodes import NamedRoot, node_of
from kernel.named.state import ROOT_INO, Contents, Meta, Plan
from kernel.service import all_services
from kernel.shell import KernelArgs, KernelService
from sigmaos_ray import config as configuration
from sigmaos_ray import crash, debug, serr
from sigmaos_ray.auth.gate import gate_of
from sigmaos_ray.procclnt.lives import AskSchedds
from sigmaos_ray.protsrv.node import OpenHow
from sigmaos_ray.protsrv.server import FileServer
from sigmaos_ray.protsrv.session import Signpost
from sigmaos_ray.protsrv.watch import WatchTable
from sigmaos_ray.realmclnt import is_name
from sigmaos_ray.rpcsrv import Caller
from sigmaos_ray.sigmap import (
    DMDIR,
    DMMOUNT,
    DMSYMLINK,
    NAMED_ROOT_DIRS,
    OTRUNC,
    OWRITE,
    ROOT_REALM,
    Endpoint,
    named_election,
)
from sigmaos_ray.tls.identity import identity_at

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from sigmaos_ray.config import Config
    from sigmaos_ray.realmclnt import RealmTerms

_log = debug.selector("NAMED")


class NamedServer(KernelService):
    """One candidate for a realm's named. ``on_lost`` is told once when it loses the leadership."""

    def __init__(
        self, args: KernelArgs, on_lost: Callable[[], None] = lambda: None, config: Config | None = None
    ) -> None:
        self._args = args
        self._config = config or configuration.current()
        self._on_lost = on_lost
        self._etcd = Etcd(args.etcd_endpoints, self._config.named.etcd_timeout_s, near=args.host, tls=args.etcd_tls)
        self._keys = Keys(args.realm)
        self._election = Election(self._etcd, self._keys, self._config.lease.election_ttl_s, self._lost)
        self._follower = Follower(self._etcd, self._keys, self._config.named)
        self._bridge = Bridge(self._etcd, self._keys, self._config.lease.election_ttl_s, self._follower.leases)
        watches = WatchTable()
        self._schedds = AskSchedds(args.proc_env("named"))
        self.gate = gate_of(args.credentials.trust, args.state_dir, self._schedds)
        self.fs = NamedFs(watches, self._config.named, self._keys, self._config.store.dir_entries_max)
        self.root = NamedRoot(self.fs)
        self._files = FileServer(
            self.root,
            watches,
            realm=args.realm,
            services=[LeaseSrv(self._etcd, self._expire)],
            host=args.host,
            config=self._config,
            guard=self._election.guard_service,
            devices=self.fs.devices(),
            port=args.port,
            tls=identity_at(args.tls),
            gate=self.gate,
            signpost=Signpost(lambda: self._standbys, self._named_of if args.realm == ROOT_REALM else None),
        )
        self._committer: Committer | None = None
        self._expiry: asyncio.Task[None] | None = None
        self._members: asyncio.Task[None] | None = None
        self._standbys: tuple[str, ...] = ()
        """Where those answer of whom one leads next."""
        self._follows_standbys: asyncio.Task[None] | None = None
        self._partition: crash.Armed | None = None
        self._is_lost = False
        self.etcd_version = ""

    def agree(self, terms: RealmTerms) -> None:
        super().agree(terms)
        self.fs.files_max, self.fs.bytes_max = terms.files_max, terms.bytes_max

    @property
    def endpoint(self) -> Endpoint:
        """Where it answers, once started."""
        return self._files.endpoint

    async def stand(self) -> Endpoint:
        """Becomes a candidate that is hot; ``lead`` goes on from there. Unreachable without etcd."""
        try:
            # First: without etcd nothing is begun.
            self.etcd_version = await self._etcd.version()
            # Already now, as candidates tell their address: who comes too early is refused by the guard.
            endpoint = await self._serve()
            self._follower.start()
            await self._election.stand(Candidate.here(self._args.kernel_id, endpoint))
        except BaseException:  # cancelled as well: what has begun is to end
            await self.stop()
            raise
        self._bridge.start()
        if self._args.etcd_moves:
            self._members = asyncio.create_task(self._follow_members(), name="named-etcd-members")
        self._arm_partition()
        return endpoint

    async def _serve(self) -> Endpoint:
        try:
            return await self._files.start()
        except serr.Unreachable as error:
            if self._args.port:
                raise serr.Unreachable(error.obj, f"{error.msg}; SIGMAOS_NAMED_PORT says which port") from error
            raise

    async def _named_of(self, realm: str) -> Sequence[str]:
        """Where the named of a tenant answers, or is about to; nowhere if there is none."""
        if not is_name(realm):
            return ()
        leader = await leader_of(self._etcd, realm)
        return leader.addrs if leader is not None else ()

    async def _follow_members(self) -> None:
        """Keeps to the members that etcd has now: those that it was started with may all be gone one day."""
        while True:
            try:
                members = (await self._etcd.members())[1]
                self._etcd.use([url for member in members if not member.learns for url in member.client_urls])
            except serr.SigmaError as error:
                _log(f"members of etcd: {error}")
            await asyncio.sleep(self._config.named.etcd_members_poll_s)

    async def _follow_standbys(self) -> None:
        async with contextlib.aclosing(candidates_of(self._etcd, self._args.realm)) as changes:
            async for candidates in changes:
                addrs = dict.fromkeys(address for candidate in candidates for address in candidate.endpoint.addrs)
                self._standbys = tuple(address for address in addrs if address not in self.endpoint.addrs)

    def _arm_partition(self) -> None:
        loop = asyncio.get_running_loop()
        self._partition = crash.arm(
            "NAMED_PARTITION", lambda: asyncio.run_coroutine_threadsafe(self._etcd.cut(), loop).result()
        )

    async def lead(self) -> None:
        """Blocks until this process leads and serves. Closed if its lease ends before: it is to be stopped then."""
        leader = await self._election.win()
        # First of all: while nobody led, nobody extended the leases of clients' files.
        await self._bridge.land()
        began_s = time.monotonic()
        await self._take_over(leader)
        await self._make_root_dirs(self.endpoint)
        self._follows_standbys = asyncio.create_task(self._follow_standbys(), name="named-standbys")
        await self._election.announce(leader)  # last: from here on requests are answered
        took_s = time.monotonic() - began_s
        count = len(self.fs.tree.inodes)
        _log(f"leads {self._args.realm} with {count} objects after {took_s:.3f} s, etcd {self.etcd_version}")

    async def start(self) -> Endpoint:
        """Blocks until this process leads and serves."""
        endpoint = await self.stand()
        try:
            await self.lead()
        except BaseException:  # cancelled as well: a candidate must not stay
            await self.stop()
            raise
        return endpoint

    async def _take_over(self, leader: LeaderKey) -> None:
        """Makes the replica the tree. No earlier leader writes any more: its election key is gone. So all it wrote
        stands before a mark that is put now, and the replica knows all once it has seen the mark."""
        election, config = self._election, self._config.named
        revision = await self._mark(leader)
        tree, contents, revision, strays = await self._follower.hand_over(revision, election.guard)
        # After the mark: it reads what the last transaction was, and nobody else makes one any more.
        committer = Committer(self._etcd, self._keys, leader, config, election.guard, election.lose, self._config.store)
        await self._asked(committer.start)
        self._committer = committer
        self.fs.lead(tree, contents, committer)
        if strays:
            _log(f"{len(strays)} objects without a name: removed")
            await asyncio.gather(
                *(committer.commit(Plan(delete_contents=[(stray.ino, stray.lease)])) for stray in strays)
            )
        # From the tree's own revision on: a lease that ended during the takeover is told here.
        self._expiry = asyncio.create_task(self._follow_leases(revision), name="named-expiry")

    async def _asked(self, ask: Callable[[], Awaitable[None]]) -> None:
        """Does what only looks until etcd answers, which may elect a leader of its own meanwhile. Closed if the
        leadership is lost before."""
        while True:
            self._election.guard()
            try:
                await ask()
                return
            except serr.Unreachable as error:
                _log(f"take over: {error}")
                await asyncio.sleep(self._config.named.etcd_pause_s)

    async def _mark(self, leader: LeaderKey) -> int:
        """Puts the marker of transactions anew; returns its revision. Closed if the leadership is lost meanwhile."""
        compare = [is_created_at(leader.key, leader.create_revision)]
        while True:
            self._election.guard()
            try:
                leads, revision = await self._etcd.transaction(compare, [put(self._keys.txn, secrets.token_bytes(8))])
            except UnknownOutcome as error:  # putting it twice does no harm
                _log(f"mark: {error}")
                await asyncio.sleep(self._config.named.etcd_pause_s)
                continue
            if not leads:
                self._election.lose("the election key is gone")
                self._election.guard()
            return revision

    async def _follow_leases(self, revision: int) -> None:
        """Takes out the leased files that etcd deletes, for as long as this process leads."""
        try:
            while True:
                try:
                    async for key, deleted_at in self._etcd.watch_deletes(self._keys.leased, revision):
                        await self._expire(key, deleted_at)
                except Compacted:
                    _log("etcd compacted the history of leases: lists them")
                    revision = await self._expire_missing(revision)
        except Exception as error:  # noqa: BLE001  # who does not hear of expired leases must not lead
            self._election.lose(f"leases: {type(error).__name__}: {error}")

    async def _expire(self, key: bytes, revision: int) -> None:
        entry = self._keys.parse_entry_key(key)
        if entry is not None:
            await self.fs.expire(entry[0], entry[1], revision)

    async def _expire_missing(self, seen: int) -> int:
        """Takes out the leased files that etcd no longer has; returns the revision up to which that holds. ``seen``
        if etcd did not answer: the caller tries again."""
        try:
            revision = await self._etcd.revision()
            there = {kv.key async for kv in self._etcd.scan(self._keys.leased, revision)}
        except (serr.Unreachable, Compacted):  # compacted meanwhile: of a long list, what comes late
            return seen
        for inode in self.fs.tree.leased():
            directory, name = inode.parent, inode.name
            # What was made since the list was read is not in it: `expire` knows that by the revision.
            if directory is not None and self._keys.entry(directory.ino, name, inode.lease) not in there:
                await self.fs.expire(directory.ino, name, revision)
        return revision

    async def _make_root_dirs(self, endpoint: Endpoint) -> None:
        caller = Caller(realm=self._args.realm)
        tree, root = self.fs.tree, self.root
        # A root without a time was never stored: this is the realm's first leader.
        if not tree.root.mtime:
            meta = Meta(tree.root.perm, time.time())
            plan = Plan(put_contents=[Contents(ROOT_INO, meta, b"")])

            def apply(revision: int) -> None:
                tree.root.version, tree.root.mtime = revision, meta.mtime

            await self.fs.committer.commit(plan, apply=apply)
        election = named_election(self._args.realm)
        servers = (service.name for service in all_services() if service.is_per_node)
        for name in sorted({*NAMED_ROOT_DIRS, *servers, election} - set(tree.root.children)):
            await root.create(caller, name, OpenHow(perm=DMDIR | 0o777))
        directory = node_of(self.fs, tree.root.children[election])
        # Under the lease of the candidacy: the name goes when the leadership does, also with a process that is killed.
        how = OpenHow(OWRITE | OTRUNC, DMSYMLINK | DMMOUNT | 0o444, self._election.lease)
        await directory.put(caller, self._args.kernel_id, endpoint.to_bytes(), how)  # type: ignore[attr-defined]

    def _lost(self, why: str) -> None:
        if not self._is_lost:
            self._is_lost = True
            debug.error(f"named of {self._args.realm}: lost the leadership: {why}")
            self._on_lost()

    async def stop(self) -> None:
        """Stops answering, resigns, frees everything. May be repeated."""
        self._is_lost = True  # an end that was asked for is no loss
        if self._partition is not None:
            # In a thread: the fault that it waits for may need this loop.
            await asyncio.to_thread(self._partition.close)
        await self._bridge.stop()
        await self._follower.stop()
        for task in filter(None, (self._expiry, self._members, self._follows_standbys)):
            task.cancel()
            await asyncio.wait({task})
        self._expiry = self._members = self._follows_standbys = None
        # Requests first, then what they wait for: no write is cut off that may be answered. The lease goes last of what
        # leads, so that the next leader finds nothing under way.
        await self._files.stop()
        await self._schedds.close()
        if self.gate is not None:
            self.gate.close()
        if self._committer is not None:
            await self._committer.close()
            self._committer = None
        await self._election.resign()
        await self._etcd.close()
