"""The shards of one server: what each write and each step of a move does to them. Pure: no I/O, no clock.

A shard is served by the server that has it ``READY``. A move makes sure that only one has: it freezes the shard at its
source, copies it, and drops it there. Each move has a number, higher than that of any move of the shard before; a
server keeps the highest that it saw, also of shards that left, so a mover that was held up changes nothing.

Each write has its client's id and a sequence number. How it fared is kept with the shard, and moves with it, until the
client says (``floor``) that it is through with it: a repetition fares the same and does nothing. So a clerk may repeat
a write whose reply it did not get, at whatever server has the shard by then.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from sigmaos_ray import decoding, serr
from user.kv import kv_pb2 as pb
from user.kv.changes import (
    Dropped,
    Froze,
    Image,
    Installed,
    Restored,
    ShardPart,
    Staged,
    State,
    Wrote,
)
from user.kv.keys import KEY_BYTES_MAX, SHARDS_COUNT, VALUE_BYTES_MAX, shard_of
from user.kv.tuning import SERVER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from user.kv.changes import AnyChange, Number

_NONE: Final = (0, 0)
_NO_STAGING: Final = (_NONE, 0)

C = TypeVar("C", bound="AnyChange")

_encode = msgspec.msgpack.Encoder().encode
_decode_part = decoding.msgpack_decoder(ShardPart)


class _Client:
    """What is kept of a client: how each of its writes from ``floor`` on fared."""

    __slots__ = ("age", "floor", "outcomes")

    def __init__(self, floor: int, outcomes: dict[int, int]) -> None:
        self.floor = floor
        self.outcomes = outcomes
        self.age = 0
        """How many times ``age_clients`` was called since the client's last write."""


class _Shard:
    """One shard, here or not: of one that left, ``n`` and ``number`` stay."""

    def __init__(self) -> None:
        self.n = 0
        """How many changes it has seen."""
        self.number: Number = _NONE
        """Of the last move that it took part in."""
        self.state = State.ABSENT
        self.values: dict[str, bytes] = {}
        self.values_bytes = 0
        """Of all values together."""
        self.clients: dict[int, _Client] = {}
        self.staged: list[bytes] = []
        """The parts that came so far, of a shard on its way here."""
        self.staging: tuple[Number, int] = _NO_STAGING
        """By which move, and of which dump, by its digest: parts of two dumps do not fit together."""
        self.parts: list[bytes] = []
        """Of a frozen shard, once somebody asked for them."""
        self.digest = 0
        """Of all parts together."""

    def clear(self) -> None:
        self.values = {}
        self.values_bytes = 0
        self.clients = {}
        self.staged = []
        self.staging = _NO_STAGING
        self.parts = []

    def take_in(self, data: bytes) -> None:
        part = _decode_part(data)
        self.values.update(part.values)  # no key is in two parts
        self.values_bytes += sum(len(value) for _, value in part.values)
        for client, floor, outcomes in part.clients:
            self.clients[client] = _Client(floor, outcomes)


