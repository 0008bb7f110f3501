"""Ray nodes that come and go: each gets a kernel node, without a command. And a Ray that goes, as a whole."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from bootbox import Box

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def shared() -> Iterator[Box]:
    """An instance of one node, as each test leaves it."""
    with Box() as box:
        box.ok("start", "--services", "named,ux")
        yield box


@contextlib.contextmanager
def _second_node(box: Box) -> Iterator[subprocess.Popen[bytes]]:
    """One more raylet in the instance's own Ray, on this machine; ``_end`` takes it away."""
    with _joining(box) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                _end(process)


def _joining(box: Box) -> subprocess.Popen[bytes]:
    env = box.env | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(box.state_dir / "ray-auth-token")}
    ray = str(Path(sys.executable).with_name("ray"))
    joining = [ray, "start", f"--address={box.status()['ray_address']}", "--num-cpus=1", "--block"]
    return subprocess.Popen(joining, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _end(process: subprocess.Popen[bytes]) -> None:
    for child in psutil.Process(process.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            child.kill()
    process.kill()
    process.wait()


def _wait_for_nodes(box: Box, count: int, second_node: subprocess.Popen[bytes]) -> list[str]:
    def ids() -> list[str]:
        assert count == 1 or second_node.poll() is None, "Ray's second node did not start"
        nodes = box.status()["kernel_nodes"]
        all_serve = len(nodes) == count and all("ux" in node["services"] for node in nodes)
        return [node["id"] for node in nodes] if all_serve else []

    return box.until(ids)


def test_a_part_that_fails_on_one_node_is_that_nodes_state(shared: Box) -> None:
    """The rest goes on, and the part runs as soon as it can."""
    in_the_way = shared.state_dir / "nodes" / "2" / "ux"
    shutil.rmtree(in_the_way.parent, ignore_errors=True)
    in_the_way.parent.mkdir(parents=True)
    in_the_way.write_text("a file where ux wants a directory")
    with _second_node(shared) as joined:
        second = shared.until(lambda: _failed(shared, joined))
        assert second["services"] == {}
        assert "ux" in second["parts"]["ux"]["cause"]
        assert f"{second['id']}  ux" in (printed := shared.ok("status"))
        assert f"failed: {second['parts']['ux']['cause']}" in printed
        shared.put("name/ux/~local/f", "x")
        in_the_way.unlink()
        assert second["id"] in _wait_for_nodes(shared, 2, joined)
        shared.put(f"name/ux/{second['id']}/f", "x")
        _end(joined)
    _wait_for_nodes(shared, 1, joined)


def _failed(box: Box, joined: subprocess.Popen[bytes]) -> dict[str, Any]:
    """The second node, once its ux has failed; empty before that."""
    assert joined.poll() is None, "Ray's second node did not start"
    nodes = box.status()["kernel_nodes"]
    is_told = len(nodes) == 2 and "ux" in nodes[1]["parts"]
    return nodes[1] if is_told and nodes[1]["parts"]["ux"]["state"] == "failed" else {}


@pytest.mark.soak  # a minute; tests/hosts has several nodes, too
def test_a_kernel_node_on_every_ray_node(shared: Box) -> None:
    with _second_node(shared) as second_node:
        first, second = _wait_for_nodes(shared, 2, second_node)
        assert first != second
        assert {first, second} <= set(shared.ok("ls", "name/ux").replace("/", "").split())
        shared.put(f"name/ux/{second}/f", "x")
        assert shared.ok("cat", f"name/ux/{second}/f") == "x"
        shared.put("name/ux/~local/f", "y")
        _end(second_node)
        assert _wait_for_nodes(shared, 1, second_node) == [first]
        assert shared.ok("cat", "name/ux/~local/f") == "y"
    # It comes back as another node of Ray's, and as the same one of ours.
    with _second_node(shared) as again:
        assert _wait_for_nodes(shared, 2, again) == [first, second]
        assert shared.ok("cat", f"name/ux/{second}/f") == "x"
        _end(again)
        _wait_for_nodes(shared, 1, again)


@pytest.mark.parametrize("part", [pytest.param("raylet", marks=pytest.mark.soak), "gcs_server"])
def test_another_ray_replaces_one_that_was_lost(shared: Box, part: str) -> None:
    shared.put("name/ux/~local/kept", "on disk")
    before = shared.status()
    boot = psutil.Process(before["boot_pid"])
    log = shared.state_dir / "logs" / "boot.log"
    shared.kill(part)
    shared.until(lambda: shared.status()["ray_address"] != before["ray_address"] and shared.status()["ready"])
    assert f"{part} ended: Ray is started again" in log.read_text(errors="replace")
    assert shared.ok("cat", "name/ux/~local/kept") == "on disk"
    after = shared.status()
    assert boot.is_running()
    assert after["etcd_endpoints"] == before["etcd_endpoints"]
    assert not Path(before["ray_temp_dir"]).exists()


def _roles(box: Box) -> list[list[str]]:
    return [sorted(role for role in node["services"] if "named" in role) for node in box.status()["kernel_nodes"]]


def _wait_for_roles(box: Box, wanted: list[list[str]]) -> None:
    box.until(lambda: _roles(box) == wanted)


@pytest.mark.soak  # tests/faults/test_standby_instance.py has the same on one node
def test_a_standby_on_a_node_of_its_own(box: Box) -> None:
    """One named per node first; what ran on a node that is gone runs on one that is left."""
    box.ok("start", "--services", "named,ux", "--named-count", "2")
    with _second_node(box) as second_node:
        _wait_for_roles(box, [["named"], ["named-standby"]])
        box.put("name/f", "x")
        _end(second_node)
        _wait_for_roles(box, [["named", "named-standby"]])
        box.kill("named")
        assert box.ok("cat", "name/f") == "x"
