"""Group commit: plans that wait while a transaction is under way go together in the next one.

Each transaction compares three things: that the leader's election key is the one it was elected with; that the last
transaction is the one this leader knows of; and that the leadership whose fence its plans carry, if it was won here,
still holds. So a deposed leader changes nothing, and a transaction whose fate is unknown is found out (see
``_took_effect``).

A plan is applied to the tree by the committer itself, in the moment its transaction is known to have taken effect and
in the order of the queue: what memory shows is what etcd has, whether or not the caller is still there.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from kernel.named import etcd as etcd_module
from kernel.named.etcd import Etcd, UnknownOutcome
from kernel.named.fences import NamedFences, StoredFence
from sigmaos_ray import crash, debug, decoding, serr

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kernel.named.keys import Keys, Ops
    from kernel.named.state import Plan
    from sigmaos_ray.config import Named, Store
    from sigmaos_ray.sigmap import Fence

Held: TypeAlias = tuple[tuple[bytes, int], ...]
"""Keys of leaderships, and the revisions at which they were made."""

_log = debug.selector("NAMED_STORE")

_commit_crash = crash.point("NAMED_COMMIT_CRASH")
_commit_delay = crash.point("NAMED_COMMIT_DELAY")


class LeaderKey:
    """The key that makes this process the leader."""

    def __init__(self, key: bytes, create_revision: int) -> None:
        self.key = key
        self.create_revision = create_revision


def _nothing(_revision: int) -> None:
    """Applies a plan that memory does not show."""


class _Tried(NamedTuple):
    """A transaction that was sent, and what came of it."""

    marker: bytes
    outcome: etcd_module.Outcome


class _Waiting:
    """One plan, encoded; how it is applied; and who waits for it."""

    __slots__ = ("_apply", "done", "fences", "held", "is_settled", "ops", "size_bytes")

    def __init__(self, ops: Ops, fences: Sequence[Fence], held: Held, apply: Callable[[int], None]) -> None:
        self.ops = ops
        self.fences = fences
        self.held = held
        """The keys of the leaderships that the fences stand for, and when each was created."""
        self.size_bytes = sum(len(key) + len(value or b"") for key, (value, _) in ops.items())
        self._apply = apply
        self.done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.is_settled = False
        """True once its fate is known, also where the cancellation of its caller has ended ``done`` before."""

    async def wait(self) -> int:
        """The revision of the plan. Whoever is cancelled meanwhile is held until its fate is known."""
        try:
            return await self.done
        except asyncio.CancelledError:
            if not self.is_settled:
                self.done = asyncio.get_running_loop().create_future()
            while not self.is_settled:
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait([self.done])
            raise

    def committed(self, revision: int) -> None:
        # Before anybody is told: who wakes up must find its change in the tree.
        self._apply(revision)
        self.is_settled = True
        if not self.done.done():
            self.done.set_result(revision)

    def failed(self, error: serr.SigmaError) -> None:
        if self.is_settled:
            return
        self.is_settled = True
        if not self.done.done():
            # A new error for each: one instance that several tasks raise would gather the tracebacks of all.
            self.done.set_exception(type(error)(error.obj, error.msg))
            self.done.exception()  # looked at: the caller may be gone


class Committer:
    """Commits plans for as long as this process leads. ``close`` it; what waits then fails."""

    def __init__(
        self,
        etcd: Etcd,
        keys: Keys,
        leader: LeaderKey,
        config: Named,
        guard: Callable[[], None],
        on_lost: Callable[[str], None],
        limits: Store | None = None,
    ) -> None:
        self._etcd = etcd
        self._keys = keys
        self._leader = leader
        self._leads = etcd_module.is_created_at(leader.key, leader.create_revision)
        self._config = config
        self._guard = guard
        self._on_lost = on_lost
        self.fences = NamedFences(keys, config, limits)
        self._queue: list[_Waiting] = []
        self._under_way: list[_Waiting] = []
        self._begins_soon = False
        self._are_several = True
        """Whether the last batch had several plans."""
        self._runner: asyncio.Task[None] | None = None
        """Settles a batch that does not go smoothly."""
        self._idle: asyncio.Future[None] | None = None
        """Set once nothing is under way, for ``close``."""
        self._is_over = False
        self._last_revision = 0
        """Of the last transaction, as the marker key shows it; 0: there was none yet."""
        self._closed = False
        self.transactions_count = 0
        self.plans_count = 0

    async def start(self) -> None:
        """Reads what a leader must know before it commits."""
        marker = await self._etcd.get(self._keys.txn)
        self._last_revision = marker.mod_revision if marker else 0
        fences = [kv async for kv in self._etcd.scan(self._keys.fences)]
        decode = decoding.msgpack_decoder(StoredFence)
        self.fences.load(
            (self._keys.parse_fence_key(kv.key), decode(kv.value).stored_at(kv.mod_revision)) for kv in fences
        )

    async def commit(
        self,
        plan: Plan,
        fences: Sequence[Fence] = (),
        apply: Callable[[int], None] = _nothing,
        beside: Ops | None = None,
    ) -> int:
        """Makes a plan durable, with what is to be stored ``beside`` it, applies it, and returns its revision. Stale
        for an old fence, NotFound if the plan's lease is gone, Closed if the leadership is lost, IOErr if the outcome
        cannot be known any more.

        A caller that is cancelled is held until the plan's fate is known, with the locks that it holds: the plan may
        take effect, and then it is applied.
        """
        admitted = self.fences.admit(*fences)
        forgetting = self.fences.forgetting()
        ops = self._keys.operations(plan)
        ops.update(forgetting.ops)
        ops.update(admitted.ops)
        ops.update(beside or {})

        def apply_all(revision: int) -> None:
            self.fences.forgot(forgetting)
            apply(revision)

        return await self._commit(ops, fences, admitted.held, apply_all if forgetting.ops else apply)

    async def forget_fence(self, pathname: str) -> None:
        """Forgets the newest fence of a pathname. NotFound if there is none; else raises like ``commit``."""
        ops = self.fences.forget_ops(pathname)
        await self._commit(ops, (), (), lambda _: self.fences.forgotten(pathname))

    async def _commit(self, ops: Ops, fences: Sequence[Fence], held: Held, apply: Callable[[int], None]) -> int:
        if self._closed:
            raise serr.Closed("named", "stopped")
        waiting = _Waiting(ops, fences, held, apply)
        self._queue.append(waiting)
        if not (self._under_way or self._begins_soon):
            self._begin_soon()
        # The caller's locks guard what the plan was made from: let go, another plan would be made on a tree that this
        # one may still change.
        return await waiting.wait()

    def _begin_soon(self) -> None:
        # Who writes alone waits for nobody. Where there were several, those of one turn of the loop go together.
        if self._are_several:
            self._begins_soon = True
            asyncio.get_running_loop().call_soon(self._begin)
        else:
            self._begin()

    def _begin(self) -> None:
        """Takes the next batch on its way: at once, where that needs no task."""
        self._begins_soon = False
        if not self._queue:
            if self._idle is not None and not self._idle.done():
                self._idle.set_result(None)
            return
        batch = self._under_way = self._take()
        self.plans_count += len(batch)
        self._are_several = len(batch) > 1
        if not self._begin_at_once(batch):
            self._run_in_task(batch, None)

    def _begin_at_once(self, batch: list[_Waiting]) -> bool:
        """Sends the batch, and settles it as etcd's answer comes. False if nothing was sent: what does not go smoothly
        is ``_run``'s."""
        if _commit_delay.on:
            return False
        try:
            marker, compare, then = self._prepared(batch)
        except Exception:  # noqa: BLE001  # the task meets it again, and tells those who wait
            return False
        is_sent = self._etcd.begin_transaction(
            compare, then, lambda outcome: self._ended(batch, _Tried(marker, outcome))
        )
        self.transactions_count += is_sent
        return is_sent

    def _ended(self, batch: list[_Waiting], tried: _Tried) -> None:
        outcome = tried.outcome
        if self._is_over:
            return
        if isinstance(outcome, tuple) and outcome[0]:
            try:
                self._took(outcome[1])
                self._tell(batch, outcome[1])
            except Exception as error:  # noqa: BLE001  # see ``_run``
                self._broken(batch, error)
            self._under_way = []
            self._begin()
        else:
            self._run_in_task(batch, tried)

    def _run_in_task(self, batch: list[_Waiting], tried: _Tried | None) -> None:
        self._runner = asyncio.get_running_loop().create_task(self._run(batch, tried), name="named-commit")

    async def _run(self, batch: list[_Waiting], tried: _Tried | None) -> None:
        try:
            await self._settle(batch, tried)
        except Exception as error:  # noqa: BLE001  # whoever waits must hear of it, and memory is no longer sure
            self._broken(batch, error)
        self._under_way = []
        self._begin()

    def _broken(self, batch: list[_Waiting], error: Exception) -> None:
        self._on_lost(f"{type(error).__name__}: {error}")
        for waiting in batch:
            waiting.failed(serr.IOErr("named", f"{type(error).__name__}: {error}"))

    def _take(self) -> list[_Waiting]:
        """The next batch: plans in order, as many as fit, all under one leadership or none."""
        batch: list[_Waiting] = []
        ops = size = 0
        for waiting in self._queue:
            ops += len(waiting.ops)
            size += waiting.size_bytes
            full = ops >= self._config.commit_ops_max or size > self._config.commit_bytes_max
            if batch and (full or waiting.held != batch[0].held):
                break
            batch.append(waiting)  # the first one always, however large: it would wait for ever
        del self._queue[: len(batch)]
        return batch

    async def _settle(self, batch: list[_Waiting], tried: _Tried | None = None) -> None:
        """Commits a batch and tells those who wait. ``tried``: what became of it so far."""
        try:
            revision = await self._transact(batch, tried)
        except serr.SigmaError as error:
            await self._settle_failed(batch, error)
        else:
            self._tell(batch, revision)

    def _tell(self, batch: list[_Waiting], revision: int) -> None:
        for waiting in batch:
            self.fences.stored(*filter(None, waiting.fences))
            waiting.committed(revision)

    async def _settle_failed(self, batch: list[_Waiting], error: serr.SigmaError) -> None:
        """What etcd refuses is tried plan by plan: one bad plan, as one on a lease that is gone, must not fail its
        neighbours."""
        if len(batch) > 1 and isinstance(error, serr.NotFound | serr.Inval):
            for waiting in batch:
                await self._settle([waiting])
            return
        for waiting in batch:
            waiting.failed(error)

    async def _transact(self, batch: list[_Waiting], tried: _Tried | None) -> int:
        """Repeats the transaction only once it is known that it did not take effect and never will."""
        while True:
            marker, outcome = tried or await self._try(batch)
            tried = None
            if isinstance(outcome, UnknownOutcome):
                if revision := await self._took_effect(marker):
                    return revision
                continue
            # etcd may say so of a transaction that it has applied: the marker tells.
            if isinstance(outcome, etcd_module.Full) and await self._is_marked(marker):
                return self._last_revision
            if isinstance(outcome, serr.SigmaError):
                raise outcome
            succeeded, revision = outcome
            if not succeeded:
                raise await self._why_refused(batch[0])
            self._took(revision)
            return revision

    def _took(self, revision: int) -> None:
        if _commit_crash.on:
            _commit_crash.passed()
        self._last_revision = revision

    async def _try(self, batch: list[_Waiting]) -> _Tried:
        if _commit_delay.on:
            await _commit_delay.passed_by_task()
        marker, compare, then = self._prepared(batch)
        self.transactions_count += 1
        try:
            return _Tried(marker, await self._etcd.transaction(compare, then))
        except (UnknownOutcome, serr.SigmaError) as error:
            return _Tried(marker, error)

    def _prepared(self, batch: list[_Waiting]) -> tuple[bytes, list[Any], list[Any]]:
        """A transaction with all of a batch: its marker, comparisons and changes. Raises what the guard raises; Inval
        for what etcd has no room for."""
        # At each attempt: what waited for etcd until the lease was over must not go out any more.
        self._guard()
        ops = batch[0].ops
        if len(batch) > 1:
            ops = {}
            for waiting in batch:
                # Only directories' inodes occur in several plans: the later time is the one to keep.
                ops.update(waiting.ops)
        return self._transaction(ops, batch[0].held)

    def _transaction(self, ops: Ops, held: Held) -> tuple[bytes, list[Any], list[Any]]:
        compare = [self._leads, etcd_module.is_modified_at(self._keys.txn, self._last_revision)]
        compare += [etcd_module.is_created_at(*each) for each in held]
        # A new one each time: an earlier attempt that was void stays void, and is never taken for this one.
        marker = secrets.token_bytes(8)
        then: list[Any] = [etcd_module.put(self._keys.txn, marker)]
        try:
            for key, (value, lease) in ops.items():
                then.append(etcd_module.delete(key) if value is None else etcd_module.put(key, value, lease))
        except ValueError as error:  # etcd has no room for it: the plan's fault, and nobody else's
            raise serr.Inval("named", f"etcd cannot store it: {error}") from error
        return marker, compare, then

    async def _is_marked(self, marker: bytes) -> bool:
        """Whether a transaction that is not under way any more took effect, and put the marker ``asked``. IOErr if the
        leadership ends before etcd tells."""
        stored = await self._stored_marker()
        if stored is None or stored.value != marker:
            return False
        self._last_revision = stored.mod_revision
        return True

    async def _stored_marker(self) -> etcd_module.KeyValue | None:
        while True:
            self._guard_unknown()
            try:
                return await self._etcd.get(self._keys.txn)
            except serr.SigmaError as error:
                _log(f"outcome unknown: {error}")
                await asyncio.sleep(self._config.etcd_pause_s)

    def _guard_unknown(self) -> None:
        try:
            self._guard()
        except serr.Closed as error:
            raise serr.IOErr("named", "etcd did not tell whether the write took effect") from error

    async def _took_effect(self, marker: bytes) -> int:
        """The revision of the transaction that put the marker ``asked``; 0 if it did not take effect and never will.

        While the marker key is unchanged the transaction may still be on its way. Then an empty one is sent on the
        same footing: if it takes effect, the marker key has moved on, and the comparison of the first fails for
        ever. Closed if the leadership turns out to be lost, IOErr if it ends before the outcome is known.
        """
        probes: set[bytes] = set()
        refused = False
        while True:
            self._guard_unknown()
            try:
                stored = await self._etcd.get(self._keys.txn)
                outcome = self._read_marker(stored, marker, probes, refused=refused)
                if outcome is not None:
                    return outcome
                probe, compare, then = self._transaction({}, ())
                probes.add(probe)
                self.transactions_count += 1
                succeeded, revision = await self._etcd.transaction(compare, then)
                if succeeded:
                    self._last_revision = revision
                    return 0
                # Either the first one took effect meanwhile, or we lead no more: the marker key tells.
                refused = True
            except (UnknownOutcome, serr.Unreachable, serr.Inval, serr.Error) as error:
                # A full etcd has no room for the probe either: then the outcome stays unknown until there is some.
                _log(f"outcome unknown: {error}")
                await asyncio.sleep(self._config.etcd_pause_s)

    def _read_marker(
        self, stored: etcd_module.KeyValue | None, marker: bytes, probes: set[bytes], *, refused: bool
    ) -> int | None:
        """What the marker key says of the transaction ``asked``: its revision, 0 if it is void, None: not yet known.
        ``refused``: a probe failed its comparisons before the marker was read."""
        revision = stored.mod_revision if stored is not None else 0
        if revision == self._last_revision:
            if refused:
                # Not for the marker's sake, so for the election key's, which never comes back.
                self._on_lost("the election key is gone")
                raise serr.NotLeading("named")
            return None
        assert stored is not None
        if stored.value != marker and stored.value not in probes:
            self._on_lost("another process writes as this leader")
            raise serr.IOErr("named", "etcd did not tell whether the write took effect")
        self._last_revision = revision
        return revision if stored.value == marker else 0

    async def _why_refused(self, refused: _Waiting) -> serr.SigmaError:
        """Why a transaction failed its comparisons. Unreachable, with nothing changed, if etcd cannot be asked."""
        key = await self._etcd.get(self._leader.key)
        marker = await self._etcd.get(self._keys.txn)
        if key is None or key.create_revision != self._leader.create_revision:
            self._on_lost("the election key is gone")
            return serr.NotLeading("named")
        if (marker.mod_revision if marker else 0) != self._last_revision:
            self._on_lost("another process writes as this leader")
            return serr.NotLeading("named")
        # What is left of the comparisons is the third: a leadership that one of the plans' fences stands for.
        fences = [fence for fence in refused.fences if fence]
        for held_key, epoch in refused.held[1:]:
            present = await self._etcd.get(held_key)
            if present is None or present.create_revision != epoch:
                return self.fences.over(next(fence for fence in fences if fence.epoch == epoch))
        return self.fences.over(next(fence for fence in fences if fence.epoch == refused.held[0][1]))

    async def close(self) -> None:
        """Refuses what waits, gives what is under way a little time, and ends. May be repeated."""
        self._closed = True
        queue, self._queue = self._queue, []
        for waiting in queue:
            waiting.failed(serr.Closed("named", "stopped"))
        if self._under_way and not self._is_over:
            self._idle = asyncio.get_running_loop().create_future()
            await asyncio.wait({self._idle}, timeout=self._config.etcd_timeout_s)
        self._is_over = True
        if self._runner is not None:
            self._runner.cancel()
            await asyncio.wait({self._runner})
            self._runner = None
        # Cancelled on its way: etcd may have applied it or not.
        for waiting in self._under_way:
            waiting.failed(serr.IOErr("named", "stopped before etcd answered"))
