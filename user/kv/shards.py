"""The shards of a server at work: table and journal together, as clerks and movers ask.

No reply shows anything that is not written: a read of a key waits for the writes of that key that are on their way to
the journal. And none is given once the leadership is in doubt: another server may have gone on from what is written.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sigmaos_ray import serr
from user.kv import kv_pb2 as pb
from user.kv.tuning import SERVER

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from user.kv.changes import AnyChange
    from user.kv.journal import KvJournal
    from user.kv.state import ShardTable


class Shards:
    """The shards of one server that leads its group. ``start_aging``, and ``stop`` it.

    ``in_doubt`` says whether the leadership's lease may have ended: at once, without asking anybody.
    """

    def __init__(self, table: ShardTable, journal: KvJournal, in_doubt: Callable[[], bool]) -> None:
        self.table = table
        self._journal = journal
        self._in_doubt = in_doubt
        self._dirty: dict[str, int] = {}
        """Keys with writes that are not in the journal yet; the position of the last one."""
        self.gets_count = 0
        self.writes_count = 0
        self._aging: asyncio.Task[None] | None = None

    def check_leading(self) -> None:
        """Unreachable while this server may have been replaced: what is asked of it is neither done nor answered."""
        if self._in_doubt():
            raise serr.Unreachable("kvd", "cannot say whether it still leads its group")

    def is_settled(self, keys: Sequence[str]) -> bool:
        """Whether all writes of these keys are in the journal."""
        return not self._dirty or self._dirty.keys().isdisjoint(keys)

    async def settled(self, keys: Sequence[str]) -> None:
        """Blocks until all writes of these keys, as of now, are in the journal."""
        dirty = self._dirty
        position = max((dirty.get(key, 0) for key in keys), default=0)
        if position > self._journal.written:
            await self._journal.wait(position)

    def wrote(self, keys: list[str], changes: list[AnyChange]) -> int:
        """Takes note of writes that took place; returns the journal's position to wait for."""
        position = self._journal.add(*changes)
        for key in keys:
            self._dirty[key] = position
        return position

    def clean(self, keys: list[str]) -> None:
        """Forgets those of the keys of which everything is in the journal."""
        for key in keys:
            # A later write of the key may still be on its way.
            if self._dirty.get(key, 0) <= self._journal.written:
                self._dirty.pop(key, None)

    async def commit_at(self, position: int) -> None:
        """Returns once all changes up to a position are in the journal."""
        await self._journal.wait(position)

    async def commit(self, *changes: AnyChange | None) -> None:
        """Returns once these, and all before them, are in the journal."""
        # Without a change of its own, too, it waits: what it found done may not be written yet.
        new = [change for change in changes if change is not None]
        await self._journal.wait(self._journal.add(*new) if new else self._journal.last)

    def start_aging(self) -> None:
        """From now on silent clients are forgotten after a while."""
        self._aging = asyncio.create_task(self._age(), name="kv-aging")

    async def _age(self) -> None:
        while True:
            await asyncio.sleep(SERVER.client_age_s)
            self.table.age_clients()

    async def stop(self) -> None:
        """Ends what ``start_aging`` began. May be repeated."""
        if self._aging is not None:
            self._aging.cancel()
            await asyncio.wait({self._aging})

    @property
    def log_bytes(self) -> int:
        """In the journal since the last snapshot."""
        return self._journal.log_bytes

    # -- what clerks ask

    def get(self, request: pb.GetRequest) -> pb.GetReply | Awaitable[pb.GetReply]:
        """The values of some keys: at once, unless the reply has to wait for the journal. Once the reply is full, the
        outcome of the keys that are left is LATER."""
        keys = request.keys
        self.gets_count += len(keys)
        outcomes = bytearray()
        values: list[bytes] = []
        size = 0
        for key in keys:
            if size > SERVER.reply_bytes:
                outcomes.append(pb.LATER)
                values.append(b"")
                continue
            outcome, value = self.table.get(key)
            outcomes.append(outcome)
            values.append(value)
            size += len(value)
        reply = pb.GetReply(outcomes=bytes(outcomes), values=values)
        if self.is_settled(keys):
            self.check_leading()
            return reply
        return self._get_settled(keys, reply)

    async def _get_settled(self, keys: Sequence[str], reply: pb.GetReply) -> pb.GetReply:
        await self.settled(keys)
        # Only now: a leadership that was sure when the values were read may have ended since.
        self.check_leading()
        return reply

    async def write(self, request: pb.WriteRequest) -> pb.WriteReply:
        """Carries out writes in order, and returns how each fared once all are in the journal. Unreachable, with
        nothing done, if it is in doubt who leads; IOErr, perhaps done, if the journal cannot be written."""
        # Before the table is changed: what is in it, readers may see once it is in the journal.
        self.check_leading()
        self.writes_count += len(request.writes)
        outcomes = bytearray()
        keys: list[str] = []
        changes: list[AnyChange] = []
        for write in request.writes:
            outcome, change = self.table.write(request.client, request.floor, write)
            outcomes.append(outcome)
            keys.append(write.key)
            if change is not None:
                changes.append(change)
        if changes:
            await self.commit_at(self.wrote(keys, changes))
            self.clean(keys)
        else:  # repetitions: what they repeat may be on its way to the journal
            await self.settled(keys)
        return pb.WriteReply(outcomes=bytes(outcomes))

    async def scan(self, request: pb.ScanRequest) -> pb.ScanReply:
        """A page of one shard, by key, as it was at one moment. Inval for a number that no shard has."""
        outcome, page, more = self.table.scan(request.shard, request.after, SERVER.reply_bytes)
        # For everything that is on its way, not for this shard's keys alone: scans are rare.
        await self.commit()
        self.check_leading()
        keys = [key for key, _ in page]
        values = [] if request.keys_only else [value for _, value in page]
        return pb.ScanReply(outcome=pb.Outcome.Name(outcome), keys=keys, values=values, more=more)
