"""Which lease runs which proc: latency-critical ones first (C-2), never more leases than slots, each proc once."""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING

import pytest

from kernel.schedd.leases import Ask, Cancel, Hand, LeaseBook, Over
from kernel.schedd.places import Runner
from kernel.schedd.procstate import LeasePhase, ProcState, WorkerLease
from kernel.schedd.shares import Turn
from kernel.schedd.slots import ClusterSize, Slots
from sigmaos_ray.config import Scheduling
from sigmaos_ray.machine import OsProcess
from sigmaos_ray.pb import proc_pb2 as pb

if TYPE_CHECKING:
    from typing import Any

LIMITS = Scheduling(be_per_core=2, lease_idle_s=0.5, lease_work_s=2.0, critical_first_s=5.0)
RUNNER = Runner(process=OsProcess("m", 1, 1), ray_node_id="n")


class World:
    """A book, and a Ray that begins leases when it is told to."""

    def __init__(self, cores: float = 2) -> None:
        self.now_s = 0.0
        self.slots = Slots(LIMITS, ClusterSize(cores, cores))
        self.book = LeaseBook(LIMITS, self.slots)
        self.asked: list[WorkerLease] = []
        self.handed: list[tuple[str, str]] = []
        self.over: list[WorkerLease] = []
        self.count = 0

    def spawn(self, count: int = 1, **needs: Any) -> list[ProcState]:
        procs = []
        for _ in range(count):
            proc = ProcState(pb.ProcSpec(pid=f"p{self.count}", **needs), self.count)
            self.count += 1
            self.book.put(proc, self.now_s)
            procs.append(proc)
        self.go_on()
        return procs

    def go_on(self) -> None:
        for instruction in self.book.due(self.now_s):
            match instruction:
                case Ask(lease):
                    self.asked.append(lease)
                case Cancel(lease):
                    self.asked.remove(lease)
                case Hand(lease, proc):
                    self.handed.append((lease.id, proc.pid))
                case Over(lease):
                    self.over.append(lease)

    def begin(self, count: int | None = None) -> list[WorkerLease]:
        """Ray begins so many of those that it was asked for."""
        count = len(self.asked) if count is None else count
        leases, self.asked = self.asked[:count], self.asked[count:]
        for lease in leases:
            self.come(lease)
        return leases

    def come(self, lease: WorkerLease) -> None:
        """It has nothing to run (any more)."""
        self.book.came(lease, RUNNER, self.now_s)
        self.go_on()

    def busy(self) -> list[WorkerLease]:
        return [lease for lease in self.book.all() if lease.phase is LeasePhase.BUSY]


@pytest.fixture
def world() -> World:
    return World()


def test_a_lease_takes_one_proc_after_another_in_their_order() -> None:
    world = World()
    world.spawn(10)
    assert len(world.asked) == 4
    first = world.begin(1)[0]
    world.come(first)
    world.come(first)
    assert world.handed == [(first.id, "p0"), (first.id, "p1"), (first.id, "p2")]


def test_no_more_leases_than_slots() -> None:
    world = World(cores=4)
    world.spawn(100)
    world.begin()
    world.spawn(100)
    assert len(world.busy()) == 8
    assert world.asked == []


def test_a_lease_of_a_proc_that_waits_makes_room() -> None:
    world = World()
    world.spawn(6)
    leases = world.begin()
    world.book.parked(leases[0], True)
    world.go_on()
    assert len(world.asked) == 1
    [more] = world.begin()
    world.book.parked(leases[0], False)
    world.come(more)  # one is too many now: it ends, and its proc's successor waits for another
    assert more in world.over
    assert len(world.busy()) == 4


def test_what_a_killed_proc_waited_for_is_forgotten() -> None:
    world = World()
    world.spawn(4)
    leases = world.begin()
    world.book.parked(leases[0], True)
    world.book.lost(leases[0])
    world.spawn(9)
    assert len(world.asked) == 1


