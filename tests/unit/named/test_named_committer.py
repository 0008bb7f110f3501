"""Group commit, fences, and transactions whose fate is unknown (D-2, D-8, L-22, L-23)."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from fake_etcd import FakeEtcd, Fate

from kernel.named.committer import Committer, LeaderKey
from kernel.named.fences import StoredFence
from kernel.named.keys import Keys
from kernel.named.state import Contents, Meta, Plan
from sigmaos_ray import serr
from sigmaos_ray.config import Named, Store
from sigmaos_ray.protsrv.fences import FORGOTTEN
from sigmaos_ray.sigmap import Fence

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KEYS = Keys("r")
UNKNOWN = [Fate.LOST, Fate.UNANSWERED, Fate.LATE]


class Leader:
    """A committer on a fake etcd, and what it tells of its leadership."""

    def __init__(self, config: Named, limits: Store | None = None, *, begins_at_once: bool = False) -> None:
        self.etcd = FakeEtcd(begins_at_once=begins_at_once)
        self.key = KEYS.election + b"1"
        self.lost: list[str] = []
        self.applied: list[int] = []
        created = self.etcd.put_directly(self.key, b"")
        self.config = config
        self.limits = limits
        self.leader_key = LeaderKey(self.key, created)
        self.committer = self.successor()

    def successor(self) -> Committer:
        return Committer(self.etcd, KEYS, self.leader_key, self.config, self._guard, self._lose, self.limits)

    def _guard(self) -> None:
        if self.lost:
            raise serr.NotLeading("named")

    def _lose(self, why: str) -> None:
        self.lost.append(why)

    async def write(self, ino: int, *, fence: Fence | None = None, lease: int = 0, size_bytes: int = 1) -> int:
        plan = Plan(put_contents=[Contents(ino, Meta(0o777, 1.0), b"x" * size_bytes, lease)])
        return await self.committer.commit(plan, [fence or Fence()], lambda _: self.applied.append(ino))

    def stored(self, ino: int) -> bool:
        return self.etcd.value(KEYS.inode(ino, 0)) is not None

    def depose(self) -> None:
        self.etcd.put_directly(self.key, None)


@pytest_asyncio.fixture(params=["in a task", "at once"])
async def leader(request: pytest.FixtureRequest) -> AsyncIterator[Leader]:
    """Its transactions are sent, and settled, without a task as far as that goes, or by one."""
    limits = Named(commit_ops_max=10, commit_bytes_max=1000, etcd_timeout_s=0.2, etcd_pause_s=0)
    leader = Leader(limits, begins_at_once=request.param == "at once")
    await leader.committer.start()
    yield leader
    await leader.committer.close()


async def test_what_waits_goes_together(leader: Leader) -> None:
    revisions = await asyncio.gather(*(leader.write(ino) for ino in range(2, 47)))
    assert leader.applied == list(range(2, 47))
    assert leader.committer.transactions_count == 5
    assert revisions == sorted(revisions)


async def test_a_batch_is_bounded_by_operations_and_by_bytes(leader: Leader) -> None:
    await asyncio.gather(*(leader.write(ino) for ino in range(2, 50)))
    assert max(len(then) for _, then in leader.etcd.requests) == 10  # with the marker
    leader.etcd.requests.clear()
    await asyncio.gather(*(leader.write(ino, size_bytes=400) for ino in range(50, 54)))
    assert [len(then) - 1 for _, then in leader.etcd.requests] == [2, 2]
    await leader.write(60, size_bytes=5000)  # one plan that is larger goes alone
    assert leader.stored(60)


async def test_a_plan_on_a_lease_that_is_gone_fails_alone(leader: Leader) -> None:
    leader.etcd.gone_leases.add(7)
    results = await asyncio.gather(leader.write(2), leader.write(3, lease=7), leader.write(4), return_exceptions=True)
    assert [type(result) for result in results] == [int, serr.NotFound, int]
    assert leader.applied == [2, 4]
    assert not leader.lost


async def test_a_plan_that_etcd_has_no_room_for_fails_alone(leader: Leader) -> None:
    """It must not cost the leadership: any client may ask for it."""
    results = await asyncio.gather(
        leader.write(2), leader.write(3, lease=1 << 63), leader.write(4), return_exceptions=True
    )
    assert [type(result) for result in results] == [int, serr.Inval, int]
    assert leader.applied == [2, 4]
    assert not leader.lost


async def test_a_plan_with_an_old_fence_fails_alone(leader: Leader) -> None:
    """L-21: older is Stale, equal goes, newer is remembered; other pathnames do not matter."""
    results = await asyncio.gather(
        leader.write(2),
        leader.write(3, fence=Fence("f", 5)),
        leader.write(4, fence=Fence("f", 4)),
        leader.write(5, fence=Fence("f", 5, 1)),
        leader.write(6, fence=Fence("f", 5)),
        leader.write(7, fence=Fence("other", 1)),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [int, int, serr.Stale, int, serr.Stale, int]
    assert leader.applied == [2, 3, 5, 7]
    assert leader.committer.transactions_count == 1
    assert not leader.lost


async def test_the_next_leader_knows_the_fences(leader: Leader) -> None:
    await leader.write(2, fence=Fence("a/b", 5, 2))
    await leader.write(3, fence=Fence("gone", 1))
    await leader.committer.forget_fence("gone")
    with pytest.raises(serr.NotFound):
        await leader.committer.forget_fence("gone")
    successor = leader.successor()
    await successor.start()
    assert successor.fences.table.newest() == [Fence("a/b", 5, 2)]
    for old in (Fence("a/b", 5, 1), Fence("a/b", 4, 9)):
        with pytest.raises(serr.Stale):
            await successor.commit(Plan(), [old])
    await successor.commit(Plan(), [Fence("gone", 0)])
    await successor.close()


async def test_fences_are_forgotten_in_etcd_too() -> None:
    """With the changes that come next, a few at a time; the next leader keeps the old ones out as well."""
    config = Named(fences_forgotten_max=2, etcd_timeout_s=0.2, etcd_pause_s=0)
    leader = Leader(config, Store(fences_max=2))
    await leader.committer.start()
    leader.etcd.fates.append(Fate.FULL)
    for number in range(1, 7):
        with contextlib.suppress(serr.Error):
            await leader.write(number, fence=Fence(f"f{number}", number))
    for number in range(7, 10):
        await leader.write(number)
    stored = {number for number in range(1, 7) if leader.etcd.value(KEYS.fence(f"f{number}")) is not None}
    assert stored == {5, 6}
    successor = leader.successor()
    await successor.start()
    for committer in (leader.committer, successor):
        assert committer.fences.table.newest() == [Fence("f5", 5), Fence("f6", 6), Fence(FORGOTTEN, 4)]
        for out in (Fence("f1", 1), Fence("f4", 4), Fence("unknown", 4)):
            with pytest.raises(serr.Stale):
                await committer.commit(Plan(), [out])
        await committer.close()


async def test_a_fence_that_is_used_again_while_it_is_forgotten() -> None:
    leader = Leader(Named(fences_forgotten_max=1, etcd_timeout_s=0.2, etcd_pause_s=0), Store(fences_max=2))
    await leader.committer.start()
    fences = [Fence(f"f{number}", number) for number in range(1, 6)]
    await asyncio.gather(*(leader.write(fence.epoch, fence=fence) for fence in fences))
    await asyncio.gather(leader.write(8), leader.write(9, fence=Fence("f1", 9)), leader.write(10))
    for number in range(11, 15):
        await leader.write(number)
    successor = leader.successor()
    await successor.start()
    assert successor.fences.table.newest() == leader.committer.fences.table.newest()
    assert Fence("f1", 9) in successor.fences.table.newest()
    for committer in (leader.committer, successor):
        await committer.close()


async def test_a_newer_fence_is_stored_with_the_change_that_carries_it(leader: Leader) -> None:
    """The change fails: so does the remembering, but for this leader."""
    leader.etcd.gone_leases.add(7)
    with pytest.raises(serr.NotFound):
        await leader.write(2, fence=Fence("f", 5), lease=7)
    assert leader.etcd.value(KEYS.fence("f")) is None
    with pytest.raises(serr.Stale):
        await leader.write(3, fence=Fence("f", 4))
    await leader.write(4, fence=Fence("f", 5))
    assert leader.etcd.value(KEYS.fence("f")) is not None


async def test_a_leadership_won_here_ends_with_its_key(leader: Leader) -> None:
    """L-22: the moment its key is gone, or made anew, its changes are Stale; others go on beside them."""
    key = b"won"
    epoch = leader.etcd.put_directly(key, b"")
    record = StoredFence(epoch, 0, key)
    leader.committer.fences.load([("f", record)])
    await leader.write(2, fence=Fence("f", epoch))
    leader.etcd.put_directly(key, None)
    leader.etcd.put_directly(key, b"another's")
    results = await asyncio.gather(
        leader.write(3), leader.write(4, fence=Fence("f", epoch)), leader.write(5), return_exceptions=True
    )
    assert [type(result) for result in results] == [int, serr.Stale, int]
    assert leader.applied == [2, 3, 5]
    assert not leader.lost


async def test_a_deposed_leader_changes_nothing(leader: Leader) -> None:
    leader.depose()
    with pytest.raises(serr.Closed):
        await leader.write(2)
    assert leader.lost
    assert not leader.stored(2)
    with pytest.raises(serr.Closed):  # without asking etcd again
        await leader.write(3)
    assert len(leader.etcd.requests) == 1


async def test_another_writer_with_the_same_key_deposes(leader: Leader) -> None:
    """Also for a fenced write, which is not Stale for that."""
    epoch = leader.etcd.put_directly(b"won", b"")
    leader.committer.fences.load([("f", StoredFence(epoch, 0, b"won"))])
    leader.etcd.put_directly(KEYS.txn, b"foreign")
    with pytest.raises(serr.Closed):
        await leader.write(2, fence=Fence("f", epoch))
    assert leader.lost


# -- unknown outcomes


@pytest.mark.parametrize("silent_gets", [0, 1, 3])
@pytest.mark.parametrize("probe", [[], *([fate] for fate in UNKNOWN), UNKNOWN, UNKNOWN[::-1]])
@pytest.mark.parametrize("fate", UNKNOWN)
async def test_a_write_of_unknown_fate_takes_effect_exactly_once(
    leader: Leader, fate: Fate, probe: list[Fate], silent_gets: int
) -> None:
    """Found out, and sent again only when it cannot take effect any more; what follows is not disturbed."""
    await asyncio.gather(leader.write(2), leader.write(6))  # several: so those that follow go together
    leader.etcd.fates.extend([fate, *probe])
    leader.etcd.silent_gets = silent_gets
    first, second = await asyncio.wait_for(asyncio.gather(leader.write(3), leader.write(4)), 5)
    assert first == second
    history = leader.etcd.history[KEYS.inode(3, 0)]
    assert [revision for revision, _, _ in history] == [first]
    assert leader.applied == [2, 6, 3, 4]
    assert await leader.write(5) > first
    assert not leader.lost


@pytest.mark.parametrize("fate", UNKNOWN)
async def test_a_write_of_unknown_fate_of_a_leader_that_is_deposed(leader: Leader, fate: Fate) -> None:
    """Success only if it took effect; then a new leader sees it. Never a success that is lost."""
    leader.etcd.fates.append(fate)

    async def depose_after_the_first() -> None:
        if len(leader.etcd.requests) == 2:
            leader.depose()

    leader.etcd.before_transaction = depose_after_the_first
    if fate is Fate.UNANSWERED:
        await leader.write(2)
        assert leader.stored(2)
        return
    with pytest.raises(serr.Closed):
        await leader.write(2)
    assert leader.lost
    assert not leader.stored(2)
    assert not leader.applied


async def test_a_successor_that_wrote_hides_the_fate(leader: Leader) -> None:
    """IOErr: the marker that would tell was overwritten."""
    leader.etcd.fates.append(Fate.UNANSWERED)

    async def succeed() -> None:
        leader.etcd.before_transaction = None
        leader.depose()

    leader.etcd.before_transaction = succeed
    leader.etcd.put_directly(KEYS.txn, b"successor's")
    with pytest.raises(serr.IOErr):
        await leader.write(2)
    assert leader.lost


async def test_a_fate_that_cannot_be_known_in_time_is_an_io_error(leader: Leader) -> None:
    """As long as etcd is silent the question stands; it ends with the leadership."""
    leader.etcd.fates.append(Fate.LOST)
    leader.etcd.silent_gets = 1 << 30
    writing = asyncio.create_task(leader.write(2))
    done, _ = await asyncio.wait({writing}, timeout=0.05)
    assert not done
    leader.lost.append("the lease ran out")
    with pytest.raises(serr.IOErr):
        await asyncio.wait_for(writing, 5)


# -- callers that go away, and the end


async def test_a_cancelled_caller_is_held_until_its_plan_is_applied(leader: Leader) -> None:
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        arrived.set()
        await go_on.wait()

    leader.etcd.before_transaction = hold
    writing = asyncio.create_task(leader.write(2))
    await arrived.wait()
    for _ in range(3):
        writing.cancel()
        done, _ = await asyncio.wait({writing}, timeout=0.01)
        assert not done
    go_on.set()
    await asyncio.wait({writing})
    assert writing.cancelled()
    assert leader.applied == [2]
    assert leader.stored(2)


async def test_an_error_in_applying_ends_the_leadership(leader: Leader) -> None:
    """Memory would no longer show what etcd has."""
    plan = Plan(put_contents=[Contents(2, Meta(0o777, 1.0), b"")])
    with pytest.raises(serr.IOErr):
        await leader.committer.commit(plan, apply=lambda _: 1 // 0)  # type: ignore[arg-type]
    assert leader.lost


async def test_close_refuses_what_waits_and_what_comes(leader: Leader) -> None:
    stuck = asyncio.Event()

    async def never() -> None:
        stuck.set()
        await asyncio.Event().wait()

    leader.etcd.before_transaction = never
    under_way = asyncio.create_task(leader.write(2))
    await stuck.wait()
    waits = asyncio.create_task(leader.write(3))
    await asyncio.sleep(0)
    await leader.committer.close()
    with pytest.raises(serr.IOErr):
        await under_way
    with pytest.raises(serr.Closed):
        await waits
    with pytest.raises(serr.Closed):
        await leader.write(4)
    await leader.committer.close()


@pytest.mark.parametrize("silent_gets", [0, 1])
async def test_the_write_that_fills_etcd_took_effect(leader: Leader, silent_gets: int) -> None:
    leader.etcd.fates.append(Fate.FILLED)
    leader.etcd.silent_gets = silent_gets
    await leader.write(2)
    assert leader.applied == [2]
    await leader.write(3)
    assert leader.lost == []


async def test_a_full_etcd_refuses(leader: Leader) -> None:
    leader.etcd.fates.append(Fate.FULL)
    with pytest.raises(serr.Error, match="no space"):
        await leader.write(2)
    assert leader.applied == []
    assert not leader.stored(2)
    await leader.write(3)
    assert leader.lost == []
