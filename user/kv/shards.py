"""The shards of a server at work: table and journal together, as clerks and movers ask.

A reply tells of nothing that is not written: a read of a key waits for the writes of that key that are on their way to
the journal. And it tells nothing once the leadership is in doubt: another server may have gone on from what is written.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from sigmaos_ray import serr
from user.kv import kv_pb2 as pb
from user.kv.line import GET, SCAN, WRITE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from user.kv.changes import AnyChange
    from user.kv.journal import KvJournal
    from user.kv.line import Handler
    from user.kv.state import ShardTable

_REPLY_BYTES_MAX: Final = 1 << 20
"""A reply has no more values once it has so many bytes; one value may be as large."""
_CLIENT_AGE_S: Final = 600.0
"""For at least so long a server knows what a silent client's last writes were told."""


class Shards:
    """One server's."""

    def __init__(self, table: ShardTable, journal: KvJournal, in_doubt: Callable[[], bool]) -> None:
        self.table = table
        self._journal = journal
        self._in_doubt = in_doubt
        self._dirty: dict[str, int] = {}
        """Keys with writes that are not written yet; the position of the last one."""
        self.gets_count = 0
        self.writes_count = 0
        self._aging: asyncio.Task[None] | None = None

    def check_leading(self) -> None:
        """Unreachable while this server may have been replaced: what is asked of it is not done, nor answered."""
        if self._in_doubt():
            raise serr.Unreachable("kvd", "cannot say whether it still leads its group")

    def is_settled(self, keys: Sequence[str]) -> bool:
        """Whether what is known of these keys is written."""
        return not self._dirty or self._dirty.keys().isdisjoint(keys)

    async def settled(self, keys: Sequence[str]) -> None:
        """Blocks until what is known of these keys is written."""
        dirty = self._dirty
        position = max((dirty.get(key, 0) for key in keys), default=0)
        if position > self._journal.written:
            await self._journal.wait(position)

    def wrote(self, keys: list[str], changes: list[AnyChange]) -> int:
        """Takes note of writes that took place; returns the position to wait for."""
        position = self._journal.add(*changes)
        for key in keys:
            self._dirty[key] = position
        return position

    def clean(self, keys: list[str]) -> None:
        """Forgets keys of which everything is written."""
        for key in keys:
            if self._dirty.get(key, 0) <= self._journal.written:
                self._dirty.pop(key, None)

    async def commit_at(self, position: int) -> None:
        """Returns once all up to a position are written."""
        await self._journal.wait(position)

    async def commit(self, *changes: AnyChange | None) -> None:
        """Returns once these, and all before them, are written."""
        found = [change for change in changes if change is not None]
        await self._journal.wait(self._journal.add(*found) if found else self._journal.last)

    def start_aging(self) -> None:
        self._aging = asyncio.create_task(self._age(), name="kv-aging")

    async def _age(self) -> None:
        while True:
            await asyncio.sleep(_CLIENT_AGE_S)
            self.table.age_clients()

    async def stop(self) -> None:
        if self._aging is not None:
            self._aging.cancel()
            await asyncio.wait({self._aging})

    @property
    def log_bytes(self) -> int:
        return self._journal.log_bytes

    # -- what clerks ask

    def handlers(self) -> dict[int, Handler]:
        """For lines."""
        return {
            GET: lambda payload: self.get(pb.GetRequest.FromString(payload)),
            WRITE: lambda payload: self.write(pb.WriteRequest.FromString(payload)),
            SCAN: lambda payload: self.scan(pb.ScanRequest.FromString(payload)),
        }

    def get(self, request: pb.GetRequest) -> pb.GetReply | Awaitable[pb.GetReply]:
        """At once, unless it is to wait for the journal."""
        keys = request.keys
        self.gets_count += len(keys)
        told = bytearray()
        values: list[bytes] = []
        size = 0
        for key in keys:
            if size > _REPLY_BYTES_MAX:
                told.append(pb.LATER)
                values.append(b"")
                continue
            how, value = self.table.get(key)
            told.append(how)
            values.append(value)
            size += len(value)
        reply = pb.GetReply(told=bytes(told), values=values)
        if self.is_settled(keys):
            self.check_leading()
            return reply
        return self._get_settled(keys, reply)

    async def _get_settled(self, keys: Sequence[str], reply: pb.GetReply) -> pb.GetReply:
        await self.settled(keys)
        self.check_leading()
        return reply

    async def write(self, request: pb.WriteRequest) -> pb.WriteReply:
        """Raises Unreachable if it is in doubt who leads, IOErr if the journal cannot be written."""
        self.check_leading()
        self.writes_count += len(request.writes)
        told = bytearray()
        keys: list[str] = []
        changes: list[AnyChange] = []
        for write in request.writes:
            how, change = self.table.write(request.client, request.floor, write)
            told.append(how)
            keys.append(write.key)
            if change is not None:
                changes.append(change)
        if changes:
            await self.commit_at(self.wrote(keys, changes))
            self.clean(keys)
        else:  # repetitions: what they repeat may be on its way
            await self.settled(keys)
        return pb.WriteReply(told=bytes(told))

    async def scan(self, request: pb.ScanRequest) -> pb.ScanReply:
        """A page, by key."""
        told, found, more = self.table.scan(request.shard, request.after, _REPLY_BYTES_MAX)
        await self.commit()
        self.check_leading()
        keys = [key for key, _ in found]
        values = [] if request.keys_only else [value for _, value in found]
        return pb.ScanReply(told=pb.Told.Name(told), keys=keys, values=values, more=more)
