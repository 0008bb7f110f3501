"""A program for tests of ``Perf``: it computes, waits for a lock, allocates, and says what it has done so far."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time

import noptrace

from sigmaos_ray.perf import Perf, remote

BUSY_S = 0.4
HELD_S = 0.2


def compute(seconds: float) -> None:
    end_s = time.process_time() + seconds
    while time.process_time() < end_s:
        sum(range(1000))


def allocate() -> bytearray:
    return bytearray(8 << 20)


def contend() -> None:
    lock, is_held = threading.Lock(), threading.Event()

    def hold() -> None:
        with lock:
            is_held.set()
            time.sleep(HELD_S)

    holder = threading.Thread(target=hold)
    holder.start()
    is_held.wait()
    with lock:
        pass
    holder.join()


async def contend_as_task() -> None:
    lock = asyncio.Lock()
    async with lock, asyncio.TaskGroup() as tasks:
        tasks.create_task(wait_as_task(lock))
        await asyncio.sleep(HELD_S)
        lock.release()
        await asyncio.sleep(0)
        await lock.acquire()


async def wait_as_task(lock: asyncio.Lock) -> None:
    async with lock:
        pass


def main(how: str) -> None:
    if "forbid" in how:
        noptrace.forbid()
    if "agent" in how:
        remote.Agent()
    perf = Perf("TEST")
    print("begun", flush=True)
    objects = allocate()
    contend()
    asyncio.run(contend_as_task())
    compute(BUSY_S)
    perf.tpt_tick(len(objects))
    perf.val_tick(2.5)
    if "wait" in how:
        print("waits", os.getpid(), flush=True)
        while True:
            compute(0.01) if "spin" in how else time.sleep(60)
    perf.done()
    perf.done()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "")
