"""Durable tasks (FT-1 to FT-4), on a real instance."""

from __future__ import annotations

import os
import secrets
import signal
import threading
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from sigmaos_ray import Proc, SigmaClnt, Status, serr
from sigmaos_ray.ft.fttask import FtTaskClnt, FtTaskCoord, FtTaskSrvMgr, TaskStatus
from sigmaos_ray.ft.fttask.paths import state_pathname
from sigmaos_ray.sigmap import OEXCL, Fence

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sigmaos_ray.testing import Tstate


@pytest.fixture(scope="module")
def sc(tstate_all: Tstate) -> Iterator[SigmaClnt]:
    with tstate_all.new_clnt() as sc:
        yield sc


@pytest.fixture
def service(sc: SigmaClnt) -> Iterator[tuple[FtTaskSrvMgr, FtTaskClnt]]:
    """A service of the test's own."""
    service_id = f"tasks-{secrets.token_hex(4)}"
    manager = FtTaskSrvMgr(sc, service_id)
    with manager:
        yield manager, FtTaskClnt(sc, service_id)
    manager.clear()


def os_pid_of(sc: SigmaClnt, manager: FtTaskSrvMgr) -> int:
    """The process of the service's only server."""
    (pid,) = manager.group.pids()
    while True:  # the schedd hears of it a little later than of the start
        info = next(info for info in sc.procs() if info.pid == pid)
        if info.os_pid:
            return info.os_pid


def test_the_life_of_tasks(service: tuple[FtTaskSrvMgr, FtTaskClnt]) -> None:
    _, clnt = service
    assert clnt.submit_tasks({1: b"one", 2: b"two", 3: b"three"}) == []
    assert clnt.submit_tasks({3: b"again", 4: b"four"}) == [3]
    assert clnt.edit_tasks({4: b"four!", 9: b""}) == [9]
    assert clnt.read_tasks([3, 4]) == {3: b"three", 4: b"four!"}
    assert clnt.acquire_tasks(limit=2) == ([1, 2], False)
    assert clnt.acquire_tasks() == ([3, 4], False)
    assert clnt.acquire_tasks(wait=False) == ([], False)
    clnt.add_task_outputs({1: b"out"})
    assert clnt.get_task_outputs([1]) == {1: b"out"}
    clnt.move_tasks([2], TaskStatus.ERROR)
    assert clnt.move_tasks_by_status(TaskStatus.WIP, TaskStatus.TODO) == 2
    assert clnt.get_tasks_by_status(TaskStatus.TODO) == [3, 4]
    clnt.submitted_last_task()
    clnt.move_tasks([3, 4], TaskStatus.DONE)
    assert clnt.acquire_tasks() == ([], True)
    assert clnt.get_task_stats() == (0, 0, 3, 1, True)
    for call in (
        lambda: clnt.read_tasks([7]),
        lambda: clnt.get_task_outputs([2]),
        lambda: clnt.move_tasks([7], TaskStatus.DONE),
    ):
        with pytest.raises(serr.NotFound):
            call()
    with pytest.raises(serr.Inval):
        clnt.submit_tasks({5: b"late"})


def test_a_waiting_acquisition_gets_what_comes(service: tuple[FtTaskSrvMgr, FtTaskClnt]) -> None:
    _, clnt = service
    got: list[object] = []
    waiting = threading.Thread(target=lambda: got.append(clnt.acquire_tasks()))
    waiting.start()
    clnt.submit_tasks({1: b""})
    waiting.join(20)
    assert got == [([1], False)]


def test_fences_of_clients(service: tuple[FtTaskSrvMgr, FtTaskClnt], sc: SigmaClnt) -> None:
    manager, clnt = service
    old, new = (FtTaskClnt(sc, manager.service_id) for _ in range(2))
    old.fence(Fence("leader", 1))
    new.fence(Fence("leader", 2))
    with pytest.raises(serr.Inval):
        old.submit_tasks({1: b""})
    with pytest.raises(serr.Inval):
        old.fence(Fence("leader", 1))
    clnt.submit_tasks({1: b""})
    with pytest.raises(serr.Inval):
        clnt.acquire_tasks(wait=False)
    assert new.acquire_tasks() == ([1], False)