def test_an_idle_lease_ends_after_a_while() -> None:
    world = World()
    world.spawn()
    [lease] = world.begin()
    world.come(lease)
    assert world.book.next_look_s() == LIMITS.lease_idle_s
    world.go_on()
    assert world.over == []
    world.now_s = LIMITS.lease_idle_s
    world.go_on()
    assert world.over == [lease]
    assert world.book.get(lease.id) is None
    assert world.book.next_look_s() is None


def test_leases_that_worked_for_long_end_together(world: World) -> None:
    """So that others of Ray's users find room for more than one of them had; then as many are asked for again."""
    world.spawn(100)
    leases = world.begin()
    world.now_s = LIMITS.lease_work_s
    for lease in leases[:3]:
        world.come(lease)
    assert world.over == leases[:3]
    assert world.asked == []
    world.come(leases[3])
    assert world.book.next_look_s() == pytest.approx(world.now_s + LIMITS.lease_pause_s)
    world.go_on()
    assert world.asked == []
    world.now_s += LIMITS.lease_pause_s
    world.go_on()
    assert len(world.asked) == 4


def test_a_long_proc_holds_the_others_up_for_a_moment_only(world: World) -> None:
    world.spawn(100)
    leases = world.begin()
    world.now_s = LIMITS.lease_work_s
    world.come(leases[0])
    assert world.book.next_look_s() == pytest.approx(world.now_s + LIMITS.lease_break_s)
    world.now_s += LIMITS.lease_break_s
    world.go_on()
    assert len(world.asked) == 1


def test_leases_take_turns_while_procs_come_one_at_a_time() -> None:
    world = World()
    used = []
    for _ in range(8):
        world.spawn()
        world.begin()
        [lease] = world.busy()
        used.append(lease.id)
        world.come(lease)
        world.now_s += 0.01
    assert len(set(used)) == 2
    assert all(now != before for before, now in itertools.pairwise(used[2:]))


def test_cores_are_left_for_one_that_waits() -> None:
    world = World(cores=4)
    world.spawn(40)
    leases = world.begin()
    [critical] = world.spawn(mcpu=3000)
    [asked] = world.asked
    assert asked.needs.mcpu == 3000
    for lease in leases:
        world.come(lease)
    assert len(world.over) == 6
    assert len(world.busy()) == 2
    world.begin()
    assert world.handed[-1][1] == critical.pid
    assert len(world.asked) == 6  # its cores are taken: Ray knows, and begins no more than fit
    world.come(asked)
    assert asked in world.over  # what was reserved for one is free with its end


def test_others_go_on_after_a_while() -> None:
    world = World(cores=4)
    world.spawn(mcpu=4000)
    world.spawn(3)
    assert [lease.needs.mcpu for lease in world.asked] == [4000]
    assert world.slots.holds_until(0) == LIMITS.critical_first_s
    world.now_s = LIMITS.critical_first_s
    world.go_on()
    assert len(world.asked) == 4


def test_what_no_node_has_holds_nobody_up() -> None:
    world = World(cores=4)
    world.spawn(mcpu=64_000)
    world.spawn(8)
    assert len(world.asked) == 9


def test_withdrawn() -> None:
    world = World()
    [waiting, critical] = [*world.spawn(), *world.spawn(mcpu=500)]
    assert world.book.withdraw(waiting)
    assert not world.book.withdraw(waiting)
    assert world.book.withdraw(critical)
    world.go_on()
    assert [lease.needs.mcpu for lease in world.asked] == [0]  # of the other one Ray is asked no more
    world.begin()
    assert world.handed == []


def test_a_lease_serves_procs_of_its_needs_alone() -> None:
    world = World()
    world.spawn()
    world.begin()
    world.spawn(package="a")
    world.spawn(mem_mb=10)
    world.spawn(kernels=["k"])
    assert sorted((lease.needs.package, lease.needs.mem_mb, lease.needs.is_here) for lease in world.asked) == [
        ("", 0.0, True),
        ("", 10.0, False),
        ("a", 0.0, False),
    ]


def test_idle_leases_make_room_for_procs_of_other_needs() -> None:
    world = World()
    world.spawn(4)
    leases = world.begin()
    for lease in leases:
        world.come(lease)
    world.spawn(package="a")
    assert [lease.needs.package for lease in world.asked] == ["a"]
    assert len(world.over) == 1


