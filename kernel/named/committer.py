"""Group commit: plans that wait while a transaction is under way go together in the next one.

Each transaction compares three things: that the leader's election key is the one it was elected with; that the last
transaction is the one this leader knows of; and the fence of its plans, if they carry one. So a deposed leader
changes nothing, and a transaction whose fate is unknown is found out: a later one on the same footing either takes
effect, and then the unknown one never can, or it cannot, and then the unknown one has.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Any

from kernel.named import etcd as etcd_module
from kernel.named.etcd import Etcd, UnknownOutcome
from kernel.named.keys import Keys, encode_contents, encode_entry
from sigmaos_ray import debug, serr
from sigmaos_ray.sigmap import NO_FENCE, Fence

if TYPE_CHECKING:
    from collections.abc import Callable

    from kernel.named.state import Plan
    from sigmaos_ray.config import Named

_log = debug.selector("NAMED_STORE")


class LeaderKey:
    """The key that makes this process the leader."""

    def __init__(self, key: bytes, create_revision: int) -> None:
        self.key = key
        self.create_revision = create_revision


class _Waiting:
    """One plan, encoded, and who waits for it."""

    __slots__ = ("done", "fence", "ops", "size_bytes")

    def __init__(self, ops: dict[bytes, tuple[bytes | None, int]], fence: Fence, done: asyncio.Future[int]) -> None:
        self.ops = ops
        self.fence = fence
        self.done = done
        self.size_bytes = sum(len(key) + len(value or b"") for key, (value, _) in ops.items())


class Committer:
    """Commits plans for as long as this process leads. ``close`` it; what waits then fails with Closed."""

    def __init__(
        self,
        etcd: Etcd,
        keys: Keys,
        leader: LeaderKey,
        config: Named,
        guard: Callable[[], None],
        on_lost: Callable[[str], None],
    ) -> None:
        self._etcd = etcd
        self._keys = keys
        self._leader = leader
        self._config = config
        self._guard = guard
        self._on_lost = on_lost
        self._queue: list[_Waiting] = []
        self._runner: asyncio.Task[None] | None = None
        self._last_revision = 0
        """Of the last transaction, as the marker key shows it; 0: there was none yet."""
        self._marker = b""
        self.transactions_count = 0
        self.plans_count = 0

    async def start(self) -> None:
        marker = await self._etcd.get(self._keys.txn)
        self._last_revision = marker.mod_revision if marker else 0

    async def commit(self, plan: Plan, fence: Fence = NO_FENCE) -> int:
        """Makes a plan durable; returns its revision. Stale for an old fence, Closed if the leadership is lost, IOErr
        if the outcome cannot be known. A caller that is cancelled leaves the plan to take effect."""
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(self._encode(plan), fence, done))
        if self._runner is None or self._runner.done():
            self._runner = asyncio.create_task(self._run(), name="named-commit")
        return await asyncio.shield(done)

    def _encode(self, plan: Plan) -> dict[bytes, tuple[bytes | None, int]]:
        keys = self._keys
        ops: dict[bytes, tuple[bytes | None, int]] = {}
        for entry in plan.delete_entries:
            ops[keys.entry(entry.dir_ino, entry.name, entry.lease)] = (None, 0)
        for ino, lease in plan.delete_contents:
            ops[keys.inode(ino, lease)] = (None, 0)
        for contents in plan.put_contents:
            ops[keys.inode(contents.ino, contents.lease)] = (encode_contents(contents), contents.lease)
        for entry in plan.put_entries:
            ops[keys.entry(entry.dir_ino, entry.name, entry.lease)] = (encode_entry(entry), entry.lease)
        return ops

    async def _run(self) -> None:
        while self._queue:
            await self._settle(self._take())

    async def _settle(self, batch: list[_Waiting]) -> None:
        """Commits a batch and tells those who wait. What etcd refuses is tried plan by plan: one bad plan, as one on
        a lease that is gone, must not fail its neighbours."""
        try:
            revision = await self._transact(batch)
        except serr.SigmaError as error:
            if len(batch) > 1 and isinstance(error, serr.NotFound | serr.Inval):
                for waiting in batch:
                    await self._settle([waiting])
                return
            for waiting in batch:
                if not waiting.done.done():
                    waiting.done.set_exception(type(error)(error.obj, error.msg))
                    waiting.done.exception()
        else:
            for waiting in batch:
                if not waiting.done.done():
                    waiting.done.set_result(revision)

    def _take(self) -> list[_Waiting]:
        """The next batch: plans in order, as many as fit, all with one fence."""
        batch: list[_Waiting] = []
        ops = size = 0
        for waiting in self._queue:
            ops += len(waiting.ops)
            size += waiting.size_bytes
            full = ops >= self._config.commit_ops_max or size > self._config.commit_bytes_max
            if batch and (full or waiting.fence != batch[0].fence):
                break
            batch.append(waiting)
        del self._queue[: len(batch)]
        return batch

    async def _transact(self, batch: list[_Waiting]) -> int:
        self._guard()
        self.transactions_count += 1
        self.plans_count += len(batch)
        merged: dict[bytes, tuple[bytes | None, int]] = {}
        for waiting in batch:
            # Only directories' inodes occur in several plans: the later time is the one to keep.
            merged.update(waiting.ops)
        fence = batch[0].fence
        try:
            succeeded, revision = await self._attempt(merged, fence)
        except UnknownOutcome:
            return await self._find_out()
        if succeeded:
            self._last_revision = revision
            return revision
        raise await self._why_refused(fence)

    async def _attempt(self, ops: dict[bytes, tuple[bytes | None, int]], fence: Fence) -> tuple[bool, int]:
        self._marker = secrets.token_bytes(8)
        compare = self._compare()
        if fence:
            compare.append(etcd_module.is_created_at(self.fence_key(fence), fence.epoch))
        then: list[Any] = [etcd_module.put(self._keys.txn, self._marker)]
        for key, (value, lease) in ops.items():
            then.append(etcd_module.delete(key) if value is None else etcd_module.put(key, value, lease))
        return await self._etcd.transaction(compare, then)

    def _compare(self) -> list[Any]:
        return [
            etcd_module.is_created_at(self._leader.key, self._leader.create_revision),
            etcd_module.is_modified_at(self._keys.txn, self._last_revision),
        ]

    def fence_key(self, fence: Fence) -> bytes:
        return self._keys.root + b"fence/" + fence.pathname.encode()

    async def _find_out(self) -> int:
        """Whether the last transaction took effect: its revision if so; Unreachable if it never will; IOErr if the
        leadership ends before that is known."""
        asked = self._marker
        while True:
            try:
                self._guard()
            except serr.Closed as error:
                raise serr.IOErr("named", "etcd did not tell whether the write took effect") from error
            try:
                succeeded, revision = await self._attempt({}, NO_FENCE)
                if succeeded:
                    self._last_revision = revision
                    raise serr.Unreachable("named", "etcd did not take the write")
                marker = await self._etcd.get(self._keys.txn)
                if marker is not None and marker.value == asked:
                    self._last_revision = marker.mod_revision
                    return marker.mod_revision
                raise await self._why_refused(NO_FENCE)
            except UnknownOutcome:
                marker = await self._look()
                if marker is not None and marker.value == asked:
                    self._last_revision = marker.mod_revision
                    return marker.mod_revision
                if marker is not None and marker.mod_revision != self._last_revision:
                    self._last_revision = marker.mod_revision
                    raise serr.Unreachable("named", "etcd did not take the write") from None
            await asyncio.sleep(0.1)

    async def _look(self) -> etcd_module.KeyValue | None:
        try:
            return await self._etcd.get(self._keys.txn)
        except serr.SigmaError as error:
            _log(f"etcd: {error}")
            return None

    async def _why_refused(self, fence: Fence) -> serr.SigmaError:
        key = await self._etcd.get(self._leader.key)
        if key is None or key.create_revision != self._leader.create_revision:
            self._on_lost("the election key is gone")
            return serr.Closed("named", "srv expired")
        if fence:
            return serr.Stale(fence.pathname, f"epoch {fence.epoch} is over")
        self._on_lost("another process writes as this leader")
        return serr.Closed("named", "srv expired")

    async def close(self) -> None:
        """Refuses what waits, and ends."""
        for waiting in self._queue:
            if not waiting.done.done():
                waiting.done.set_exception(serr.Closed("named", "stopped"))
                waiting.done.exception()
        self._queue.clear()
        if self._runner is not None:
            await asyncio.wait({self._runner}, timeout=self._config.etcd_timeout_s)
            self._runner.cancel()
