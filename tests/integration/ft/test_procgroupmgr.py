"""Groups of procs that are kept alive (L-40 to L-45), on a real instance."""

from __future__ import annotations

import os
import secrets
import signal
import time
from typing import TYPE_CHECKING

import pytest

from sigmaos_ray import SigmaClnt, Status, serr
from sigmaos_ray.ft.procgroupmgr import DIR, ProcGroupMgr

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sigmaos_ray.testing import Tstate

WITHIN_S = 30.0


@pytest.fixture
def sc(tstate_all: Tstate) -> Iterator[SigmaClnt]:
    with tstate_all.new_clnt() as sc:
        yield sc


@pytest.fixture
def job(sc: SigmaClnt) -> Iterator[str]:
    """A job's name, and a directory ``name/<job>`` in which its members tell of themselves."""
    name = f"job-{secrets.token_hex(4)}"
    sc.mkdir(f"name/{name}")
    yield name
    sc.rmdir(f"name/{name}")


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline, "the state was not reached"
        time.sleep(0.02)


def tells_and_waits(argv: list[str]) -> Status:
    """Leaves a file ``<number>.<generation>`` with its process id, and waits to be evicted."""
    with SigmaClnt() as sc:
        number = os.environ["SIGMAREPL"].partition(",")[0]
        sc.put_file(f"name/{argv[0]}/{number}.{os.environ['SIGMAGEN']}", str(os.getpid()).encode())
        sc.started()
        sc.wait_evict()
    return Status.evicted()


def crashes_twice(argv: list[str]) -> Status:
    if int(os.environ["SIGMAGEN"]) < 3:
        raise RuntimeError("not yet")
    with SigmaClnt() as sc:
        sc.started()
    return Status.info(f"life {os.environ['SIGMAGEN']} of {os.environ['SIGMAREPL']}")


def lives(sc: SigmaClnt, job: str) -> set[str]:
    """Of members that left a file: ``<number>.<generation>``."""
    return {stat.name for stat in sc.get_dir(f"name/{job}")}


def test_members_know_who_they_are_and_stop_together(sc: SigmaClnt, job: str) -> None:
    group = ProcGroupMgr(sc, 2, tells_and_waits, job=job)
    group.start()
    assert lives(sc, job) == {"0.1", "1.1"}
    with pytest.raises(serr.Inval, match="before"):
        group.start()
    reports = group.stop()
    assert [(report.starts_count, report.status is not None and report.status.is_evicted()) for report in reports] == [
        (1, True),
        (1, True),
    ]
    assert group.nstart() == 2
    assert group.stop() == reports


def test_a_member_that_is_killed_is_replaced(sc: SigmaClnt, job: str) -> None:
    with ProcGroupMgr(sc, 2, tells_and_waits, job=job) as group:
        os.kill(int(sc.get_file(f"name/{job}/1.1")), signal.SIGKILL)
        sc.wait_create(f"name/{job}/1.2", WITHIN_S)
        assert group.nstart() == 3
        assert lives(sc, job) == {"0.1", "1.1", "1.2"}


def test_crashes_until_it_succeeds(sc: SigmaClnt, job: str) -> None:
    """L-41, L-42; n = 0 means one member."""
    group = ProcGroupMgr(sc, 0, crashes_twice, job=job)
    group.start()
    (report,) = group.wait()
    assert report.starts_count == 3
    assert report.status is not None
    assert report.status.is_ok()
    assert report.status.msg == "life 3 of 0,0"


def test_a_recovered_group_keeps_what_runs(sc: SigmaClnt, tstate_all: Tstate, job: str) -> None:
    """L-45: members that run are taken on, those that died meanwhile are replaced; nothing runs twice."""
    program = "tests.integration.ft.member"
    first = tstate_all.new_clnt()
    group = ProcGroupMgr(first, 2, program, job=job)
    group.start()
    group.persist()
    group.crash()
    first.close()
    os.kill(int(sc.get_file(f"name/{job}/1.1")), signal.SIGKILL)
    (recovered,) = [group for group in ProcGroupMgr.recover(sc) if group.job == job]
    recovered.start()
    sc.wait_create(f"name/{job}/1.2", WITHIN_S)
    assert lives(sc, job) == {"0.1", "1.1", "1.2"}
    assert recovered.nstart() == 3
    assert all(report.status is not None and report.status.is_evicted() for report in recovered.stop())
    assert job not in [stat.name for stat in sc.get_dir(DIR)]


def test_what_cannot_be_a_group(sc: SigmaClnt) -> None:
    with pytest.raises(serr.Inval, match="-1"):
        ProcGroupMgr(sc, -1, "example")
    with pytest.raises(serr.Inval, match="program"):
        ProcGroupMgr(sc, 1, "no such/program")
    for group in (ProcGroupMgr(sc, 1, "example"), ProcGroupMgr(sc, 1, tells_and_waits, job="j")):
        with pytest.raises(serr.Inval, match="persisted"):
            group.persist()


def test_one_group_is_recovered_by_its_name(sc: SigmaClnt, tstate_all: Tstate, job: str) -> None:
    with pytest.raises(serr.NotFound):
        ProcGroupMgr.recover_job(sc, job)
