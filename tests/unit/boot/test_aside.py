"""Calls beside the daemon's threads: results, errors, and the end of who waits for one that hangs."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import pytest

from kernel.boot.aside import Lane, aside


async def test_what_a_call_returns_and_raises() -> None:
    assert await aside(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await aside(divmod, 7, 0)


async def test_who_is_cancelled_does_not_wait_for_the_call() -> None:
    over = threading.Event()
    waiting = asyncio.create_task(aside(over.wait))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    over.set()


def test_a_lane_is_one_thread_that_lives_on() -> None:
    lane, threads = Lane("lane"), list[threading.Thread]()
    for _ in range(2):
        lane.call(lambda: threads.append(threading.current_thread())).result(10)
    first, second = threads
    assert first is second
    assert first.is_alive()


_HANGS = """
import asyncio, threading
from kernel.boot.aside import Lane, aside
async def main():
    asyncio.create_task(aside(threading.Event().wait))
    Lane("lane").call(threading.Event().wait)
    await asyncio.sleep(0.01)
asyncio.run(main())
print("over")
"""


def test_a_process_ends_though_calls_hang() -> None:
    ended = subprocess.run([sys.executable, "-c", _HANGS], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (0, "over\n"), ended.stderr
