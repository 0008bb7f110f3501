"""Processes that are stopped (SIGSTOP) while clients wait with a time-out: each wait ends in time, with all that it
cleans up.

named, ux and a server as programs have them are stopped in turn. There is room for a busy machine here.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from nameds import WITHIN_S, Nameds
from waits import GIVEN_UP, LEADING, WAITS

from sigmaos_ray import serr
from sigmaos_ray.electclnt import AsyncElectClnt
from sigmaos_ray.sigmap import Endpoint

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from etcd_child import EtcdChild
    from waits import Wait

    from sigmaos_ray.sigmaclnt import AsyncSigmaClnt

TIMEOUT_S = 1.0
SLACK_S = 3.0
FOLLOWED_S = 12.0
"""How long a client may take to find the next leader once it leads. On an idle machine it is about a second."""


async def check(
    sc: AsyncSigmaClnt, directory: str, process: asyncio.subprocess.Process, waits: dict[str, Wait] = WAITS
) -> None:
    """All calls at a time under a server that was stopped before, and all waits under one that is stopped meanwhile."""
    await sc.put_file(f"{directory}/f", b"")
    await sc.mkdir_path(directory, "full/d")
    for pause_s, calls in ((0.0, waits | GIVEN_UP), (TIMEOUT_S / 2, waits)):
        await sc.get_file(f"{directory}/f")
        took_s: dict[str, float] = {}
        if not pause_s:
            process.send_signal(signal.SIGSTOP)
        tasks = {
            name: asyncio.create_task(timed(name, call(sc, directory, TIMEOUT_S), took_s))
            for name, call in calls.items()
        }
        try:
            await asyncio.wait(tasks.values(), timeout=pause_s or None)
            process.send_signal(signal.SIGSTOP)
            await asyncio.wait(tasks.values())
        finally:
            process.send_signal(signal.SIGCONT)
        errors = {name: task.exception() for name, task in tasks.items()}
        assert {name: took for name, took in took_s.items() if took > TIMEOUT_S + SLACK_S} == {}
        assert {name: error for name, error in errors.items() if not isinstance(error, serr.Timeout)} == {}


async def timed(name: str, call: Awaitable[object], took_s: dict[str, float]) -> None:
    began_s = time.monotonic()
    try:
        await call
    finally:
        took_s[name] = time.monotonic() - began_s


async def test_named_is_stopped(etcd: EtcdChild, tmp_path: Path) -> None:
    """The only one: nobody takes over, and it leads for longer than it is stopped."""
    async with Nameds(etcd.endpoint, tmp_path, 1, cuttable=False, lease_s=60) as nameds:
        leader = await nameds.leader()
        first, second = await nameds.clnt(), await nameds.clnt()
        await AsyncElectClnt(first, "name/leader").acquire_leadership()
        await check(second, "name", leader.process, WAITS | LEADING)


@pytest.mark.parametrize("kind", ["ux", "memfs"])
async def test_a_server_is_stopped(etcd: EtcdChild, tmp_path: Path, kind: str) -> None:
    """Behind an endpoint file, while named goes on: one of the kernel's, and one as programs have them."""
    async with Nameds(etcd.endpoint, tmp_path, 1, cuttable=False) as nameds:
        sc = await nameds.clnt()
        command = [sys.executable, str(Path(__file__).with_name("server_process.py")), kind, nameds.realm]
        process = await asyncio.create_subprocess_exec(
            *command, str(tmp_path / "files"), stdout=asyncio.subprocess.PIPE
        )
        try:
            assert process.stdout is not None
            address = (await asyncio.wait_for(process.stdout.readline(), WITHIN_S)).decode().strip()
            assert address
            await sc.mk_endpoint_file("name/srv", Endpoint(addrs=(address,)))
            await check(sc, "name/srv", process)
        finally:
            process.kill()
            await process.wait()


@pytest.mark.parametrize("knows", ["the instance", "addresses"])
async def test_clients_of_other_machines_follow_a_leader_that_fell_silent(
    nameds: Nameds, monkeypatch: pytest.MonkeyPatch, knows: str
) -> None:
    """Their sessions are patient, as networks are slow: they ask who leads long before they give one up."""
    monkeypatch.setenv("SIGMAOS_CONFIG", "remote")
    leader = await nameds.leader()
    [standby] = (child for child in nameds.children if child is not leader)
    sc = await nameds.clnt(*([leader, standby] if knows == "addresses" else []))
    assert sc.config.session.resume_timeout_s > 4 * FOLLOWED_S / 3
    await sc.put_file("name/f", b"before")

    async def written() -> None:
        while True:
            try:
                await sc.put_file("name/f", b"after")
            except serr.IOErr:  # the one that was under way
                continue
            return

    leader.send(signal.SIGSTOP)
    writing = asyncio.create_task(written())
    await nameds.leader(other_than=leader)
    await asyncio.wait_for(writing, FOLLOWED_S)
    assert await sc.get_file("name/f") == b"after"
    leader.send(signal.SIGCONT)
