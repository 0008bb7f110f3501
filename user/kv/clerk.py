"""Clerks that put a store to work, and check what it says (KV-9).

``clerk JOB`` appends to each of 100 keys and checks that its own values come back in order, each once, until it is
evicted. ``clerk JOB DURATION_S [OFFSET [SEM]]`` waits for the semaphore ``SEM``, puts and gets keys from number OFFSET
on for so long, and exits OK with the operations per second as data.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from typing import TYPE_CHECKING, Final

import msgspec

from sigmaos_ray import SigmaClnt, Status, decoding, serr
from sigmaos_ray.semclnt import Semaphore
from user.kv.blocking import KvClerk
from user.kv.clnt import AsyncKvClerk

if TYPE_CHECKING:
    from sigmaos_ray import AsyncSigmaClnt

USAGE: Final = "usage: clerk JOB [DURATION_S [OFFSET [SEM]]]"
KEYS_COUNT: Final = 100
"""Of one clerk: enough to be spread over all shards, few enough to be written often."""


class ClerkEntry(msgspec.Struct, frozen=True):
    """What a clerk without a duration appends, a line of JSON each. ``n`` counts from 0 on for each key and pid."""

    pid: str
    key: str
    n: int


_decode: Final = decoding.json_decoder(ClerkEntry)


def main(argv: list[str]) -> Status:
    """OK with the operations per second; evicted, if it was; an error that says what the store got wrong."""
    if not 1 <= len(argv) <= 4:
        sys.exit(USAGE)
    with SigmaClnt() as sc:
        sc.started()
        duration_s, offset = _duration_and_offset(argv)
        if duration_s is None:
            return sc.run(_append_until_evicted(sc.asynchronous, argv[0]))
        if len(argv) > 3:
            # After ``started``: whoever frees the semaphore waits until all clerks have started.
            Semaphore(sc, argv[3]).down()
        return _put_and_get(sc, argv[0], duration_s, offset)


def _duration_and_offset(argv: list[str]) -> tuple[float | None, int]:
    try:
        return float(argv[1]) if len(argv) > 1 else None, int(argv[2]) if len(argv) > 2 else 0
    except ValueError:
        sys.exit(USAGE)


def make_key(number: int) -> str:
    """The key of a number."""
    return f"{number:x}"


def _put_and_get(sc: SigmaClnt, job: str, duration_s: float, offset: int) -> Status:
    keys = [make_key(offset + number) for number in range(KEYS_COUNT)]
    count = 0
    with KvClerk(sc, job) as clerk:
        began_s = time.monotonic()
        while time.monotonic() < began_s + duration_s:
            key = keys[count // 2 % KEYS_COUNT]
            if count % 2:
                clerk.get(key)
            else:
                clerk.put(key, key.encode())
            count += 1
        ops_per_s = count / (time.monotonic() - began_s)
    return Status.info(f"{ops_per_s:.0f} ops/s", ops_per_s)


async def _append_until_evicted(sc: AsyncSigmaClnt, job: str) -> Status:
    clerk = AsyncKvClerk(sc, job)
    # Looked at between two calls, instead of cancelling one: of a write that is cut off nobody could say whether its
    # entry must be there.
    evicted = asyncio.create_task(sc.wait_evict(), name="kv-evicted")
    began_s = time.monotonic()
    tests_count = 0
    try:
        while not evicted.done():
            for number in range(KEYS_COUNT):
                key = make_key(number)
                entry = ClerkEntry(sc.pid, key, tests_count)
                await clerk.append(key, msgspec.json.encode(entry) + b"\n")
                check_entries(await clerk.get(key), sc.pid, key, tests_count)
                if evicted.done():
                    break
            else:
                # Only after a whole round: in the next one every key has one entry more.
                tests_count += 1
    except (serr.SigmaError, ValueError) as error:
        return Status.err(f"ntest {tests_count}: {error}")
    finally:
        evicted.cancel()
        await asyncio.wait({evicted})
        with contextlib.suppress(serr.SigmaError):
            await clerk.close()
    return Status.evicted(f"ntest {tests_count} elapsed {time.monotonic() - began_s:.1f} s")


def check_entries(value: bytes, pid: str, key: str, last: int) -> None:
    """ValueError unless a clerk's own entries are 0, 1, 2, ... ``last``."""
    entries = (_decode(line) for line in value.splitlines())
    own = [entry.n for entry in entries if entry.pid == pid]
    if own != list(range(last + 1)):
        raise ValueError(f"key {key}: {own} instead of 0..{last}")
