"""A server of shards: ``kvd PROCS JOB GROUP MEMBERS``, one of a group of which one leads and serves.

The others stand by; whoever follows finds in the group's copies, MEMBERS at most, all that was acknowledged. PROCS is
the name of its group of procs.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from sigmaos_ray import SigmaClnt, Status, debug
from sigmaos_ray.electsrv import serve_elected
from sigmaos_ray.ft.leading import Leadership
from sigmaos_ray.ft.procgroups import members_of
from user.kv.copies import Copies
from user.kv.journal import KvJournal
from user.kv.paths import KvPaths, group_number
from user.kv.service import KvMove, KvSrv
from user.kv.shards import Shards
from user.kv.state import ShardTable

if TYPE_CHECKING:
    from sigmaos_ray import AsyncSigmaClnt

USAGE: Final = "usage: kvd PROCS JOB GROUP MEMBERS"
_log = debug.selector("KVGRP")


def main(argv: list[str]) -> Status:
    """Serves while it leads; evicted, it writes what is to be written, and resigns."""
    if len(argv) != 4:
        sys.exit(USAGE)
    _, job, group, members_count = argv
    group_number(group)
    paths = KvPaths(job)
    with SigmaClnt() as sc:
        kvd = _Kvd(sc.asynchronous, paths, group, int(members_count))
        return serve_elected(sc, paths.group(group), kvd, crashes="KVD_CRASH", partitions="KVD_PARTITION")


class _Kvd:
    """The parts of one server, on the client's loop. ``start`` it, and ``stop`` it if it did."""

    def __init__(self, sc: AsyncSigmaClnt, paths: KvPaths, group: str, members_count: int) -> None:
        self._sc = sc
        self._elect = paths.elect(group)
        self._group = group
        self._procs = paths.procs(group)
        self._leadership = Leadership(sc, self._elect)
        self._table = ShardTable()
        self._copies = Copies(sc, paths, group, self._leadership.leader, members_count)
        self._journal = KvJournal(
            self._copies,
            self._table,
            lambda error: self._leadership.die(str(error)),
            self._copies.caught_up,
        )
        self._shards: Shards | None = None
        self.services: tuple[object, ...] = ()
        """What it offers, once it leads."""

    async def start(self) -> bool:
        """Returns once this server leads, and knows what is written; False if it is evicted before, or belongs to no
        group."""
        if not await self._leadership.lead():
            return False
        # One of which nobody knows would serve for ever, as nobody would end it.
        if self._sc.pid not in await members_of(self._sc, self._procs):
            await self._leadership.resign()
            return False
        # The leader's file hangs on this lease, as a client has one at named: while it surely lives, nobody else leads.
        lease = await self._sc.leases.ask_lease(self._elect)
        # First no older leader can write any more; then what they wrote is read.
        await self._copies.open()
        await self._journal.load()
        # Not before: a copy that joins has the journal begin a new log, so there must be a first one.
        self._copies.keep(self._journal.turn)
        self._shards = Shards(self._table, self._journal, lambda: lease.is_in_doubt)
        self._shards.start_aging()
        self.services = (KvSrv(self._shards), KvMove(self._shards, self._copies, self._sc.pid))
        _log(f"{self._group}: serves, epoch {self._leadership.fence.epoch}")
        return True

    async def stop(self) -> None:
        """Writes what is to be written, and resigns. In this order: nothing new comes, then nothing waits, then the
        files are closed, and only then another one may lead."""
        assert self._shards is not None
        await self._shards.stop()
        await self._copies.stop_growing()
        await self._journal.close()
        await self._copies.close()
        await self._leadership.resign()
