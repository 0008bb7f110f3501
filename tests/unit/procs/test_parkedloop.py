"""A program's own event loop parks while its proc waits for another one, and misses nothing meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING

import pytest

from sigmaos_ray.procclnt import parking
from sigmaos_ray.runner.parkedloop import ParkingSelector

if TYPE_CHECKING:
    from collections.abc import Iterator


class Parked:
    """Parks as a worker does: blocks the thread until it is called back."""

    def __init__(self) -> None:
        self.count = 0
        self.error: BaseException | None = None

    def park(self, call: parking.Awaited) -> None:
        self.count += 1
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        done = threading.Event()
        call.add_done_callback(done.set)
        assert done.wait(10)


@pytest.fixture
def parked() -> Iterator[Parked]:
    held = Parked()
    parking.install(held)
    yield held
    parking.install(None)


def run(waits: bool) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        other_ended = loop.create_future()
        timer = threading.Timer(0.3, loop.call_soon_threadsafe, [other_ended.set_result, None])
        timer.start()
        try:
            with parking.waiting() if waits else contextlib.nullcontext():
                await other_ended
            await asyncio.sleep(0.01)
        finally:
            timer.cancel()
            timer.join()

    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(ParkingSelector())) as runner:
        runner.run(main())


def test_parks_only_while_it_waits_for_a_proc(parked: Parked) -> None:
    run(waits=False)
    assert parked.count == 0
    run(waits=True)
    assert parked.count > 0
    assert parking.waits_count() == 0


def test_without_a_core_to_give_back() -> None:
    run(waits=True)


def test_an_interrupt_ends_the_parking(parked: Parked) -> None:
    parked.error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        run(waits=True)
    assert "sigmaos-select" not in " ".join(thread.name for thread in threading.enumerate())