class ShardTable:
    """All shards, whether they are here or not.

    Each method that changes something does so at once, and returns the change as the journal is to have it; a method
    that raises has changed nothing. ``apply`` does again what the journal has.
    """

    def __init__(self) -> None:
        self._shards = [_Shard() for _ in range(SHARDS_COUNT)]

    # -- looking

    def states(self) -> list[State]:
        """Of each shard."""
        return [shard.state for shard in self._shards]

    def here(self) -> list[int]:
        """The shards that this server has, frozen ones included."""
        return [number for number, shard in enumerate(self._shards) if shard.state is not State.ABSENT]

    def sizes(self) -> tuple[int, int]:
        """How many keys, and bytes of their values."""
        return sum(len(shard.values) for shard in self._shards), sum(shard.values_bytes for shard in self._shards)

    def get(self, key: str) -> tuple[int, bytes]:
        """The outcome, and the value if that is DONE."""
        shard = self._shards[shard_of(key)]
        if shard.state is not State.READY:
            return _away(shard), b""
        value = shard.values.get(key)
        return (pb.ABSENT, b"") if value is None else (pb.DONE, value)

    def scan(self, number: int, after: str, limit_bytes: int) -> tuple[int, list[tuple[str, bytes]], bool]:
        """The outcome; the keys of one shard in order, with their values, from behind ``after`` on, until they have
        ``limit_bytes``; and whether there are more. Inval for a number that no shard has."""
        shard = self._shard(number)
        if shard.state is not State.READY:
            return _away(shard), [], False
        page, has_more = _page(shard.values, after, limit_bytes)
        return pb.DONE, page, has_more

    def _shard(self, number: int) -> _Shard:
        if not 0 <= number < SHARDS_COUNT:
            raise serr.Inval(f"shard {number}", f"there are {SHARDS_COUNT}")
        return self._shards[number]

    # -- writes

    def write(self, client: int, floor: int, write: pb.Write) -> tuple[int, Wrote | None]:
        """Carries out a write, unless it is a repetition. Its outcome, and the change, None if nothing was carried
        out."""
        key = write.key
        number = shard_of(key)
        shard = self._shards[number]
        if shard.state is not State.READY:
            return _away(shard), None
        seqno = write.seqno
        record = shard.clients.get(client)
        if record is not None:
            record.age = 0
            # Late, by way of a connection that its client gave up: whether it took effect is not known any more.
            if seqno < record.floor:
                return pb.OVER, None
            outcome = record.outcomes.get(seqno)
            if outcome is not None:
                return outcome, None
        expected = write.expected if write.HasField("expected") else None
        change = Wrote(number, shard.n + 1, client, floor, seqno, write.kind, key, write.value, expected)
        return self._execute(shard, change), change

    def _execute(self, shard: _Shard, change: Wrote) -> int:
        shard.n = change.n
        size_before = len(shard.values.get(change.key, b""))
        outcome = _execute_on(shard.values, change)
        shard.values_bytes += len(shard.values.get(change.key, b"")) - size_before
        record = shard.clients.get(change.client)
        if record is None:
            record = shard.clients[change.client] = _Client(change.floor, {})
        elif change.floor > record.floor:
            record.floor = change.floor
            # A client is through with what is below, so what is kept is no more than it has under way.
            record.outcomes = {seqno: each for seqno, each in record.outcomes.items() if seqno >= change.floor}
        record.outcomes[change.seqno] = outcome
        return outcome

    def age_clients(self) -> None:
        """Forgets the clients that wrote nothing since the last call but one. Not in the journal: a server that takes
        over remembers them a little longer, which does no harm."""
        for shard in self._shards:
            for client in [client for client, record in shard.clients.items() if record.age]:
                del shard.clients[client]
            for record in shard.clients.values():
                record.age = 1

    # -- moves

    def freeze(self, number: int, move: Number) -> Froze | None:
        """At the source: contents change no more. None if they did not already. NotFound for a shard that is not here:
        it left with this move; Stale for a move that a later one has overtaken."""
        shard = self._shard(number)
        _check_move(shard, number, move)
        if shard.state is State.ABSENT:
            raise serr.NotFound(f"shard {number}")
        if shard.state is State.FROZEN and shard.number == move:
            return None
        return self._did(Froze(number, shard.n + 1, move))

    def dump(self, number: int, move: Number, part: int) -> tuple[bytes, bool, int]:
        """A part of a frozen shard, whether it is the last one, and the digest of all. NotFound and Stale like
        ``freeze``; Inval for a shard that this move has not frozen."""
        shard = self._shard(number)
        _check_move(shard, number, move)
        if shard.state is State.ABSENT:
            raise serr.NotFound(f"shard {number}")
        if shard.state is not State.FROZEN or shard.number != move:
            raise serr.Inval(f"shard {number}", "it is not frozen")
        _divide_once(shard)
        if part >= len(shard.parts):
            raise serr.Inval(f"shard {number}", f"has no part {part}")
        return shard.parts[part], part == len(shard.parts) - 1, shard.digest

    def install(self, number: int, move: Number, digest: int, part: int, data: bytes, *, last: bool) -> list[AnyChange]:
        """At the destination: takes the next part; with the last one the shard is served. A part that is there already
        is fine, and so is a shard that this move brought. Stale for a move that a later one has overtaken, or whose
        shard left again; Exists for a shard that is here by an earlier move; Retry if parts before this one are
        missing: begin with the first."""
        shard = self._shard(number)
        _check_move(shard, number, move)
        if shard.state is not State.ABSENT:
            if shard.number == move:
                return []
            raise serr.Exists(f"shard {number}", "is here, by another move")
        if shard.number == move:
            raise serr.Stale(f"shard {number}", "came and went")
        # Another digest: another dump, of a source that began anew. Its first part takes the place of all that is here.
        expected = len(shard.staged) if shard.staging == (move, digest) else 0
        if part > expected:
            raise serr.Retry(f"shard {number}", f"part {expected} is missing")
        changes: list[AnyChange] = []
        if part == expected:
            try:
                _decode_part(data)  # now, as what is in the journal must apply
            except msgspec.DecodeError as error:
                raise serr.Inval(f"shard {number}", f"part {part}: {error}") from error
            changes.append(self._did(Staged(number, shard.n + 1, move, digest, part, data)))
        if last:
            changes.append(self._did(Installed(number, shard.n + 1, move)))
        return changes

    def drop(self, number: int, move: Number) -> Dropped | None:
        """At the source, once the destination serves the shard. None if it is gone already; Stale like ``freeze``;
        Inval for a shard that this move has not frozen."""
        shard = self._shard(number)
        _check_move(shard, number, move)
        if shard.state is State.ABSENT:
            return None
        if shard.state is not State.FROZEN or shard.number != move:
            raise serr.Inval(f"shard {number}", "it is not frozen")
        return self._did(Dropped(number, shard.n + 1, move))

    def _did(self, change: C) -> C:
        self.apply(change)
        return change

    # -- from the journal

    def apply(self, change: AnyChange) -> None:
        """Does what the change says, unless the shard has seen it. Cannot fail."""
        shard = self._shards[change.shard]
        if isinstance(change, Image):
            # Images are not counted: they come in a snapshot, before the change that counts for all of them.
            shard.take_in(change.data)
            return
        if change.n <= shard.n and not isinstance(change, Restored):
            return
        if isinstance(change, Wrote):
            self._execute(shard, change)
            return
        shard.n = change.n
        match change:
            case Staged():
                if change.part == 0:
                    shard.staged = []
                shard.staging = (change.number, change.digest)
                shard.staged.append(change.data)
            case Installed():
                staged = shard.staged
                shard.clear()
                for data in staged:
                    shard.take_in(data)
                shard.state, shard.number = State.READY, change.number
            case Froze():
                # Parts of an earlier dump do not show what was written since.
                shard.state, shard.number, shard.parts = State.FROZEN, change.number, []
            case Dropped():
                shard.clear()
                shard.state, shard.number = State.ABSENT, change.number
            case Restored():
                shard.state, shard.number = State(change.state), change.number
                shard.staged, shard.staging = list(change.staged), change.staging

    def images(self, number: int) -> Iterable[AnyChange]:
        """What a snapshot holds of one shard, as it is now; nothing if it was never here. To be applied, in order, to a
        table that knows nothing of it."""
        shard = self._shards[number]
        if not shard.n:
            return
        if shard.state is not State.ABSENT:
            for data in _parts(shard):
                yield Image(number, shard.n, data)
        yield Restored(number, shard.n, shard.number, shard.state, list(shard.staged), shard.staging)


