"""Which schedd gets a proc, as the schedds tell their loads."""

from __future__ import annotations

import asyncio
from collections import Counter

import msgspec
import pytest

from sigmaos_ray import Proc, serr
from sigmaos_ray.config import Procs
from sigmaos_ray.procclnt.placing import Placing
from sigmaos_ray.procclnt.spawning import Load

IDLE = Load(cores=2, wanted_cores=0, mem_mb=1000, wanted_mem_mb=0, be_cores=0.5)
FULL = IDLE._replace(wanted_cores=2)
LIMITS = msgspec.structs.replace(Procs(), load_timeout_s=0.01, loads_asked_max=2)


class Schedds:
    """Those that are there, and what they answer: None is silence."""

    def __init__(self, **loads: Load | serr.SigmaError | None) -> None:
        self.loads = loads
        self.asked: list[str] = []
        self.placing = Placing(self.near, self.all, self.load_of, LIMITS)

    async def near(self) -> str:
        return "near"

    async def all(self) -> list[str]:
        return list(self.loads)

    async def load_of(self, kernel: str) -> Load:
        self.asked.append(kernel)
        load = self.loads[kernel]
        if load is None:
            await asyncio.get_running_loop().create_future()
        if isinstance(load, serr.SigmaError):
            raise load
        assert load is not None
        return load


async def test_a_proc_without_preferences_goes_near_and_nobody_is_asked() -> None:
    schedds = Schedds(a=IDLE)
    assert await schedds.placing.choose(Proc("example")) == "near"
    assert schedds.asked == []


async def test_of_several_one_with_room_gets_it() -> None:
    schedds = Schedds(a=FULL, b=FULL, c=IDLE, d=FULL)
    assert await schedds.placing.choose(Proc("example", kernels=["a", "b", "c", "d", "gone"])) == "c"


async def test_if_none_has_room_the_least_loaded_gets_it() -> None:
    schedds = Schedds(a=FULL._replace(wanted_cores=9), b=FULL._replace(wanted_cores=5), c=FULL._replace(wanted_cores=7))
    assert await schedds.placing.choose(Proc("example", kernels=["a", "b", "c"])) == "b"


async def test_the_only_one_is_not_asked() -> None:
    schedds = Schedds(a=FULL, b=IDLE)
    assert await schedds.placing.choose(Proc("example", kernels=["a", "gone"])) == "a"
    assert schedds.asked == []


async def test_those_that_do_not_answer_are_passed_over() -> None:
    schedds = Schedds(a=None, b=serr.Unreachable("b"), c=FULL)
    assert await schedds.placing.choose(Proc("example", kernels=["a", "b", "c"])) == "c"


async def test_if_nobody_answers_one_is_tried() -> None:
    schedds = Schedds(a=None, b=serr.Unreachable("b"))
    assert await schedds.placing.choose(Proc("example", kernels=["a", "b"])) in ("a", "b")


async def test_none_is_there() -> None:
    with pytest.raises(serr.NotFound, match="elsewhere"):
        await Schedds(a=IDLE).placing.choose(Proc("example", kernels=["elsewhere"]))


async def test_a_burst_goes_round_and_the_next_goes_on() -> None:
    placing = Schedds(a=IDLE, b=FULL, c=FULL).placing
    procs = [Proc("example") for _ in range(4)]
    places = [*map(str, await placing.spread(procs, 1)), *map(str, await placing.spread(procs, 1))]
    assert set(places[:3]) == set("abc")
    assert places[3:] == places[:5], "the same turn all along"


async def test_so_many_of_a_burst_to_each() -> None:
    places = await Schedds(a=IDLE, b=IDLE).placing.spread([Proc("example") for _ in range(8)], 4)
    assert len(set(map(str, places[:4]))) == len(set(map(str, places[4:]))) == 1
    assert places[0] != places[4]


async def test_a_burst_fills_the_nodes_that_it_prefers_and_asks_each_once() -> None:
    schedds = Schedds(a=IDLE, b=IDLE._replace(cores=4), c=IDLE)
    places = await schedds.placing.spread([Proc("example", kernels=["a", "b"]) for _ in range(12)], 1)
    assert Counter(map(str, places)) == {"a": 4, "b": 8}
    assert sorted(schedds.asked) == ["a", "b"]


async def test_a_proc_of_a_burst_whose_nodes_are_gone() -> None:
    places = await Schedds(a=IDLE).placing.spread([Proc("example", kernels=["gone"]), Proc("example")], 1)
    assert isinstance(places[0], serr.NotFound)
    assert places[1] == "a"