def test_procs_of_one_kind_do_not_keep_those_of_another_waiting() -> None:
    world = World()
    world.spawn(50)
    leases = world.begin()
    world.spawn(package="a")
    world.now_s = LIMITS.lease_work_s
    served = []
    for _ in range(12):
        for lease in [lease for lease in leases if lease.phase is LeasePhase.BUSY]:
            world.come(lease)
        world.now_s += LIMITS.lease_work_s
        world.go_on()
        leases = world.begin() or leases
        served += [pid for _, pid in world.handed if pid == "p50"]
    assert served


def test_what_was_handed_out_and_did_not_begin_comes_first() -> None:
    world = World()
    world.spawn(3)
    [lease] = world.begin(1)
    proc = world.book.lost(lease)
    assert proc is not None
    world.book.put_back(proc, world.now_s)
    world.go_on()
    world.begin()
    assert [pid for _, pid in world.handed] == ["p0", "p0", "p1", "p2"]


def test_what_ray_has_not_begun_is_asked_for_anew_after_a_loss() -> None:
    world = World()
    world.spawn(3)
    given_up = world.book.forget_asked()
    assert given_up == world.asked
    world.asked.clear()
    world.go_on()
    assert len(world.asked) == 3
    assert not set(world.asked) & set(given_up)


def test_of_several_realms_each_has_its_share() -> None:
    world = World(cores=2)
    world.spawn(40)
    leases = world.begin()
    world.slots.turn = Turn(realms_count=2)
    for lease in leases:
        world.come(lease)
    assert len(world.over) == 2
    assert len(world.busy()) == 2
    world.slots.turn = Turn()
    world.go_on()
    assert len(world.asked) == 2


def test_made_ready_ahead() -> None:
    world = World()
    world.book.ask_ahead(3)
    world.go_on()
    assert len(world.asked) == 3
    world.begin()
    world.spawn()
    assert len(world.handed) == 1
    assert world.asked == []


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_each_proc_runs_once_and_all_run(seed: int) -> None:
    rng = random.Random(seed)
    world = World(cores=rng.choice([1, 2, 4]))
    ended: list[str] = []
    spawned: list[ProcState] = []
    needs: list[dict[str, Any]] = [{}, {}, {}, {"mcpu": 700}, {"mem_mb": 5}, {"package": "a"}, {"kernels": ["k"]}]
    for step in range(400):
        world.now_s += rng.choice([0.0, 0.01, 0.3])
        if step < 200 and rng.random() < 0.5:
            spawned += world.spawn(rng.randint(1, 4), **rng.choice(needs))
        if world.asked and rng.random() < 0.6:
            world.begin(rng.randint(1, len(world.asked)))
        for lease in world.busy():
            assert lease.proc is not None
            what = rng.random()
            if what < 0.3:
                ended.append(lease.proc.pid)
                world.come(lease)
            elif what < 0.4:
                world.book.parked(lease, not lease.parked)
            elif what < 0.43:
                proc = world.book.lost(lease)
                assert proc is not None
                world.book.put_back(proc, world.now_s)
        world.go_on()
        holding = [lease for lease in world.book.all() if lease.needs.is_plain and not lease.parked]
        assert len({lease.proc.pid for lease in world.busy() if lease.proc}) == len(world.busy())
        # Those that come back from a wait may be too many; then there is none beside them.
        are_all_busy = all(lease.phase is LeasePhase.BUSY for lease in holding)
        assert are_all_busy or len(holding) <= world.slots.window(world.now_s)
    while len(ended) < len(spawned):
        world.now_s += 0.1
        world.begin()
        assert world.busy(), (world.book.report(), len(ended), len(spawned))
        for lease in world.busy():
            assert lease.proc is not None
            ended.append(lease.proc.pid)
            world.come(lease)
    assert sorted(ended) == sorted(proc.pid for proc in spawned)
    world.now_s += LIMITS.lease_idle_s
    world.go_on()
    world.begin()
    world.now_s += LIMITS.lease_idle_s
    world.go_on()
    assert list(world.book.all()) == []
