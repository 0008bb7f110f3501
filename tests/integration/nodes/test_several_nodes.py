"""Several kernel nodes: where procs run, what their names say, what is left once one dies.

N-9, X-28, X-33, X-36, C-11.
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

import pytest

from sigmaos_ray import Proc, SigmaClnt, Status, serr
from sigmaos_ray.machine import machine
from sigmaos_ray.testing import Tstate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


WITHIN_S = 30.0
CORES = 3


@pytest.fixture(scope="module")
def ts() -> Iterator[Tstate]:
    """An instance of its own: nodes die here."""
    with Tstate(("named", "schedd", "ux"), num_cpus=CORES - 1) as tstate:
        yield tstate


@pytest.fixture(scope="module")
def second(ts: Tstate) -> str:
    """Has more cores than the first one: what reserves as many runs there, whoever has it."""
    return ts.boot_node(1, num_cpus=CORES)[0]


def first(ts: Tstate) -> str:
    return ts.instance.kernel_nodes[0].id


def where_am_i(argv: list[str]) -> dict[str, str]:
    with SigmaClnt() as sc:
        here = sc.resolve_unions("name/schedd/~local")
        return {"kernel_id": sc.kernel_id, "local": here.rpartition("/")[2]}


def started_and_waits(argv: list[str]) -> Status:
    with SigmaClnt() as sc:
        sc.started()
        sc.wait_evict()
    return Status.evicted()


def dies_when_evicted(argv: list[str]) -> None:
    print("here it is", flush=True)
    with SigmaClnt() as sc:
        sc.started()
        sc.wait_evict()
    os._exit(7)


def run(sc: SigmaClnt, proc: Proc) -> Status:
    sc.spawn(proc)
    return sc.wait_exit(proc.pid, WITHIN_S)


def until(condition: Callable[[], bool]) -> None:
    """Waits for a state that nobody announces."""
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline, "the state was not reached"
        time.sleep(0.05)


def names(sc: SigmaClnt, pn: str) -> list[str]:
    return [stat.name for stat in sc.get_dir(pn)]


def test_every_node_has_its_names(ts: Tstate, second: str) -> None:
    for service in ("schedd", "ux"):
        assert set(names(ts.sc, f"name/{service}")) >= {first(ts), second}


def test_workers_are_made_ready_once_all_serve(ts: Tstate, second: str) -> None:
    """On each node, those that were there from the start and those that came; before anybody spawns."""
    for kernel_id in (first(ts), second):
        until(lambda at=kernel_id: leases(ts, at)["came_in_all"] > 0)  # type: ignore[misc]
        assert leases(ts, kernel_id)["busy"] == 0


def leases(ts: Tstate, kernel_id: str) -> dict[str, int]:
    found: dict[str, int] = json.loads(ts.sc.get_file(f"name/schedd/{kernel_id}/.statsd"))["leases"]
    return found


def test_a_proc_runs_on_the_node_that_it_was_given(ts: Tstate, second: str) -> None:
    for kernel_id in (first(ts), second):
        status = run(ts.sc, Proc(where_am_i, kernels=[kernel_id]))
        assert status.is_ok(), status
        assert status.data == {"kernel_id": kernel_id, "local": kernel_id}


def test_each_node_has_files_of_its_own(ts: Tstate, second: str) -> None:
    """Also on one host: two servers of one directory would not know of each other's fences and leases."""
    ts.sc.put_file(f"name/ux/{second}/there", b"x")
    with pytest.raises(serr.NotFound):
        ts.sc.get_file(f"name/ux/{first(ts)}/there")


def test_an_executable_is_a_program_on_every_node(ts: Tstate, second: str) -> None:
    """``~local`` is where its parent is."""
    ts.sc.put_file(f"name/ux/{first(ts)}/end.sh", b"#!/bin/sh\nexit 3\n")
    for kernel_id in (first(ts), second):
        assert run(ts.sc, Proc("name/ux/~local/end.sh", kernels=[kernel_id])).msg == "exit status 3"


def test_a_node_shows_what_runs_on_it(ts: Tstate, second: str) -> None:
    proc = Proc(started_and_waits, kernels=[second])
    ts.sc.spawn(proc)
    ts.sc.wait_start(proc.pid, WITHIN_S)
    found = {info.pid: info for info in ts.sc.procs()}
    assert found[proc.pid].kernel_id == second
    assert names(ts.sc, f"name/schedd/{second}/pids") == [proc.pid]
    assert names(ts.sc, f"name/schedd/{first(ts)}/pids") == []
    ts.sc.evict(proc.pid)
    assert ts.sc.wait_exit(proc.pid, WITHIN_S).is_evicted()


def test_a_proc_that_ray_put_on_another_node(ts: Tstate, second: str) -> None:
    """Its schedd says where it is, that node shows its log, and how it ended is known."""
    proc = Proc(dies_when_evicted, mcpu=CORES * 1000)
    ts.sc.spawn(proc)
    ts.sc.wait_start(proc.pid, WITHIN_S)
    found = {info.pid: info for info in ts.sc.procs()}[proc.pid]
    assert (found.kernel_id, found.node, found.machine) == (first(ts), second, machine())
    with ts.sc.open_reader(f"name/schedd/{second}/logs/procs/{proc.pid}.log") as log:
        assert b"here it is" in log.read()
    ts.sc.evict(proc.pid)
    status = ts.sc.wait_exit(proc.pid, WITHIN_S)
    assert (status.is_crash(), status.msg) == (True, "exit status 7")


