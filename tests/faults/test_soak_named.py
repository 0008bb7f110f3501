"""Leaders of named, and etcd, killed again and again under writes, on a whole instance with standbys: no acknowledged
write is lost, none takes effect twice, and the history of recording clients is linearizable (D-2, D-3, D-6, D-8).

Long, so it runs with `make soak`. Seeded: SIGMAOS_SOAK_SEED repeats a run's choices; SIGMAOS_SOAK_KILLS sets how many.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import threading
import time
from typing import TYPE_CHECKING

import pytest
from file_clients import ClientsRequest
from lincheck import ClientProcesses, check_kept, summary

from sigmaos_ray import serr
from sigmaos_ray.instance import STATE_FILE_NAME
from sigmaos_ray.sigmap import OAPPEND, OEXCL, OWRITE
from sigmaos_ray.testing import Tstate

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KILLS = int(os.environ.get("SIGMAOS_SOAK_KILLS", "200"))
WITHIN_S = 60.0
LINES_PER_LOG = 200
"""named rewrites a whole file with each append."""
PAUSE_S = 0.005


class Writer(threading.Thread):
    """Makes numbered files and appends their numbers to logs, and remembers what was acknowledged."""

    def __init__(self, ts: Tstate) -> None:
        super().__init__(name="soak-writer")
        self._sc = ts.new_clnt("soak")
        self.made: list[int] = []
        self.appended: list[int] = []
        self.unknown: set[int] = set()
        self.stopping = threading.Event()

    def run(self) -> None:
        number = 0
        with self._sc as sc:
            while not self.stopping.wait(PAUSE_S):
                number += 1
                try:
                    sc.put_file(f"name/soak/{number}", str(number).encode(), mode=OWRITE | OEXCL)
                    self.made.append(number)
                    log = f"name/soak-logs/{number // LINES_PER_LOG}"
                    sc.put_file(log, f"{number}\n".encode(), mode=OWRITE | OAPPEND)
                    self.appended.append(number)
                except serr.SigmaError:
                    self.unknown.add(number)


@pytest.mark.soak
async def test_no_acknowledged_write_is_lost(tmp_path: Path) -> None:
    seed = int(os.environ.get("SIGMAOS_SOAK_SEED", time.time_ns() % 1_000_000))
    print(f"SIGMAOS_SOAK_SEED={seed}")
    with Tstate(("named",), named_count=3) as ts:
        ts.sc.mkdir("name/soak")
        ts.sc.mkdir("name/soak-logs")
        state_file = str(ts.state_dir / STATE_FILE_NAME)
        requests = [
            ClientsRequest(state_file=state_file, realm=ts.sc.realm, process=name, seed=seed, pause_s=0.05)
            for name in ("p", "q")
        ]
        writer = Writer(ts)
        async with ClientProcesses(requests) as clients:
            writer.start()
            try:
                kills = await _kill_again_and_again(ts, writer, random.Random(seed))
            finally:
                writer.stopping.set()
                await asyncio.to_thread(writer.join)
            history = await clients.history()
        print(f"{kills}: {len(writer.made)} files, {len(writer.appended)} appends, {len(writer.unknown)} unknown")
        print(summary(history))
        _check_writes(ts, writer)
        report = check_kept(history, tmp_path)
        assert report.is_ok, str(report)


async def _kill_again_and_again(ts: Tstate, writer: Writer, chance: random.Random) -> str:
    counts = {"named": 0, "etcd": 0}
    longest_s = 0.0
    for _ in range(KILLS):
        await _until(lambda: {"named", "named-standby"} <= set(_services(ts)), writer)
        part = "etcd" if chance.random() < 0.05 else "named"
        began_s = time.monotonic()
        counts[part] += _kill(ts, part)
        wanted = len(writer.made) + chance.randint(2, 40)
        await _until(lambda wanted=wanted: len(writer.made) >= wanted, writer)  # type: ignore[misc]
        longest_s = max(longest_s, time.monotonic() - began_s)
    return f"{counts['named']} kills of leaders, {counts['etcd']} of etcd, writes went on within {longest_s:.1f} s"


def _services(ts: Tstate) -> dict[str, int]:
    return {role: info.pid for role, info in ts.instance.kernel_nodes[0].services.items()}


def _kill(ts: Tstate, part: str) -> bool:
    pids = _services(ts) | {child.name: child.pid for child in ts.instance.children}
    try:
        os.kill(pids[part], signal.SIGKILL)
    except (KeyError, ProcessLookupError):  # it has just ended
        return False
    return True


async def _until(condition: Callable[[], bool], writer: Writer) -> None:
    """Waits for a state that nobody announces outside of the instance."""
    deadline_s = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline_s, "the state was not reached"
        assert writer.is_alive()
        await asyncio.sleep(0.02)


def _check_writes(ts: Tstate, writer: Writer) -> None:
    there = {stat.name for stat in ts.sc.get_dir("name/soak")}
    assert {str(number) for number in writer.made} <= there
    for number in writer.made:
        assert ts.sc.get_file(f"name/soak/{number}") == str(number).encode()
    logs = [ts.sc.get_file(f"name/soak-logs/{stat.name}") for stat in ts.sc.get_dir("name/soak-logs")]
    lines = [int(line) for log in logs for line in log.split()]
    assert len(lines) == len(set(lines)), "an append took effect twice"
    assert set(writer.appended) <= set(lines) <= set(writer.appended) | writer.unknown
