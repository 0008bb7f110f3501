"""Persisted groups of procs by name: kept by one client after the other, ended by any; on a real instance."""

from __future__ import annotations

import os
import secrets
import signal
from typing import TYPE_CHECKING

import pytest

from sigmaos_ray import AsyncSigmaClnt, serr
from sigmaos_ray.ft.procgroupmgr import DIR, AsyncProcGroupMgr
from sigmaos_ray.ft.procgroups import ProcGroups, end_group, members_of
from sigmaos_ray.testing.tstate import clnt_env

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sigmaos_ray.testing import Tstate

WITHIN_S = 30.0
GRACE_S = 10.0
PROGRAM = "tests.integration.ft.member"


@pytest.fixture
async def sc(tstate_all: Tstate) -> AsyncIterator[AsyncSigmaClnt]:
    async with AsyncSigmaClnt(clnt_env(tstate_all.instance)) as sc:
        yield sc


@pytest.fixture
async def job(sc: AsyncSigmaClnt) -> AsyncIterator[str]:
    """A job's name, and a directory ``name/<job>`` in which its members tell of themselves."""
    name = f"groups-{secrets.token_hex(4)}"
    await sc.mkdir(f"name/{name}")
    yield name
    await sc.rmdir(f"name/{name}")


async def lives(sc: AsyncSigmaClnt, job: str) -> set[str]:
    """Of members that left a file: ``<number>.<generation>``."""
    return {stat.name for stat in await sc.get_dir(f"name/{job}")}


async def are_gone(sc: AsyncSigmaClnt, job: str) -> bool:
    running = [info.pid for info in await sc.procs() if info.args[:1] == (job,) and info.state != "exited"]
    return not running and job not in [stat.name for stat in await sc.get_dir(DIR)]


async def test_the_next_client_takes_on_what_runs(sc: AsyncSigmaClnt, job: str) -> None:
    first, second = ProcGroups(sc), ProcGroups(sc)
    await first.keep(AsyncProcGroupMgr(sc, 2, PROGRAM, job=job))
    await first.keep(AsyncProcGroupMgr(sc, 2, PROGRAM, job=job))  # it is kept already
    assert first.jobs == [job]
    assert first.starts_count(job) == 2
    pids = await members_of(sc, job)
    await first.abandon()
    assert first.jobs == []
    await second.keep(AsyncProcGroupMgr(sc, 2, PROGRAM, job=job))
    assert await members_of(sc, job) == pids
    assert await lives(sc, job) == {"0.1", "1.1"}
    os.kill(int(await sc.get_file(f"name/{job}/1.1")), signal.SIGKILL)
    await sc.wait_create(f"name/{job}/1.2", WITHIN_S)
    assert second.starts_count(job) == 3
    await second.end(job, GRACE_S)
    assert await are_gone(sc, job)


async def test_anybody_ends_a_group(sc: AsyncSigmaClnt, job: str) -> None:
    """Whether somebody keeps it or nobody does; whoever keeps it does not start it again."""
    keeper = ProcGroups(sc)
    await keeper.keep(AsyncProcGroupMgr(sc, 2, PROGRAM, job=job))
    await end_group(sc, job, GRACE_S)
    assert await are_gone(sc, job)
    assert keeper.starts_count(job) == 2
    assert await members_of(sc, job) == []
    await keeper.end(job, GRACE_S)
    abandoned, other = ProcGroups(sc), ProcGroups(sc)
    await abandoned.keep(AsyncProcGroupMgr(sc, 1, PROGRAM, job=job))
    await abandoned.abandon()
    await other.end(job, GRACE_S)
    assert await are_gone(sc, job)


async def test_a_group_that_is_not_there(sc: AsyncSigmaClnt) -> None:
    groups = ProcGroups(sc)
    assert not await groups.keep_persisted("no-such-group")
    await groups.end("no-such-group", GRACE_S)
    assert groups.starts_count("no-such-group") == 0
    with pytest.raises(serr.Inval, match="persisted"):
        await groups.keep(AsyncProcGroupMgr(sc, 1, PROGRAM))
