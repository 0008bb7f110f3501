"""What a lease tells its schedd of a proc while it runs, and what it heeds."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from leases import INSTANCE

from kernel.schedd.agent import RunningProc, ServedLease
from kernel.schedd.leasing import _unheard
from kernel.schedd.procstate import ProcState
from sigmaos_ray import SigmaClnt, config
from sigmaos_ray.pb import proc_pb2 as pb
from sigmaos_ray.proc import Proc, Status

if TYPE_CHECKING:
    from leases import Lease

WAIT_S = 30.0
NUMBER = 7


class Schedd(ServedLease):
    """A lease whose schedd is this test."""

    def __init__(self, lease: Lease) -> None:
        self.heard = pb.LeaseHeedRequest()
        self.told: list[dict[str, Any]] = []
        self.has_heard = threading.Event()
        self._lease = lease

    @property
    def log_dir(self) -> str:
        return str(self._lease.log_dir)

    @property
    def instance(self) -> bytes:
        return INSTANCE.to_json().encode()

    def begins(self, number: int) -> None:
        assert number == NUMBER

    def span(self, span: object) -> None:
        """Nobody draws one."""

    def runner_pb(self, process: object) -> pb.LeaseRunner:
        return pb.LeaseRunner(kernel_id="sigma-1")

    def tell_soon(self, proc: pb.LeasedProc, **what: Any) -> None:
        self.told.append(what)
        self.has_heard.set()

    # -- what it does

    def begin(self, program: Any, *, start_awaited: bool = False) -> None:
        spec = Proc(program).to_pb()
        got = pb.LeaseNextReply(proc=spec, number=NUMBER, start_awaited=start_awaited)
        self.running = RunningProc(self, got)

    def status(self) -> Status:
        """Runs it to its end."""

        async def run() -> pb.ProcStatus:
            return await self.running.run(await self._lease.templates.take(self.running._spec))

        return Status.from_pb(self._lease.run(run()))


def short() -> None:
    sc = SigmaClnt()
    sc.started()
    sc.clnt_exit_ok()


def until_evicted() -> None:
    sc = SigmaClnt()
    sc.started()
    sc.wait_evict(timeout_s=WAIT_S)


@pytest.fixture
def schedd(lease: Lease) -> Schedd:
    schedd = Schedd(lease)
    for _ in range(2):  # then its modules are imported ahead
        schedd.begin(lambda _: short())
        schedd.status()
    schedd.told.clear()
    schedd.has_heard.clear()
    return schedd


@pytest.fixture
def all_are_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy this machine is."""
    workers = msgspec.structs.replace(config.LOCAL.workers, notice_after_s=2 * WAIT_S)
    monkeypatch.setattr(config, "LOCAL", msgspec.structs.replace(config.LOCAL, workers=workers))


@pytest.mark.usefixtures("all_are_short")
def test_the_end_of_a_proc_says_what_was_not_told(schedd: Schedd) -> None:
    schedd.begin(lambda _: short())
    assert schedd.status().is_ok()
    assert schedd.running.has_started
    assert schedd.told == []


@pytest.mark.usefixtures("all_are_short")
def test_a_start_that_somebody_waits_for_is_told_at_once(schedd: Schedd, lease: Lease) -> None:
    schedd.begin(lambda _: short(), start_awaited=True)
    assert schedd.status().is_ok()
    assert schedd.told == [{"started": True, "runner": schedd.runner_pb(None)}]
    assert lease.log(schedd.running.proc.pid), "who waited for it may look at its log"


def test_a_proc_that_stays_is_told_of_and_heeds(schedd: Schedd, lease: Lease) -> None:
    def evict() -> None:
        schedd.heard.evicted = NUMBER
        schedd.running.heed()

    def evict_once_heard() -> None:
        schedd.has_heard.wait(WAIT_S)
        lease.do(evict)

    schedd.begin(lambda _: until_evicted())
    evicting = threading.Thread(target=evict_once_heard)
    evicting.start()
    schedd.status()
    evicting.join()
    assert any("runner" in what for what in schedd.told)
    assert schedd.running.has_started


def test_what_was_heard_before_the_process_was_there_counts(schedd: Schedd) -> None:
    schedd.heard.evicted = NUMBER
    schedd.begin(lambda _: until_evicted())
    schedd.status()
    assert schedd.running.has_started


def test_what_another_proc_was_to_do_is_nothing_to_this_one(schedd: Schedd) -> None:
    schedd.heard.evicted = schedd.heard.killed = NUMBER - 1
    schedd.begin(lambda _: short())
    assert schedd.status().is_ok()


def test_a_lease_is_told_until_it_says_that_it_heard() -> None:
    proc = ProcState(pb.ProcSpec(pid="p"), NUMBER)
    nothing = pb.LeaseHeedRequest()
    assert _unheard(None, nothing) is None
    assert _unheard(proc, nothing) is None
    proc.evicting = proc.start_awaited = True
    for _ in range(2):
        assert _unheard(proc, nothing) == pb.LeaseHeedReply(evicted=NUMBER, start_awaited=NUMBER)
    assert _unheard(proc, pb.LeaseHeedRequest(evicted=NUMBER)) == pb.LeaseHeedReply(start_awaited=NUMBER)
    proc.started = True
    assert _unheard(proc, pb.LeaseHeedRequest(evicted=NUMBER)) is None
    proc.killing = "it must"
    assert _unheard(proc, pb.LeaseHeedRequest(evicted=NUMBER)) == pb.LeaseHeedReply(killed=NUMBER)
    assert _unheard(proc, pb.LeaseHeedRequest(evicted=NUMBER, killed=NUMBER)) is None
