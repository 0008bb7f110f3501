"""The ends of several procs as they come: the waits are made up here."""

from __future__ import annotations

import asyncio

import pytest

from sigmaos_ray import serr
from sigmaos_ray.config import Procs
from sigmaos_ray.pb import proc_pb2 as pb
from sigmaos_ray.procclnt.completed import Ends
from sigmaos_ray.procclnt.exits import Exits

WITHIN_S = 10.0


class Fakes:
    """Procs that end when they are told to, and who waits for them."""

    def __init__(self) -> None:
        self.exits = Exits(Procs())
        self._ends: dict[str, asyncio.Future[pb.StatusReply]] = {}

    def end(self, pid: str, error: serr.SigmaError | None = None) -> None:
        future = self._end_of(pid)
        if error is None:
            future.set_result(pb.StatusReply())
        else:
            future.set_exception(error)

    def _end_of(self, pid: str) -> asyncio.Future[pb.StatusReply]:
        return self._ends.setdefault(pid, asyncio.get_running_loop().create_future())

    async def wait(self, pid: str) -> pb.StatusReply:
        return await self._end_of(pid)

    def ends(self, *pids: str, at_once_max: int = 100) -> Ends:
        return Ends(pids, lambda pid: self.exits.under_way(pid, lambda: self.wait(pid)), at_once_max)


async def test_they_come_as_they_end_each_once() -> None:
    procs = Fakes()
    ends = procs.ends("a", "b", "a", "c")
    told = []
    for pid in ("c", "a", "b"):
        procs.end(pid)
        told.append((await ends.next(WITHIN_S))[0])
    assert told == ["c", "a", "b"]
    assert not ends


async def test_a_time_out_leaves_those_that_did_not_end() -> None:
    procs = Fakes()
    ends = procs.ends("a", "b")
    procs.end("b")
    assert (await ends.next(WITHIN_S))[0] == "b"
    with pytest.raises(serr.Timeout, match="1 procs"):
        await ends.next(0.01)
    procs.end("a")
    (_, is_first) = await procs.exits.wait("a", lambda: procs.wait("a"), WITHIN_S)
    assert is_first


async def test_of_many_some_are_waited_for_at_a_time() -> None:
    procs = Fakes()
    ends = procs.ends(*"abc", at_once_max=2)
    for pid in "cba":
        procs.end(pid)
    assert {(await ends.next(WITHIN_S))[0] for _ in range(3)} == set("abc")


async def test_what_cannot_be_waited_for_is_told() -> None:
    procs = Fakes()
    ends = procs.ends("a")
    procs.end("a", serr.NotFound("a"))
    pid, wait = await ends.next(WITHIN_S)
    with pytest.raises(serr.NotFound):
        procs.exits.take(pid, wait)


async def test_two_who_wait_both_get_it_and_one_collects() -> None:
    procs = Fakes()
    both = [procs.ends("a"), procs.ends("a")]
    procs.end("a")
    told = [await ends.next(WITHIN_S) for ends in both]
    assert [procs.exits.take(*each)[1] for each in told] == [True, False]


async def test_waits_of_a_client_that_is_closed() -> None:
    procs = Fakes()
    ends = procs.ends("a")
    with pytest.raises(serr.Timeout):
        await ends.next(0.01)
    await procs.exits.close()
    with pytest.raises(serr.Unreachable, match="closed"):
        procs.exits.take(*await ends.next(WITHIN_S))
