"""The shards of servers, without any I/O: writes once only, moves that nobody can repeat to harm (KV-6)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sigmaos_ray import serr
from user.kv import kv_pb2 as pb
from user.kv.changes import AnyChange, State
from user.kv.keys import SHARDS_COUNT, shard_of
from user.kv.state import EMPTY, ShardTable

KEY = "k"
SHARD = shard_of(KEY)


def table(move: tuple[int, int] = (1, 1)) -> ShardTable:
    table = ShardTable()
    table.install(SHARD, move, 0, 0, EMPTY, last=True)
    return table


def write(kind: pb.Kind, value: bytes = b"", seqno: int = 1, **more: Any) -> pb.Write:
    return pb.Write(kind=kind, key=KEY, value=value, seqno=seqno, **more)


def copy(src: ShardTable, dst: ShardTable, move: tuple[int, int]) -> None:
    src.freeze(SHARD, move)
    part, last = 0, False
    while not last:
        data, last, digest = src.dump(SHARD, move, part)
        dst.install(SHARD, move, digest, part, data, last=last)
        part += 1


def test_a_repeated_write_does_nothing_and_is_told_the_same() -> None:
    shards = table()
    assert shards.write(7, 1, write(pb.APPEND, b"a"))[0] == pb.DONE
    assert shards.write(7, 1, write(pb.APPEND, b"a")) == (pb.DONE, None)
    assert shards.write(7, 1, write(pb.DELETE, seqno=2))[0] == pb.DONE
    assert shards.write(7, 1, write(pb.DELETE, seqno=2)) == (pb.DONE, None)
    assert shards.write(7, 1, write(pb.CAS, b"b", 3, expected=b"x"))[0] == pb.REFUSED
    assert shards.write(8, 1, write(pb.PUT, b"x"))[0] == pb.DONE
    assert shards.write(7, 1, write(pb.CAS, b"b", 3, expected=b"x")) == (pb.REFUSED, None)
    assert shards.get(KEY) == (pb.DONE, b"x")


def test_what_is_below_the_floor_is_over() -> None:
    shards = table()
    shards.write(7, 1, write(pb.APPEND, b"a", 1))
    shards.write(7, 2, write(pb.APPEND, b"b", 2))
    assert shards.write(7, 1, write(pb.APPEND, b"a", 1)) == (pb.OVER, None)
    assert shards.get(KEY) == (pb.DONE, b"ab")


def test_what_writes_were_told_moves_with_the_shard() -> None:
    src, dst = table(), ShardTable()
    src.write(7, 1, write(pb.APPEND, b"a"))
    copy(src, dst, (1, 2))
    assert src.write(7, 1, write(pb.APPEND, b"a"))[0] == pb.MOVING
    src.drop(SHARD, (1, 2))
    assert src.write(7, 1, write(pb.APPEND, b"a"))[0] == pb.ELSEWHERE
    assert dst.write(7, 1, write(pb.APPEND, b"a")) == (pb.DONE, None)
    assert dst.get(KEY) == (pb.DONE, b"a")


def test_every_step_of_a_move_may_be_repeated() -> None:
    src, dst = table(), ShardTable()
    copy(src, dst, (1, 2))
    dst.write(7, 1, write(pb.PUT, b"new"))
    copy(src, dst, (1, 2))
    assert dst.get(KEY) == (pb.DONE, b"new")
    assert src.drop(SHARD, (1, 2)) is not None
    assert src.drop(SHARD, (1, 2)) is None
    with pytest.raises(serr.NotFound):
        src.freeze(SHARD, (1, 2))


def test_a_mover_that_was_held_up_changes_nothing() -> None:
    a, b, c = table(), ShardTable(), ShardTable()
    copy(a, b, (1, 2))
    late = a.dump(SHARD, (1, 2), 0)
    a.drop(SHARD, (1, 2))
    copy(b, c, (1, 3))
    b.drop(SHARD, (1, 3))
    with pytest.raises(serr.Stale):
        b.install(SHARD, (1, 2), late[2], 0, late[0], last=True)
    assert b.states()[SHARD] is State.ABSENT
    for step in (b.freeze, b.drop):
        with pytest.raises(serr.Stale):
            step(SHARD, (1, 2))


def test_parts_of_two_dumps_do_not_mix() -> None:
    dst = ShardTable()
    move = (1, 2)
    dst.install(SHARD, move, 11, 0, EMPTY, last=False)
    with pytest.raises(serr.Retry):
        dst.install(SHARD, move, 22, 1, EMPTY, last=True)
    dst.install(SHARD, move, 22, 0, EMPTY, last=False)
    with pytest.raises(serr.Retry):
        dst.install(SHARD, move, 11, 1, EMPTY, last=True)
    assert dst.states()[SHARD] is State.ABSENT


def test_what_is_wrong_is_told() -> None:
    shards = table()
    with pytest.raises(serr.Inval):
        shards.freeze(SHARDS_COUNT, (1, 1))
    with pytest.raises(serr.Inval):
        shards.dump(SHARD, (1, 2), 0)
    with pytest.raises(serr.Inval):
        shards.drop(SHARD, (1, 2))
    with pytest.raises(serr.Inval):
        ShardTable().install(SHARD, (1, 2), 0, 0, b"no part", last=True)
    with pytest.raises(serr.Exists):
        shards.install(SHARD, (1, 2), 0, 0, EMPTY, last=True)


class NodeCopy(RuleBasedStateMachine):
    """Three servers and one key, against what one key would do. Servers die and read what they wrote; movers stop after
    any step, and late ones repeat theirs."""

    def __init__(self) -> None:
        super().__init__()
        self.tables = [ShardTable() for _ in range(3)]
        self.journals: list[list[AnyChange]] = [[] for _ in range(3)]
        self.owner = 0
        self.moves: list[tuple[tuple[int, int], int, int]] = []
        self.value: bytes | None = None
        self.outcomes: dict[tuple[int, int], int] = {}
        self.writes: dict[tuple[int, int], pb.Write] = {}

    @initialize()
    def create(self) -> None:
        self.journals[0] += self.tables[0].install(SHARD, (1, 0), 0, 0, EMPTY, last=True)

    def send(self, client: int, request: pb.Write) -> None:
        for server, shards in enumerate(self.tables):
            outcome, change = shards.write(client, 1, request)
            if change is not None:
                self.journals[server].append(change)
            if outcome in (pb.MOVING, pb.ELSEWHERE):
                continue
            identity = (client, request.seqno)
            if identity in self.outcomes:
                assert change is None
                assert outcome == self.outcomes[identity]
            else:
                self.outcomes[identity] = outcome
                self.value = self.expected(request, outcome)

    def expected(self, request: pb.Write, outcome: int) -> bytes | None:
        match request.kind:
            case pb.PUT:
                assert outcome == pb.DONE
                return request.value
            case pb.APPEND:
                assert outcome == pb.DONE
                return (self.value or b"") + request.value
            case pb.DELETE:
                assert (outcome == pb.ABSENT) == (self.value is None)
                return None
        matches = self.value == (request.expected if request.HasField("expected") else None)
        assert (outcome == pb.DONE) == matches
        return request.value if matches else self.value

    @rule(
        client=st.integers(1, 2),
        kind=st.sampled_from(pb.Kind.values()),
        value=st.sampled_from([b"x", b"y"]),
        none=st.booleans(),
    )
    def write(self, client: int, kind: pb.Kind, value: bytes, none: bool) -> None:
        seqno = 1 + sum(each == client for each, _ in self.writes)
        request = write(kind, value, seqno)
        if kind == pb.CAS and not none:
            request.expected = self.value or b"x"
        self.writes[client, seqno] = request
        self.send(client, request)

    @precondition(lambda self: self.writes)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        client, seqno = data.draw(st.sampled_from(sorted(self.writes)))
        self.send(client, self.writes[client, seqno])

    @rule(dst=st.integers(0, 2), steps=st.integers(1, 4))
    def move(self, dst: int, steps: int) -> None:
        """The balancer plans a move once the last one has ended."""
        src = self.holder()
        if src is None or src == dst:
            return
        self.moves.append(((1, len(self.moves) + 1), src, dst))
        self.run_mover(self.moves[-1], steps)

    @precondition(lambda self: self.moves)
    @rule(data=st.data(), steps=st.integers(1, 4))
    def repeat_move(self, data: st.DataObject, steps: int) -> None:
        """Movers that were held up, or died and are started again."""
        self.run_mover(data.draw(st.sampled_from(self.moves)), steps)

    def holder(self) -> int | None:
        states = [shards.states()[SHARD] for shards in self.tables]
        return states.index(State.READY) if states.count(State.ABSENT) == 2 and State.READY in states else None

    def run_mover(self, move: tuple[tuple[int, int], int, int], steps: int) -> None:
        number, src, dst = move
        try:
            froze = self.tables[src].freeze(SHARD, number)
            self.journals[src] += [froze] if froze else []
            if steps < 2:
                return
            data, last, digest = self.tables[src].dump(SHARD, number, 0)
            assert last
            if steps < 3:
                return
            self.journals[dst] += self.tables[dst].install(SHARD, number, digest, 0, data, last=True)
            if steps < 4:
                return
            dropped = self.tables[src].drop(SHARD, number)
            self.journals[src] += [dropped] if dropped else []
        except (serr.NotFound, serr.Stale):
            return

    @rule(server=st.integers(0, 2), snapshot=st.booleans())
    def die(self, server: int, snapshot: bool) -> None:
        fresh = ShardTable()
        changes = list(self.tables[server].images(SHARD)) if snapshot else []
        coded = msgspec.msgpack.encode(changes + self.journals[server])
        for change in msgspec.msgpack.decode(coded, type=list[AnyChange]):
            fresh.apply(change)
        self.tables[server] = fresh

    @invariant()
    def one_has_it(self) -> None:
        states = [shards.states()[SHARD] for shards in self.tables]
        assert states.count(State.READY) <= 1
        if State.READY in states:
            outcome, value = self.tables[states.index(State.READY)].get(KEY)
            assert (value if outcome == pb.DONE else None) == self.value
            assert self.tables[states.index(State.READY)].sizes() == (int(outcome == pb.DONE), len(value))


TestStore = NodeCopy.TestCase
TestStore.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
