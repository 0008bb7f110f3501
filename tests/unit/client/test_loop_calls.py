"""Calls from threads onto the loop thread: whoever waits for one hears of its end, also of one that was cancelled."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest

from sigmaos_ray.loopthread import LoopThread

if TYPE_CHECKING:
    from collections.abc import Iterator

WITHIN_S = 10


@pytest.fixture
def loop() -> Iterator[LoopThread]:
    thread = LoopThread()
    yield thread
    thread.stop()
    thread.loop.close()


async def for_ever() -> None:
    await asyncio.Event().wait()


async def held_up(by: threading.Event) -> None:
    """Holds up the whole loop."""
    by.wait(WITHIN_S)


def test_cancelled_while_it_runs(loop: LoopThread) -> None:
    call = loop.start(for_ever())
    loop.run(asyncio.sleep(0))
    call.cancel()
    assert call.wait(WITHIN_S)
    with pytest.raises(asyncio.CancelledError):
        call.result()


def test_cancelled_before_it_began(loop: LoopThread) -> None:
    """The loop sees the start and the cancellation in one turn."""
    gate, told = threading.Event(), threading.Event()
    holding = loop.start(held_up(gate))
    call = loop.start(for_ever())
    call.add_done_callback(told.set)
    call.cancel()
    gate.set()
    assert call.wait(WITHIN_S)
    assert told.wait(WITHIN_S)
    with pytest.raises(asyncio.CancelledError):
        call.result()
    assert holding.wait(WITHIN_S)
    assert loop.run(asyncio.sleep(0, "goes on")) == "goes on"


def test_cancelled_after_it_ended(loop: LoopThread) -> None:
    call = loop.start(asyncio.sleep(0, "done"))
    assert call.wait(WITHIN_S)
    call.cancel()
    assert call.result() == "done"


def test_interrupted_it_is_waited_for_what_it_ends(loop: LoopThread) -> None:
    """Whoever is interrupted closes the client next: what a call began must be ended by then."""
    ended = []

    async def begins_something() -> None:
        try:
            await for_ever()
        finally:
            await asyncio.sleep(0.05)
            ended.append(True)

    def interrupted(_call: object) -> None:
        loop.run(asyncio.sleep(0))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop.run(begins_something(), interrupted)
    assert ended == [True]
