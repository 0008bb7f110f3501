"""What a child gets from who spawns it, and the node that it fits on (X-4, X-33, X-34)."""

from __future__ import annotations

import itertools

import pytest

from sigmaos_ray import Proc
from sigmaos_ray.config import ProcEnv
from sigmaos_ray.procclnt.spawning import Load, child_spec, in_turns, least_loaded, with_room

PARENT = ProcEnv(pid="parent", schedd_id="sigma-1", realm="red", debug="TEST;", perf="TEST_CPU;", fail='{"events": {}}')


@pytest.fixture(autouse=True)
def _no_forced_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests of this process may have one."""
    monkeypatch.delenv("SIGMAOS_TRANSPORT", raising=False)


def test_a_child_has_what_its_parent_has() -> None:
    spec = child_spec(Proc("example"), PARENT)
    assert (spec.parent_pid, spec.parent_schedd_id, spec.realm) == ("parent", "sigma-1", "red")
    assert dict(spec.env) == {"SIGMADEBUG": "TEST;", "SIGMAPERF": "TEST_CPU;", "SIGMAFAIL": '{"events": {}}'}


def test_what_a_child_is_given_wins() -> None:
    spec = child_spec(Proc("example", env={"SIGMADEBUG": "", "SIGMAPERF": "OTHER_TPT;", "MINE": "1"}), PARENT)
    assert dict(spec.env) == {
        "SIGMADEBUG": "",
        "SIGMAPERF": "OTHER_TPT;",
        "SIGMAFAIL": '{"events": {}}',
        "MINE": "1",
    }


def test_a_child_speaks_as_its_parent_was_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGMAOS_TRANSPORT", "grpc")
    assert child_spec(Proc("example"), ProcEnv(pid="parent")).env["SIGMAOS_TRANSPORT"] == "grpc"
    own = Proc("example", env={"SIGMAOS_TRANSPORT": "plain"})
    assert child_spec(own, ProcEnv(pid="parent")).env["SIGMAOS_TRANSPORT"] == "plain"


def test_a_parent_without_settings_gives_none() -> None:
    assert not dict(child_spec(Proc("example"), ProcEnv(pid="parent")).env)


IDLE = Load(cores=4, wanted_cores=0, mem_mb=1000, wanted_mem_mb=0, be_cores=0.5)
FULL = IDLE._replace(wanted_cores=4)


def chosen(loads: dict[str, Load], proc: Proc) -> set[str | None]:
    """In many tries."""
    return {with_room(loads, proc) for _ in range(200)}


def test_a_node_with_room_is_chosen() -> None:
    proc = Proc("example")
    assert chosen({"a": FULL, "b": IDLE}, proc) == {"b"}
    assert chosen({"a": FULL}, proc) == {None}


def test_all_nodes_with_room_are_chosen_from() -> None:
    """Many spawners see the same loads."""
    assert chosen({"a": IDLE, "b": IDLE._replace(wanted_cores=2)}, Proc("example")) == {"a", "b"}


def test_room_is_what_the_proc_needs() -> None:
    half = IDLE._replace(wanted_cores=2, wanted_mem_mb=500)
    assert chosen({"a": half}, Proc("example", mcpu=2000)) == {"a"}
    assert chosen({"a": half}, Proc("example", mcpu=2001)) == {None}
    assert chosen({"a": half}, Proc("example", mem_mb=500)) == {"a"}
    assert chosen({"a": half}, Proc("example", mem_mb=501)) == {None}


def test_a_node_filled_to_the_last_core_has_room() -> None:
    assert chosen({"a": IDLE._replace(wanted_cores=3)}, Proc("example", mcpu=1000)) == {"a"}


def test_the_least_loaded_is_that_where_least_is_wanted_of_what_there_is() -> None:
    large = Load(cores=16, wanted_cores=20, mem_mb=1000, wanted_mem_mb=0, be_cores=0.5)
    assert least_loaded({"a": FULL._replace(wanted_cores=8), "b": large}, Proc("example")) == "b"


def test_turns_go_on_where_the_last_ended() -> None:
    assert list(itertools.islice(in_turns(["a", "b", "c"], 2, 4), 7)) == ["b", "b", "c", "c", "a", "a", "b"]
