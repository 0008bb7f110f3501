"""Who a Ray node is: its number on its machine, and an id that lasts."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from kernel.boot import survey
from kernel.boot.identity import Identity, Survey, identify
from kernel.boot.keptfiles import RemovalRecord
from sigmaos_ray.machine import OsProcess, machine

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


RECORD = RemovalRecord(instance="i")


def ids() -> Callable[[], str]:
    counter = itertools.count(1)
    return lambda: f"sigma-{next(counter):08x}"


def surveyed(machine: str, **kernel_ids: str) -> Survey:
    kept = {int(number.removeprefix("n")): kernel_id for number, kernel_id in kernel_ids.items()}
    return Survey(machine=machine, host_name=machine, kernel_ids=kept)


def test_a_new_host_gets_a_new_id_and_a_known_one_its_own() -> None:
    surveys = {"a": surveyed("m1"), "b": surveyed("m2", n1="sigma-0000beef")}
    assert identify(surveys, {}, "a", ids()) == {
        "a": Identity("m1", 1, "sigma-00000001"),
        "b": Identity("m2", 1, "sigma-0000beef"),
    }


def test_nodes_of_one_machine_have_numbers_and_ids_of_their_own() -> None:
    kept = surveyed("m1", n1="sigma-0000000a", n2="sigma-0000000b")
    found = identify({"y": kept, "x": kept}, {}, "y", ids())
    assert found == {"y": Identity("m1", 1, "sigma-0000000a"), "x": Identity("m1", 2, "sigma-0000000b")}


def test_a_copy_of_a_directory_on_another_machine_is_another_node() -> None:
    copied = surveyed("m2", n1="sigma-0000000a")
    present = {"a": Identity("m1", 1, "sigma-0000000a")}
    assert identify({"b": copied}, present, "a", ids())["b"] == Identity("m2", 1, "sigma-00000001")
    # Also if both come at once: the first keeps it.
    both = {"b": copied, "a": surveyed("m1", n1="sigma-0000000a")}
    found = identify(both, {}, "a", ids())
    assert found["a"].kernel_id == "sigma-0000000a" != found["b"].kernel_id


def test_what_is_no_id_is_replaced() -> None:
    assert identify({"a": surveyed("m1", n1="garbage")}, {}, "a", ids())["a"].kernel_id == "sigma-00000001"


MACHINES = st.sampled_from(["m1", "m2", "m3"])
IDS = st.sampled_from([f"sigma-0000000{digit}" for digit in "abc"])


@given(st.dictionaries(st.sampled_from("abcdef"), st.tuples(MACHINES, IDS, IDS), min_size=1))
def test_no_two_nodes_have_one_id_or_one_number_on_a_machine(nodes: dict[str, tuple[str, str, str]]) -> None:
    surveys = {node: surveyed(on, n1=first, n2=second) for node, (on, first, second) in nodes.items()}
    earlier, later = dict(list(surveys.items())[::2]), dict(list(surveys.items())[1::2])
    present = identify(earlier, {}, "a", ids())
    found = present | identify(later, present, "a", lambda: f"sigma-{len(present):04x}{next(unique):04x}")
    assert set(found) == set(nodes)
    assert len({identity.kernel_id for identity in found.values()}) == len(found)
    assert len({(identity.machine, identity.number) for identity in found.values()}) == len(found)


unique = itertools.count()


def test_a_host_remembers_the_ids_of_its_nodes(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    found = survey.look(str(directory), RECORD, {})
    assert (found.machine, found.kernel_ids) == (machine(), {})
    survey.keep(str(directory), 1, "sigma-0000000a")
    survey.keep(str(directory), 2, "sigma-0000000b")
    assert survey.look(str(directory), RECORD, {}).kernel_ids == {1: "sigma-0000000a", 2: "sigma-0000000b"}
    assert (directory / "kernel-id").read_text() == "sigma-0000000a\n"


def test_raylets_that_have_ended_are_told(tmp_path: Path) -> None:
    alive = OsProcess.own()
    ended = OsProcess(alive.machine, alive.pid, alive.started_ticks - 1)
    elsewhere = OsProcess("another", alive.pid, 1)
    raylets = {"alive": alive, "ended": ended, "elsewhere": elsewhere}
    assert survey.look(str(tmp_path), RECORD, raylets).gone == ("ended",)
