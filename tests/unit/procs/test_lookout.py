"""Who waits for a proc gives up a schedd whose name is gone: the names are made up here, and the time is short."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from sigmaos_ray import serr
from sigmaos_ray.config import Procs
from sigmaos_ray.procclnt.lookout import Lookout

WITHIN_S = 10.0
LIMITS = msgspec.structs.replace(Procs(), lookout_poll_s=0.01, gone_grace_s=0.05)


class FakeNames:
    """What a directory's cache tells."""

    def __init__(self, *names: str) -> None:
        self.names = list(names)
        self.failing = False
        self.looks_count = 0
        self.looked = asyncio.Event()

    async def get_entries(self) -> list[str]:
        self.looks_count += 1
        self.looked.set()
        if self.failing:
            raise serr.Unreachable("named")
        return self.names

    async def stop_watching(self) -> None:
        self.names = []

    async def look(self) -> None:
        """Returns after the next look."""
        self.looked.clear()
        await asyncio.wait_for(self.looked.wait(), WITHIN_S)


class Abandoned:
    """Whom the lookout gave up."""

    def __init__(self) -> None:
        self.routes: list[str] = []
        self.any = asyncio.Event()

    def __call__(self, route: str, why: str) -> None:
        assert "is gone" in why
        self.routes.append(route)
        self.any.set()


async def test_a_schedd_whose_name_is_gone_is_given_up() -> None:
    names, abandoned = FakeNames("a", "b"), Abandoned()
    lookout = Lookout(names, LIMITS, abandoned)
    lookout.leads_to("~local", "a")
    with lookout.calling("~local"), lookout.calling("b"):
        await names.look()
        names.names.remove("a")
        await asyncio.wait_for(abandoned.any.wait(), WITHIN_S)
    assert abandoned.routes == ["~local"]
    await lookout.close()


async def test_one_that_comes_back_is_not() -> None:
    """Nor one that nobody knows by its name yet."""
    names, abandoned = FakeNames(), Abandoned()
    lookout = Lookout(names, msgspec.structs.replace(LIMITS, gone_grace_s=WITHIN_S), abandoned)
    with lookout.calling("a"), lookout.calling("~local"):
        await names.look()
        await names.look()
        assert list(lookout._gone_s) == ["a"]
        names.names.append("a")
        await names.look()
        await names.look()
        assert not lookout._gone_s
    await lookout.close()
    assert not abandoned.routes


async def test_without_names_nobody_is_given_up() -> None:
    names, abandoned = FakeNames(), Abandoned()
    names.failing = True
    lookout = Lookout(names, msgspec.structs.replace(LIMITS, gone_grace_s=0.0), abandoned)
    with lookout.calling("a"):
        await names.look()
        await names.look()
        assert not abandoned.routes
        names.failing = False
        await asyncio.wait_for(abandoned.any.wait(), WITHIN_S)
    await lookout.close()


async def test_short_calls_cost_no_look() -> None:
    names = FakeNames("a")
    lookout = Lookout(names, LIMITS, Abandoned())
    with lookout.calling("a"):
        pass
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(names.looked.wait(), 5 * LIMITS.lookout_poll_s)
    assert names.looks_count == 0
    await lookout.close()