def _away(shard: _Shard) -> int:
    """The outcome of what is asked of a shard that is not served here."""
    return pb.MOVING if shard.state is State.FROZEN else pb.ELSEWHERE


def _page(values: dict[str, bytes], after: str, limit_bytes: int) -> tuple[list[tuple[str, bytes]], bool]:
    page: list[tuple[str, bytes]] = []
    size = 0
    # Sorted for each page: scans are rare, and keeping an order would cost each write.
    for key in sorted(key for key in values if key > after):
        if size > limit_bytes:
            return page, True
        value = values[key]
        page.append((key, value))
        size += len(key) + len(value)
    return page, False


def _check_move(shard: _Shard, number: int, move: Number) -> None:
    if move < shard.number:
        raise serr.Stale(f"shard {number}", f"move {move} is over, now {shard.number}")


def _execute_on(values: dict[str, bytes], change: Wrote) -> int:
    """The outcome of a write; nothing is changed unless that is DONE. It depends on the values and the change alone:
    whoever reads the journal must come to the same."""
    key, value = change.key, change.value
    kind = change.kind
    # Clerks refuse this before they send it. Once more here, since whoever else sends it would leave a value that no
    # message, and no part of a shard that moves, can carry.
    if len(value) > VALUE_BYTES_MAX or len(key.encode()) > KEY_BYTES_MAX:
        return pb.TOO_LARGE
    if kind == pb.PUT:
        values[key] = value
    elif kind == pb.APPEND:
        old = values.get(key, b"")
        if len(old) + len(value) > VALUE_BYTES_MAX:
            return pb.TOO_LARGE
        values[key] = old + value
    elif kind == pb.DELETE:
        if values.pop(key, None) is None:
            return pb.ABSENT
    elif values.get(key) != change.expected:
        return pb.REFUSED
    else:
        values[key] = value
    return pb.DONE


def _divide_once(shard: _Shard) -> None:
    """The parts are kept until the shard is dropped: the mover asks for one after the other, and they must fit
    together."""
    if not shard.parts:
        shard.parts = list(_parts(shard))
        shard.digest = zlib.crc32(b"".join(each.to_bytes(4) for each in map(zlib.crc32, shard.parts)))


def _parts(shard: _Shard) -> Iterator[bytes]:
    """A shard's contents, at least one part."""
    values: list[tuple[str, bytes]] = []
    size = 0
    for item in shard.values.items():
        values.append(item)
        size += len(item[0]) + len(item[1])
        if size >= SERVER.part_bytes:
            yield _encode(ShardPart(values))
            values, size = [], 0
    clients: list[tuple[int, int, dict[int, int]]] = []
    for client, record in shard.clients.items():
        clients.append((client, record.floor, record.outcomes))
        size += SERVER.client_bytes + 4 * len(record.outcomes)
        if size >= SERVER.part_bytes:
            yield _encode(ShardPart(values, clients))
            values, clients, size = [], [], 0
    yield _encode(ShardPart(values, clients))


EMPTY: Final = _encode(ShardPart([]))
"""The only part of a new shard, as ``install`` takes it."""
