"""``sigmaos ps --instances`` and ``stop --all``: every instance of the user, also what a killed run of tests left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from kernel.boot.handle import MARK

if TYPE_CHECKING:
    from bootbox import Box

# Not the command itself: of a machine that others test on, it would end their instances too.
STOP_OWN = """
import sys
from kernel.boot.instances import stop_instances
from sigmaos_ray.cli.system import TEMPORARY
print(stop_instances(TEMPORARY, print, only=lambda directory: directory.startswith(sys.argv[1])))
"""


def _found(box: Box) -> dict[str, dict[str, Any]]:
    listed = json.loads(box.ok("ps", "--instances", "--json"))
    return {one["state_dir"]: one for one in listed if one["state_dir"].startswith(str(box.root))}


def _stop_all(box: Box) -> str:
    done = subprocess.run(
        [sys.executable, "-c", STOP_OWN, str(box.root)], env=box.env, capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.mark.parametrize("loses", ["nothing", "boot"])
def test_an_instance_is_found_and_ended_whatever_it_lost(box: Box, loses: str) -> None:
    """What tests would have removed goes, too."""
    box.state_dir = box.temp_dir / "sigmaos-test-killed"
    box.env["SIGMAOS_STATE_DIR"] = str(box.state_dir)
    box.ok("start", "--services", "named")
    if loses == "boot":
        box.kill("boot")
    (found,) = _found(box).values()
    assert (found["state"], found["is_temporary"]) == ("running" if loses == "nothing" else "crashed", True)
    assert found["process_count"] >= 2
    assert f"stopped {box.state_dir}" in _stop_all(box)
    assert _found(box) == {}
    assert not box.state_dir.exists()
    box.check_nothing_is_left()
    assert _stop_all(box) == "{}\n"


def test_processes_are_found_though_nothing_records_them(box: Box) -> None:
    """By what stands in their environment: an instance's child whose state directory was removed."""
    box.state_dir = box.temp_dir / "sigmaos-test-gone"
    with subprocess.Popen(["sleep", "600"], env=box.env | {MARK: str(box.state_dir)}) as left:
        (found,) = _found(box).values()
        assert (found["state"], found["process_count"], found["instance"]) == ("crashed", 1, None)
        _stop_all(box)
        assert left.wait(60) == -signal.SIGTERM
    assert _found(box) == {}


def test_the_users_own_directory_stays(box: Box) -> None:
    """With what named and ux keep there."""
    box.ok("start", "--services", "named")
    box.put("name/kept", "kept")
    (found,) = _found(box).values()
    assert not found["is_temporary"]
    assert str(box.state_dir) in box.ok("ps", "--instances")
    _stop_all(box)
    assert box.state_dir.is_dir()
    box.ok("start", "--services", "named")
    assert box.ok("cat", "name/kept") == "kept"


def test_a_clock_that_is_changed_makes_no_instance_a_stranger(box: Box) -> None:
    """Processes are known by the machine's start and their own ticks, which no clock moves."""
    box.ok("start", "--services", "named")
    code = (
        "import psutil, sys\n"
        "psutil.boot_time = psutil._pslinux.boot_time = lambda: 1.0e9\n"
        "from sigmaos_ray.cli.main import main\n"
        "main()\n"
    )
    for verb in (["status"], ["ls"], ["stop"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *verb], env=os.environ | box.env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done
    box.check_nothing_is_left()
