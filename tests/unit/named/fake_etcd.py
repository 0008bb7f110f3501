"""etcd in memory: transactions as etcd runs them, and answers that get lost on request."""

from __future__ import annotations

import asyncio
import enum
from collections import deque
from typing import TYPE_CHECKING, Any

from aetcd import rpc

from kernel.named.etcd import Compacted, Etcd, Full, KeyValue, UnknownOutcome
from sigmaos_ray import serr

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from kernel.named.etcd import Outcome


class Fate(enum.Enum):
    """What becomes of a transaction."""

    ANSWERED = enum.auto()
    LOST = enum.auto()
    """It never arrives, and the sender does not know."""
    UNANSWERED = enum.auto()
    """It takes effect, and the sender does not know."""
    LATE = enum.auto()
    """It arrives after the next one, and the sender does not know."""
    FILLED = enum.auto()
    """It takes effect, and the sender is told that etcd is full."""
    FULL = enum.auto()
    """It does not, since etcd is full."""


class FakeEtcd(Etcd):
    """Keys with their histories. ``fates`` of the next transactions, ANSWERED after that."""

    def __init__(self, *, begins_at_once: bool = False) -> None:
        super().__init__(["nowhere:1"], 1)
        self.begins_at_once = begins_at_once
        self.history: dict[bytes, list[tuple[int, bytes | None, int]]] = {}
        """By key: revision, value (None: deleted), create revision."""
        self.now = 10
        self.fates: deque[Fate] = deque()
        self.requests: list[tuple[list[Any], list[Any]]] = []
        self.gone_leases: set[int] = set()
        self.silent_gets = 0
        """So many reads fail."""
        self.compacted_below = 0
        self.before_transaction: Callable[[], Awaitable[None]] | None = None
        self._late: list[tuple[list[Any], list[Any]]] = []

    def value(self, key: bytes) -> bytes | None:
        return self._last(key)[1]

    def _last(self, key: bytes) -> tuple[int, bytes | None, int]:
        return self.history.get(key, [(0, None, 0)])[-1]

    def put_directly(self, key: bytes, value: bytes | None) -> int:
        """As another client would; returns the revision."""
        self.now += 1
        self._store(key, value)
        return self.now

    def _store(self, key: bytes, value: bytes | None) -> None:
        _, old, created = self._last(key)
        self.history.setdefault(key, []).append((self.now, value, created if old is not None else self.now))

    def _holds(self, compare: Any) -> bool:
        revision, value, created = self._last(compare.key)
        if compare.target == rpc.Compare.CompareTarget.CREATE:
            return bool(compare.create_revision == (created if value is not None else 0))
        assert compare.target == rpc.Compare.CompareTarget.MOD
        return bool(compare.mod_revision == (revision if value is not None else 0))

    def _run(self, compare: list[Any], then: list[Any]) -> tuple[bool, int]:
        if not all(self._holds(each) for each in compare):
            return False, self.now
        if any(op.request_put.lease in self.gone_leases for op in then if op.HasField("request_put")):
            raise serr.NotFound("lease", "gone")
        self.now += 1
        for op in then:
            if op.HasField("request_put"):
                self._store(op.request_put.key, op.request_put.value)
            elif self.value(op.request_delete_range.key) is not None:
                self._store(op.request_delete_range.key, None)
        return True, self.now

    async def transaction(self, compare: list[Any], then: list[Any]) -> tuple[bool, int]:
        self.requests.append((compare, then))
        if self.before_transaction is not None:
            await self.before_transaction()
        fate = self.fates.popleft() if self.fates else Fate.ANSWERED
        late, self._late = self._late, []
        try:
            if fate is Fate.LATE:
                self._late.append((compare, then))
            elif fate not in (Fate.LOST, Fate.FULL):
                ran = self._run(compare, then)
                if fate is Fate.ANSWERED:
                    return ran
        finally:
            for each in late:
                self._run(*each)
        if fate in (Fate.FILLED, Fate.FULL):
            raise Full("etcd", "no space")
        raise UnknownOutcome(fate.name)

    def begin_transaction(self, compare: list[Any], then: list[Any], on_end: Callable[[Outcome], object]) -> bool:
        if not self.begins_at_once:
            return False

        async def run() -> None:
            try:
                on_end(await self.transaction(compare, then))
            except (serr.SigmaError, UnknownOutcome) as error:
                on_end(error)

        self._answering = asyncio.create_task(run())
        return True

    async def get(self, key: bytes, revision: int = 0) -> KeyValue | None:
        if self.silent_gets:
            self.silent_gets -= 1
            raise serr.Unreachable("etcd")
        if revision and revision < self.compacted_below:
            raise Compacted
        kv = self._at(key, revision)
        await asyncio.sleep(0)  # what happens while the answer is on its way comes too late
        return kv

    async def scan(self, prefix: bytes, revision: int = 0) -> AsyncIterator[KeyValue]:
        for key in sorted(key for key in self.history if key.startswith(prefix)):
            kv = await self.get(key, revision)
            if kv is not None:
                yield kv

    def _at(self, key: bytes, revision: int) -> KeyValue | None:
        versions = [each for each in self.history.get(key, []) if not revision or each[0] <= revision]
        if not versions or versions[-1][1] is None:
            return None
        modified, value, created = versions[-1]
        kv = {"key": key, "value": value, "create_revision": created, "mod_revision": modified, "lease": 0}
        return KeyValue(type("kv", (), kv))
