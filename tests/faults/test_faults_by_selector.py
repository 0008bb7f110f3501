"""Kernel parts that end, or are cut off, because SIGMAFAIL says so: each is replaced, and clients go on (G-20, K-4)."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

import pytest

from kernel.service import all_services
from sigmaos_ray import Proc, serr
from sigmaos_ray.dbclnt import DbClnt
from sigmaos_ray.testing import Tstate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

WITHIN_S = 40.0
PARTS = {"NAMED_PARTITION": "named", **{service.crash_event: service.name for service in all_services()}}
"""By the fault that ends each."""
QUICK = {"NAMED_PARTITION", "NAMED_CRASH", "UX_CRASH"}
CASES = [
    # The others end by the same few lines, and tests/integration/boot/test_boot_running.py kills each.
    pytest.param(services, label, marks=marks, id=label)
    for label in PARTS
    for services, marks in [(("named", "ux"), ()) if label in QUICK else (None, pytest.mark.soak)]
]
"""Each with the services that the instance has, all of them if None."""


@pytest.fixture(scope="module")
def triggers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("triggers")


@pytest.fixture(scope="module")
def ts(request: pytest.FixtureRequest, triggers: Path) -> Iterator[Tstate]:
    """An instance in which each fault waits for a file to appear. A part that was just replaced is spared: there is
    time to take the file away."""
    events = {label: {"path": str(triggers / label), "start_ms": 5000} for label in PARTS}
    services: tuple[str, ...] | None = request.param
    os.environ["SIGMAFAIL"] = json.dumps({"events": events})
    try:
        with Tstate(services) as tstate:
            del os.environ["SIGMAFAIL"]
            yield tstate
    finally:
        os.environ.pop("SIGMAFAIL", None)


def until(condition: Callable[[], bool]) -> None:
    """Waits for a state that nobody announces outside of the instance."""
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline, "the state was not reached"
        time.sleep(0.02)


def works(ts: Tstate, part: str) -> bool:
    """Whether clients get what the part gives."""
    try:
        match part:
            case "named":
                return ts.sc.put_file("name/after", b"x") == 1
            case "ux":
                return ts.sc.put_file("name/ux/~local/after", b"x") == 1
            case "db":
                with DbClnt(ts.sc) as db:
                    return db.query("SELECT 1 AS one", 5) == [{"one": 1}]
            case "schedd":
                proc = Proc("example")
                ts.sc.spawn(proc)
                return ts.sc.wait_exit(proc.pid, WITHIN_S).is_ok()
        return isinstance(ts.sc.get_dir(f"name/{part}/~local/"), list)
    except serr.SigmaError:
        return False


@pytest.mark.parametrize(("ts", "label"), CASES, indirect=["ts"])
def test_a_part_that_fails_is_replaced(ts: Tstate, triggers: Path, label: str) -> None:
    part = PARTS[label]
    old_pid = ts.instance.kernel_nodes[0].services[part].pid
    ts.sc.put_file("name/before", label.encode())
    trigger = triggers / label
    trigger.touch()

    def is_gone() -> bool:
        services = ts.instance.kernel_nodes[0].services
        return part not in services or services[part].pid != old_pid

    until(is_gone)
    trigger.unlink()
    until(lambda: works(ts, part))
    assert ts.sc.get_file("name/before") == label.encode()
