"""Ray nodes that come and go: each gets a kernel node, without a command."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bootbox import Box


@pytest.fixture
def second_node(box: Box, request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[bytes]]:
    """One more raylet in the instance's own Ray, on this machine; ``_end`` takes it away. The parameter: nameds."""
    box.ok("start", "--services", "named,ux", "--named-count", str(getattr(request, "param", 1)))
    with _joining(box) as process:
        yield process
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
    """boot writes its state file anew with each change: that is what is waited for."""
    while True:
        assert count == 1 or second_node.poll() is None, "Ray's second node did not start"
        nodes = box.status()["kernel_nodes"]
        if len(nodes) == count and all("ux" in node["services"] for node in nodes):
            return [node["id"] for node in nodes]
        assert box.processes(), "the instance is gone"


def test_a_kernel_node_on_every_ray_node(box: Box, second_node: subprocess.Popen[bytes]) -> None:
    first, second = _wait_for_nodes(box, 2, second_node)
    assert first != second
    assert {first, second} <= set(box.ok("ls", "name/ux").replace("/", "").split())
    box.put(f"name/ux/{second}/f", "x")
    assert box.ok("cat", f"name/ux/{second}/f") == "x"
    box.put("name/ux/~local/f", "y")
    _end(second_node)
    assert _wait_for_nodes(box, 1, second_node) == [first]
    assert box.ok("cat", "name/ux/~local/f") == "y"
    # It comes back as another node of Ray's, and as the same one of ours.
    with _joining(box) as again:
        assert _wait_for_nodes(box, 2, again) == [first, second]
        assert box.ok("cat", f"name/ux/{second}/f") == "x"
        _end(again)
    box.ok("stop")
    box.ok("start", "--services", "named,ux")
    assert _wait_for_nodes(box, 1, second_node) == [first]


def test_a_part_that_fails_on_one_node_is_that_nodes_state(box: Box) -> None:
    """The rest goes on, and the part runs as soon as it can."""
    in_the_way = box.state_dir / "nodes" / "2" / "ux"
    in_the_way.parent.mkdir(parents=True)
    in_the_way.write_text("a file where ux wants a directory")
    box.ok("start", "--services", "named,ux")
    with _joining(box) as joined:
        while not _failed(box):
            assert joined.poll() is None
        second = box.status()["kernel_nodes"][1]
        assert second["services"] == {}
        assert "ux" in second["parts"]["ux"]["cause"]
        assert f"{second['id']}  ux" in (printed := box.ok("status"))
        assert f"failed: {second['parts']['ux']['cause']}" in printed
        box.put("name/ux/~local/f", "x")
        in_the_way.unlink()
        while "ux" not in box.status()["kernel_nodes"][1]["services"]:
            assert joined.poll() is None
        box.put(f"name/ux/{second['id']}/f", "x")
        _end(joined)


def _failed(box: Box) -> bool:
    nodes = box.status()["kernel_nodes"]
    return len(nodes) == 2 and nodes[1]["parts"]["ux"]["state"] == "failed"


def _roles(box: Box) -> list[list[str]]:
    return [sorted(role for role in node["services"] if "named" in role) for node in box.status()["kernel_nodes"]]


def _wait_for_roles(box: Box, wanted: list[list[str]]) -> None:
    while _roles(box) != wanted:
        assert box.processes(), "the instance is gone"


@pytest.mark.soak  # tests/faults/test_standby_instance.py has the same on one node
@pytest.mark.parametrize("second_node", [2], indirect=True)
def test_a_standby_on_a_node_of_its_own(box: Box, second_node: subprocess.Popen[bytes]) -> None:
    """One named per node first; what ran on a node that is gone runs on one that is left."""
    _wait_for_roles(box, [["named"], ["named-standby"]])
    box.put("name/f", "x")
    _end(second_node)
    _wait_for_roles(box, [["named", "named-standby"]])
    box.kill("named")
    assert box.ok("cat", "name/f") == "x"