def spawns_here(argv: list[str]) -> Status:
    """Reports where it ran, and which schedd has its child."""
    with SigmaClnt() as sc:
        sc.started()
        child = Proc(where_am_i)
        sc.spawn(child)
        schedd = next(info.kernel_id for info in sc.procs() if info.pid == child.pid)
        is_told = sc.get_children() == [child.pid]
        return Status.info(sc.kernel_id, [schedd, is_told, sc.wait_exit(child.pid, WITHIN_S).is_ok()])


def test_a_child_is_spawned_where_its_parent_runs(ts: Tstate, second: str) -> None:
    """Also if its parent's schedd is another node's, which hears all the same that the parent started, and ended. Ray
    may place the child elsewhere all the same."""
    parent = Proc(spawns_here, mcpu=CORES * 1000 - 500)
    ts.sc.spawn(parent)
    ts.sc.wait_start(parent.pid, WITHIN_S)
    status = ts.sc.wait_exit(parent.pid, WITHIN_S)
    assert (status.is_ok(), status.msg) == (True, second), status
    assert status.data == [second, True, True]


def spawns_elsewhere(argv: list[str]) -> Status:
    """Spawns a child on the kernel node that it was told, and ends at once, or when it is evicted."""
    with SigmaClnt() as sc:
        child = Proc(started_and_waits, kernels=[argv[0]])
        sc.spawn(child)
        sc.wait_start(child.pid, WITHIN_S)
        if argv[1:]:
            sc.put_file(argv[1], child.pid.encode())
            sc.started()
            sc.wait_evict()
        return Status.info("", child.pid)


def known(ts: Tstate) -> set[str]:
    return {info.pid for info in ts.sc.procs()}


def test_children_at_another_schedd_outlive_their_parent(ts: Tstate, second: str) -> None:
    """And then their status goes with their end."""
    parent = Proc(spawns_elsewhere, [second], kernels=[first(ts)])
    child_pid = str(run(ts.sc, parent).data)
    ts.sc.evict(child_pid)
    until(lambda: child_pid not in known(ts))


def fill(ts: Tstate, kernel_id: str, cores: int) -> Proc:
    proc = Proc(started_and_waits, mcpu=cores * 1000, kernels=[kernel_id])
    ts.sc.spawn(proc)
    ts.sc.wait_start(proc.pid, WITHIN_S)
    return proc


def test_of_several_nodes_one_with_room_is_chosen(ts: Tstate, second: str) -> None:
    """And if none has room, that where least is wanted of what it has."""
    fillers = [fill(ts, first(ts), CORES - 1)]
    both = [first(ts), second]
    procs = [Proc(where_am_i, kernels=both) for _ in range(3)]
    for proc in procs:
        ts.sc.spawn(proc)
    burst = [Proc(where_am_i, kernels=both) for _ in range(3)]
    assert ts.sc.spawn_burst(burst) == ([], [])
    for _, status in ts.sc.as_completed([proc.pid for proc in (*procs, *burst)], WITHIN_S):
        assert status.data == {"kernel_id": second, "local": second}
    fillers.append(fill(ts, second, CORES))
    waiting = Proc(where_am_i, kernels=both)
    ts.sc.spawn(waiting)
    assert {info.pid: info.kernel_id for info in ts.sc.procs()}[waiting.pid] == second
    for filler in fillers:
        ts.sc.evict(filler.pid)
    assert all(status.is_ok() or status.is_evicted() for _, status in ts.sc.as_completed(ts.sc.get_children()))


def test_a_burst_goes_to_all_nodes_in_turns(ts: Tstate, second: str) -> None:
    procs = [Proc("example", env={"SIGMADEBUG": ""}) for _ in range(4)]
    assert ts.sc.spawn_burst(procs, 2) == ([], [])
    owners = {info.pid: info.kernel_id for info in ts.sc.procs()}
    assert {owners[proc.pid] for proc in procs[:2]} | {owners[proc.pid] for proc in procs[2:]} == {first(ts), second}
    assert all(status.is_ok() for _, status in ts.sc.as_completed([proc.pid for proc in procs], WITHIN_S))


def test_an_unknown_node_is_refused(ts: Tstate) -> None:
    with pytest.raises(serr.NotFound, match="sigma-nowhere"):
        ts.sc.spawn(Proc(where_am_i, kernels=["sigma-nowhere"]))


def test_a_node_that_dies_takes_its_procs_along(ts: Tstate, second: str) -> None:
    """They end as crashes that say so; boot removes the node's names; others go on. The last test: it ends the node."""
    doomed = [
        Proc(started_and_waits, kernels=[second]),
        Proc(started_and_waits, mcpu=100, kernels=[second]),
        Proc(spawns_elsewhere, [first(ts), "name/child"], kernels=[second]),
    ]
    survivor = Proc(started_and_waits, kernels=[first(ts)])
    for proc in (*doomed, survivor):
        ts.sc.spawn(proc)
        ts.sc.wait_start(proc.pid, WITHIN_S)
    child_pid = ts.sc.get_file("name/child").decode()
    ts.kill_node(second)
    for proc in doomed:
        status = ts.sc.wait_exit(proc.pid, WITHIN_S)
        assert status.is_crash(), status
        assert "node" in status.msg
    until(lambda: second not in names(ts.sc, "name/schedd") and second not in names(ts.sc, "name/ux"))
    until(lambda: second not in [node.id for node in ts.instance.kernel_nodes])
    ts.sc.evict(survivor.pid)
    assert ts.sc.wait_exit(survivor.pid, WITHIN_S).is_evicted()
    # The child of a parent that went with the node, and with its schedd.
    assert child_pid in known(ts)
    ts.sc.evict(child_pid)
    until(lambda: child_pid not in known(ts))
