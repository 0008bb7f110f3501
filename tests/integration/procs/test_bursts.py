"""Several procs at once: bursts, children, ends as they come, futures (X-13, X-14, X-26, X-36, X-37)."""

from __future__ import annotations

import asyncio
import concurrent.futures
from typing import TYPE_CHECKING, Any

import pytest

from sigmaos_ray import AsyncSigmaClnt, Proc, SigmaClnt, Status, serr
from sigmaos_ray.rpcclnt.channel import Channel

if TYPE_CHECKING:
    from sigmaos_ray.sigmap import Endpoint

WAIT_S = 30.0


def naps(*seconds: float) -> list[Proc]:
    return [Proc("programs.nap", [str(each)]) for each in seconds]


def until_evicted() -> list[Proc]:
    return [Proc(waits) for _ in range(2)]


def waits(argv: list[str]) -> Status:
    with SigmaClnt() as sc:
        sc.started()
        return sc.wait_exit_chan().result()


def spawns_two(argv: list[str]) -> list[list[str]]:
    """Its children: those of one client of its own, those once one was collected."""
    with SigmaClnt() as sc:
        procs = [Proc("programs.nop") for _ in range(2)]
        sc.spawn_burst(procs)
        before = sc.get_children()
        sc.wait_exit(procs[0].pid, WAIT_S)
        return [[proc.pid for proc in procs], before, sc.get_children()]


@pytest.mark.parametrize("count", [1, 150])
def test_a_burst_runs_all(sc: SigmaClnt, count: int) -> None:
    procs = [Proc(lambda argv: int(argv[0]) ** 2, [str(number)]) for number in range(count)]
    assert sc.spawn_burst(procs) == ([], [])
    assert [sc.wait_exit(proc.pid, WAIT_S).data for proc in procs] == [number**2 for number in range(count)]


def test_a_burst_is_few_messages(sc: SigmaClnt, monkeypatch: pytest.MonkeyPatch) -> None:
    sc.procs()  # the channel is there
    methods: list[str] = []
    real = Channel.call

    async def noting(channel: Channel, method: str, *args: Any) -> bytes:
        methods.append(method)
        return await real(channel, method, *args)

    monkeypatch.setattr(Channel, "call", noting)
    procs = [Proc("programs.nop") for _ in range(100)]
    assert sc.spawn_burst(procs) == ([], [])
    assert methods.count("Schedd.SpawnBurst") == 2
    assert "Schedd.Spawn" not in methods
    assert all(status.is_ok() for _, status in sc.as_completed(proc.pid for proc in procs))


def test_a_burst_tells_which_failed(sc: SigmaClnt) -> None:
    procs = [Proc("programs.nop", pid=pid) for pid in ("burst-a", "burst-b", "burst-a")]
    procs.append(Proc("programs.nop", kernels=["sigma-nowhere"]))
    failed, errors = sc.spawn_burst(procs)
    assert failed == [procs[2], procs[3]]
    assert [type(error) for error in errors] == [serr.Exists, serr.NotFound]
    assert {pid: status.is_ok() for pid, status in sc.as_completed(["burst-a", "burst-b"])} == {
        "burst-a": True,
        "burst-b": True,
    }


def test_no_burst(sc: SigmaClnt) -> None:
    assert sc.spawn_burst([]) == ([], [])
    with pytest.raises(serr.Inval):
        sc.spawn_burst([], 0)


