"""Calls with a time-out under servers that are stopped (SIGSTOP), before the call or meanwhile.

Claim: each ends at most half a second after its time, with all that it cleans up.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from named_child import REALM
from waits import GIVEN_UP, LEADING, WAITS

from sigmaos_ray import serr
from sigmaos_ray.config import ProcEnv
from sigmaos_ray.electclnt import AsyncElectClnt
from sigmaos_ray.sessp.channel import close_channels
from sigmaos_ray.sigmaclnt import AsyncSigmaClnt
from sigmaos_ray.sigmap import Endpoint

if TYPE_CHECKING:
    from etcd_child import EtcdChild
    from waits import Wait

TIMEOUT_S: Final = 1.0
OVER_S: Final = 0.5
LEASE_S: Final = "60"
"""Of named, which is stopped half of the time."""
BENCH: Final = Path(__file__).parent


async def started(script: Path, *args: str) -> tuple[asyncio.subprocess.Process, str]:
    """A server's process, and its address."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(script), *args, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    return process, (await process.stdout.readline()).decode().strip()


async def took_s(name: str, call: Wait, sc: AsyncSigmaClnt, directory: str) -> float:
    began_s = time.monotonic()
    try:
        await call(sc, directory, TIMEOUT_S)
    except serr.Timeout:
        return time.monotonic() - began_s
    raise AssertionError(f"{name} did not time out")


async def measure(
    what: str, sc: AsyncSigmaClnt, directory: str, process: asyncio.subprocess.Process, calls: dict[str, Wait]
) -> None:
    """One call after the other: each for itself, as a program makes it."""
    await sc.put_file(f"{directory}/f", b"")
    await sc.makedirs(f"{directory}/full/d")
    worst: dict[str, float] = {}
    for pause_s in (0.0, TIMEOUT_S / 2):
        for name, call in calls.items():
            if pause_s and name in GIVEN_UP:
                continue
            await sc.get_file(f"{directory}/f")
            if not pause_s:
                process.send_signal(signal.SIGSTOP)
            task = asyncio.create_task(took_s(name, call, sc, directory))
            try:
                await asyncio.wait({task}, timeout=pause_s or None)
                process.send_signal(signal.SIGSTOP)
                worst[name] = max(worst.get(name, 0.0), await task)
            finally:
                process.send_signal(signal.SIGCONT)
    for name, seconds in worst.items():
        is_met = "met" if seconds <= TIMEOUT_S + OVER_S else "NOT met"
        print(f"\n  {what} stopped, {name}: {seconds:.2f} s, goal <= {TIMEOUT_S + OVER_S} {is_met}", end="")


@pytest.mark.parametrize("kind", ["named", "ux", "memfs"])
async def test_time_outs_under_silence(etcd: EtcdChild, tmp_path: Path, kind: str) -> None:
    named, address = await started(BENCH / "named_child.py", etcd.endpoint.rpartition(":")[2], LEASE_S)
    processes = [named]
    env = ProcEnv(pid="bench", realm=REALM, named=Endpoint(addrs=(address,)))
    try:
        async with AsyncSigmaClnt(env) as leader, AsyncSigmaClnt(env) as sc:
            if kind == "named":
                await AsyncElectClnt(leader, "name/leader").acquire_leadership()
                await sc.mkdir("name/d")
                # By themselves: a leader whose named is stopped half of the time loses its lease in the end.
                await measure(kind, sc, "name/d", named, LEADING)
                await measure(kind, sc, "name/d", named, WAITS | GIVEN_UP)
                return
            script = BENCH.parent / "faults" / "server_process.py"
            server, address = await started(script, kind, REALM, str(tmp_path / "files"))
            processes.append(server)
            await sc.mk_endpoint_file(f"name/{kind}-srv", Endpoint(addrs=(address,)))
            await measure(kind, sc, f"name/{kind}-srv", server, WAITS | GIVEN_UP)
    finally:
        await close_channels()
        for process in processes:
            process.kill()
            await process.wait()
