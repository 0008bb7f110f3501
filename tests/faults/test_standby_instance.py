"""A whole instance with a standby: what boot does when one of its nameds ends, how procs find the leader (D-6).

| promise | test |
|---|---|
| the standby takes over from a killed leader; clients and procs go on | test_the_leader_is_killed |
| a standby that dies is replaced, and nobody notices | test_a_standby_is_killed |
| a process without the state file finds the leader through Ray | test_procs_find_named_through_ray |
"""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from sigmaos_ray import Proc, SigmaClnt
from sigmaos_ray.config import ProcEnv
from sigmaos_ray.sigmap import Endpoint
from sigmaos_ray.testing import Tstate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WITHIN_S = 30.0


@pytest.fixture(scope="module")
def ts() -> Iterator[Tstate]:
    with Tstate(("named", "schedd"), named_count=2) as tstate:
        yield tstate


def nameds(ts: Tstate) -> dict[str, int]:
    """Process ids by role, from the state file."""
    services = ts.instance.kernel_nodes[0].services
    return {role: info.pid for role, info in services.items() if role.startswith("named")}


def until(condition: Callable[[], bool]) -> None:
    """Waits for a state that nobody announces outside of the instance."""
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline, "the state was not reached"
        time.sleep(0.05)


def both_are_there(ts: Tstate) -> bool:
    return set(nameds(ts)) == {"named", "named-standby"}


def test_the_leader_is_killed(ts: Tstate) -> None:
    until(lambda: both_are_there(ts))
    before = nameds(ts)
    ts.sc.put_file("name/ux/f", b"x")
    proc = Proc(_waits_for_a_file, ["name/ux/go"])
    ts.sc.spawn(proc)
    ts.sc.wait_start(proc.pid, WITHIN_S)
    os.kill(before["named"], signal.SIGKILL)
    assert ts.sc.get_file("name/ux/f") == b"x"
    ts.sc.put_file("name/ux/go", b"")
    assert ts.sc.wait_exit(proc.pid, WITHIN_S).data == "seen"
    until(lambda: both_are_there(ts) and before["named"] not in nameds(ts).values())
    assert nameds(ts)["named"] == before["named-standby"]
    for stat in ts.sc.get_dir("name/ux"):
        ts.sc.remove(f"name/ux/{stat.name}")


def _waits_for_a_file(argv: list[str]) -> str:
    with SigmaClnt() as sc:
        sc.started()
        sc.wait_create(argv[0], WITHIN_S)
    return "seen"


def test_a_standby_is_killed(ts: Tstate) -> None:
    until(lambda: both_are_there(ts))
    before = nameds(ts)
    os.kill(before["named-standby"], signal.SIGKILL)
    until(lambda: both_are_there(ts) and nameds(ts)["named-standby"] != before["named-standby"])
    assert nameds(ts)["named"] == before["named"]


def test_procs_find_named_through_ray(ts: Tstate) -> None:
    ts.sc.put_file("name/ux/f", b"found")
    proc = Proc(_asks_ray, [ts.sc.realm])
    ts.sc.spawn(proc)
    assert ts.sc.wait_exit(proc.pid, WITHIN_S).data == "found"
    ts.sc.remove("name/ux/f")


def _asks_ray(argv: list[str]) -> str:
    """As on a node of another machine: an old address, and no state file."""
    nobody = Endpoint(addrs=("127.0.0.1:1",))
    env = ProcEnv(pid="elsewhere", realm=argv[0], named=nobody, state_file="/nonexistent/instance.json")
    with SigmaClnt(env) as sc:
        return sc.get_file("name/ux/f").decode()