def test_a_burst_whose_reply_is_lost_ran(sc: SigmaClnt, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Channel.call

    async def losing(channel: Channel, method: str, *args: Any) -> bytes:
        result = await real(channel, method, *args)
        if method == "Schedd.SpawnBurst":
            raise serr.IOErr(method, "a test")
        return result

    monkeypatch.setattr(Channel, "call", losing)
    procs = [Proc("programs.nop") for _ in range(3)]
    assert sc.spawn_burst(procs) == ([], [])
    assert all(sc.wait_exit(proc.pid, WAIT_S).is_ok() for proc in procs)


def test_procs_are_told_as_they_end_and_collected(sc: SigmaClnt) -> None:
    slow, fast = naps(1.0, 0.0)
    sc.spawn_burst([slow, fast])
    assert [pid for pid, _ in sc.as_completed([slow.pid, fast.pid], WAIT_S)] == [fast.pid, slow.pid]
    for proc in (slow, fast):
        with pytest.raises(serr.NotFound):
            sc.wait_exit(proc.pid, WAIT_S)


def test_what_was_not_told_is_left(sc: SigmaClnt) -> None:
    """After a break, and after a time-out; those that ended before it are told first."""
    procs = naps(0.0, 0.0)
    sc.spawn_burst(procs)
    pid, _ = next(iter(sc.as_completed(proc.pid for proc in procs)))
    (rest,) = (proc.pid for proc in procs if proc.pid != pid)
    assert sc.wait_exit(rest, WAIT_S).is_ok()
    waiting = Proc(waits)
    sc.spawn(waiting)
    with pytest.raises(serr.Timeout):
        list(sc.as_completed([waiting.pid], 0.01))
    with pytest.raises(serr.Timeout):
        list(sc.as_completed([waiting.pid], 0))
    sc.evict(waiting.pid)
    assert [status.is_evicted() for _, status in sc.as_completed([waiting.pid], WAIT_S)] == [True]


def test_a_time_out_of_0_tells_what_has_ended(sc: SigmaClnt) -> None:
    ended, waiting = Proc("programs.nop"), Proc(waits)
    sc.spawn_burst([waiting, ended])
    sc.wait_exit(ended.pid, WAIT_S, peek=True)
    ends = sc.as_completed([waiting.pid, ended.pid], 0)
    assert next(ends) == (ended.pid, Status.ok())
    with pytest.raises(serr.Timeout):
        next(ends)
    sc.evict(waiting.pid)
    sc.wait_exit(waiting.pid, WAIT_S)


def test_an_unknown_pid_is_an_error(sc: SigmaClnt) -> None:
    with pytest.raises(serr.NotFound, match="no-such-proc"):
        list(sc.as_completed(["no-such-proc"], WAIT_S))


def test_on_asyncio(sc: SigmaClnt, named: Endpoint) -> None:
    async def main() -> list[object]:
        async with AsyncSigmaClnt(sc.asynchronous.proc_env) as mine:
            procs = naps(0.0, 0.2)
            assert await mine.spawn_burst(procs) == ([], [])
            assert sorted(await mine.get_children()) == sorted(proc.pid for proc in procs)
            chan = mine.wait_exit_chan(procs[1].pid)
            told = [pid async for pid, _ in mine.as_completed([procs[0].pid], WAIT_S)]
            return [told == [procs[0].pid], (await chan).is_ok(), await mine.get_children()]

    assert asyncio.run(main()) == [True, True, []]


def test_children_are_those_that_were_not_collected(sc: SigmaClnt) -> None:
    proc = Proc(spawns_two)
    sc.spawn(proc)
    data: Any = sc.wait_exit(proc.pid, WAIT_S).data
    pids, before, after = data
    assert sorted(before) == sorted(pids)
    assert after == pids[1:]


def test_futures_of_statuses_and_of_the_own_eviction(sc: SigmaClnt) -> None:
    procs = [*until_evicted(), Proc("programs.nop")]
    sc.spawn_burst(procs)
    chans = {sc.wait_exit_chan(proc.pid): proc for proc in procs}
    done, rest = concurrent.futures.wait(chans, WAIT_S, concurrent.futures.FIRST_COMPLETED)
    assert [chans[chan] for chan in done] == [procs[2]]
    for proc in procs[:2]:
        sc.evict(proc.pid)
    assert [chan.result(WAIT_S).is_evicted() for chan in rest] == [True, True]


def test_a_future_that_is_cancelled_leaves_the_status(sc: SigmaClnt) -> None:
    proc = Proc(waits)
    sc.spawn(proc)
    assert sc.wait_exit_chan(proc.pid).cancel()
    sc.evict(proc.pid)
    assert sc.wait_exit(proc.pid, WAIT_S).is_evicted()


def test_futures_end_with_their_client(sc: SigmaClnt, other: SigmaClnt) -> None:
    proc = Proc(waits)
    sc.spawn(proc)
    with SigmaClnt(other.asynchronous.proc_env) as closing:
        chan = closing.wait_exit_chan(proc.pid)
    with pytest.raises(concurrent.futures.CancelledError):
        chan.result(WAIT_S)
    with pytest.raises(serr.Unreachable):
        closing.wait_exit_chan(proc.pid)
    sc.evict(proc.pid)
    sc.wait_exit(proc.pid, WAIT_S)
