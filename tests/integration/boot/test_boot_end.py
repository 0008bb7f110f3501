"""The end of an instance, by order and by force: nothing of it stays but what it was to keep."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil
import pytest
from bootbox import free_pair

if TYPE_CHECKING:
    from bootbox import Box


def test_what_named_kept_is_there_after_a_restart_unless_it_is_to_be_forgotten(box: Box) -> None:
    """It is where it was, and a start clears what a killed daemon left."""
    box.env["SIGMAOS_NAMED_PORT"] = str(port := free_pair())
    box.ok("start", "--services", "named")
    before = box.status()
    box.put("name/kept", "kept")
    assert box.ok("stop") == "stopped\n"
    box.check_nothing_is_left()
    for verb in ("ls", "status"):
        assert "no running instance" in box.fails(verb)
    assert box.ok("stop") == "no instance is running\n"
    box.ok("start", "--services", "named")
    assert box.ok("cat", "name/kept") == "kept"
    after = box.status()
    assert after["etcd_endpoints"] == before["etcd_endpoints"]
    assert after["named"]["addrs"] == before["named"]["addrs"] == [f"127.0.0.1:{port}"]
    assert [node["id"] for node in after["kernel_nodes"]] == [node["id"] for node in before["kernel_nodes"]]
    box.kill("boot")
    box.ok("start", "--services", "named", "--clean")
    assert "kept" not in box.ok("ls").split()
    assert [str(entry) for entry in box.temp_dir.iterdir()] == [box.status()["ray_temp_dir"]] != [after["ray_temp_dir"]]


@pytest.mark.soak
def test_stop_clears_what_a_killed_daemon_left(box: Box) -> None:
    box.ok("start")
    box.kill("boot")
    assert "has crashed" in box.fails("ls")
    assert "has crashed" in box.fails("status")
    box.ok("stop")
    box.check_nothing_is_left()


@pytest.mark.parametrize("part", ["gcs_server", pytest.param("raylet", marks=pytest.mark.soak)])
def test_stop_while_ray_does_not_answer(box: Box, part: str) -> None:
    """Frozen, which no connection tells: boot leaves without Ray's word, and ends what hangs."""
    box.ok("start", "--services", "named")
    boot, frozen = psutil.Process(box.pid_of("boot")), psutil.Process(box.pid_of(part))
    frozen.suspend()
    boot.terminate()
    _, alive = psutil.wait_procs([boot, frozen], timeout=40)
    assert not alive
    box.check_nothing_is_left()


def test_stop_ends_what_a_killed_raylet_left(box: Box) -> None:
    """Ray's workers go on for a while without their raylet, and nothing in their titles tells whose they are."""
    box.ok("start", "--services", "named")
    box.kill("raylet")
    box.ok("stop")
    box.check_nothing_is_left()