def test_a_server_that_is_killed_forgets_nothing(service: tuple[FtTaskSrvMgr, FtTaskClnt], sc: SigmaClnt) -> None:
    """FT-1, FT-3: clients go on by themselves; what was acquired is nobody else's."""
    manager, clnt = service
    clnt.submit_tasks({number: b"%d" % number for number in range(500)})
    first = clnt.acquire_tasks(limit=100).ids
    clnt.add_task_outputs(dict.fromkeys(first[:50], b"done"))
    os.kill(os_pid_of(sc, manager), signal.SIGKILL)
    rest = clnt.acquire_tasks().ids
    assert sorted(first + rest) == list(range(500))
    assert clnt.get_task_stats()[:3] == (0, 450, 50)
    assert manager.group.nstart() == 2
    assert clnt.get_task_outputs(first[:2]) == {first[0]: b"done", first[1]: b"done"}


def test_each_task_goes_to_one_of_many(service: tuple[FtTaskSrvMgr, FtTaskClnt], sc: SigmaClnt) -> None:
    """While the server dies twice."""
    manager, clnt = service
    clnt.submit_tasks(dict.fromkeys(range(300), b""))
    clnt.submitted_last_task()
    done: Counter[int] = Counter()
    reached = [threading.Event(), threading.Event()]

    def work() -> None:
        while True:
            acquired = clnt.acquire_tasks(limit=7)
            if acquired.stopped:
                return
            clnt.add_task_outputs(dict.fromkeys(acquired.ids, b""))
            done.update(acquired.ids)
            for count, event in zip((50, 150), reached, strict=True):
                if sum(done.values()) >= count:
                    event.set()

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for event in reached:
        event.wait(60)
        os.kill(os_pid_of(sc, manager), signal.SIGKILL)
    for worker in workers:
        worker.join(90)
    assert done == Counter(range(300))
    assert clnt.get_task_stats() == (0, 0, 300, 0, True)


def square(argv: list[str]) -> Status:
    if argv[0] == "3":
        return Status.err("three is bad luck")
    if argv[0] == "4":
        with SigmaClnt() as sc:
            try:
                sc.put_file(argv[1], b"", mode=OEXCL)
            except serr.Exists:
                return Status.info("", 16)
        os._exit(7)
    return Status.info("", int(argv[0]) ** 2)


def test_a_proc_for_each_task(service: tuple[FtTaskSrvMgr, FtTaskClnt], sc: SigmaClnt) -> None:
    """FT-4: OK is DONE with its data as output, an error is not tried again, a crash is."""
    manager, clnt = service
    clnt.submit_tasks({number: b"%d" % number for number in range(6)})
    clnt.submitted_last_task()
    mark = f"name/{manager.service_id}-crashed"
    stats = FtTaskCoord(sc, clnt).execute_tasks(lambda _, data: Proc(square, [data.decode(), mark]))
    assert stats == (0, 0, 5, 1, True)
    assert clnt.get_tasks_by_status(TaskStatus.ERROR) == [3]
    assert clnt.get_task_outputs([0, 1, 2, 4, 5]) == {0: b"0", 1: b"1", 2: b"4", 4: b"16", 5: b"25"}
    sc.remove(mark)


def test_snapshots_take_the_place_of_the_journal(service: tuple[FtTaskSrvMgr, FtTaskClnt], sc: SigmaClnt) -> None:
    manager, clnt = service
    for number in range(450):
        clnt.submit_tasks({number: b"x" * 100})
    state = state_pathname(manager.service_id)
    assert len(sc.get_dir(f"{state}/log")) <= 201
    os.kill(os_pid_of(sc, manager), signal.SIGKILL)
    assert clnt.get_tasks_by_status(TaskStatus.TODO) == list(range(450))


def test_a_request_that_is_too_large_leaves_no_trace(service: tuple[FtTaskSrvMgr, FtTaskClnt]) -> None:
    """Neither in the journal nor in the server's memory, which would forget it with its next life."""
    _, clnt = service
    with pytest.raises(serr.Inval, match="900000 bytes"):
        clnt.submit_tasks({1: bytes(500_000), 2: bytes(500_000)})
    assert clnt.get_task_stats() == (0, 0, 0, 0, False)
    clnt.submit_tasks({1: b"small"})
    with pytest.raises(serr.Inval, match="900000 bytes"):
        clnt.edit_tasks({1: bytes(1_000_000)})
    assert clnt.read_tasks([1]) == {1: b"small"}


def test_names(sc: SigmaClnt) -> None:
    for bad in ("", "a/b", ".."):
        with pytest.raises(serr.Inval):
            FtTaskClnt(sc, bad)
