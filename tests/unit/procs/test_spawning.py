"""What a child gets from who spawns it (X-4, X-34)."""

from __future__ import annotations

from sigmaos_ray import Proc
from sigmaos_ray.config import ProcEnv
from sigmaos_ray.procclnt.spawning import child_spec

PARENT = ProcEnv(pid="parent", realm="red", debug="TEST;", perf="TEST_CPU;", fail='{"events": {}}')


def test_a_child_has_what_its_parent_has() -> None:
    spec = child_spec(Proc("example"), PARENT)
    assert (spec.parent_pid, spec.realm) == ("parent", "red")
    assert dict(spec.env) == {"SIGMADEBUG": "TEST;", "SIGMAPERF": "TEST_CPU;", "SIGMAFAIL": '{"events": {}}'}


def test_what_a_child_is_given_wins() -> None:
    spec = child_spec(Proc("example", env={"SIGMADEBUG": "", "SIGMAPERF": "OTHER_TPT;", "MINE": "1"}), PARENT)
    assert dict(spec.env) == {
        "SIGMADEBUG": "",
        "SIGMAPERF": "OTHER_TPT;",
        "SIGMAFAIL": '{"events": {}}',
        "MINE": "1",
    }


def test_a_parent_without_settings_gives_none() -> None:
    assert not dict(child_spec(Proc("example"), ProcEnv(pid="parent")).env)
