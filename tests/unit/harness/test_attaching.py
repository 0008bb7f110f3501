"""Which of several addresses a client ends up at."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from sigmaos_ray import serr
from sigmaos_ray.config import Locating
from sigmaos_ray.fslib.attaching import Search

if TYPE_CHECKING:
    from collections.abc import Callable

LIMITS = Locating(stagger_s=0.001, ask_again_s=0.001)


class Servers:
    """What is at each address: it serves, it refuses and may know the leader, or it never answers (None)."""

    def __init__(self, **at: serr.SigmaError | str | None) -> None:
        self.at = at
        self.later: dict[str, serr.SigmaError | str | None] = {}
        """What is at an address when it is asked for the third time."""
        self.asked: list[str] = []
        self.given_back: list[str] = []

    async def attach(self, address: str) -> str:
        self.asked.append(address)
        present = self.at | (self.later if self.asked.count(address) == 3 else {})
        outcome = present[address]
        if outcome is None:
            await asyncio.Event().wait()
        if isinstance(outcome, serr.SigmaError):
            raise outcome
        return address

    async def search(self, *addresses: str, follows: bool = True, but_not: str = "") -> str:
        give_back: Callable[[str], None] = self.given_back.append
        search = Search(addresses, self.attach, give_back, LIMITS, follows=follows, but_not=but_not)
        return await asyncio.wait_for(search.run(), 10)


def stands_by(*leader: str) -> serr.NotLeading:
    return serr.NotLeading("named", "srv not elected", leader)


async def test_the_first_that_serves_is_taken() -> None:
    servers = Servers(a=serr.Unreachable("a"), b="", c="")
    assert await servers.search("a", "b", "c") == "b"
    assert servers.asked == ["a", "b"]


async def test_one_that_does_not_answer_is_not_waited_for() -> None:
    assert await Servers(a=None, b="").search("a", "b") == "b"


async def test_who_stands_by_says_who_leads() -> None:
    servers = Servers(a=stands_by("b"), b=stands_by("c"), c="")
    assert await servers.search("a") == "c"


async def test_only_who_looks_for_named_is_sent_elsewhere() -> None:
    servers = Servers(a=stands_by("b"), b="")
    with pytest.raises(serr.Unreachable):
        await servers.search("a", follows=False)
    assert servers.asked == ["a"]


async def test_who_stands_by_is_asked_again_while_another_is_silent() -> None:
    servers = Servers(a=None, b=stands_by("a"))
    servers.later["b"] = ""
    assert await servers.search("a", "b") == "b"
    assert servers.asked == ["a", "b", "b", "b"]


async def test_the_one_that_is_not_meant_is_not_asked_though_others_name_it() -> None:
    servers = Servers(a="", b=stands_by("a"))
    with pytest.raises(serr.Unreachable):
        await servers.search("a", "b", but_not="a")
    assert servers.asked == ["b"]


async def test_two_that_name_each_other_are_no_circle() -> None:
    servers = Servers(a=stands_by("b"), b=stands_by("a"))
    with pytest.raises(serr.Unreachable):
        await servers.search("a")


async def test_other_errors_are_told_at_once() -> None:
    with pytest.raises(serr.Perm):
        await Servers(a=serr.Perm("a"), b="").search("a", "b")


async def test_none_at_all() -> None:
    with pytest.raises(serr.Unreachable, match="without an address"):
        await Servers().search()


async def test_what_is_not_needed_is_given_back() -> None:
    servers = Servers(a="", b="")
    both = asyncio.Event()

    async def attach(address: str) -> str:
        servers.asked.append(address)
        if len(servers.asked) == 2:
            both.set()
        await both.wait()
        return address

    search = Search(["a", "b"], attach, servers.given_back.append, LIMITS)
    found = await asyncio.wait_for(search.run(), 10)
    assert {found, *servers.given_back} == {"a", "b"}
