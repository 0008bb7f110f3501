"""What a child gets from who spawns it (X-4, X-34)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sigmaos_ray import Proc
from sigmaos_ray.config import ProcEnv
from sigmaos_ray.procclnt.spawning import child_spec

if TYPE_CHECKING:
    import pytest

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


def test_a_child_speaks_as_its_parent_was_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGMAOS_TRANSPORT", "grpc")
    assert child_spec(Proc("example"), ProcEnv(pid="parent")).env["SIGMAOS_TRANSPORT"] == "grpc"
    own = Proc("example", env={"SIGMAOS_TRANSPORT": "plain"})
    assert child_spec(own, ProcEnv(pid="parent")).env["SIGMAOS_TRANSPORT"] == "plain"


def test_a_parent_without_settings_gives_none() -> None:
    assert not dict(child_spec(Proc("example"), ProcEnv(pid="parent")).env)
