"""A running instance: what it says of itself, and what it does when parts of it are killed."""

from __future__ import annotations

import json
import re
import socket
from typing import TYPE_CHECKING

import psutil
import pytest

from kernel.service import all_services, service_names
from sigmaos_ray.sigmap import NAMED_ROOT_DIRS

if TYPE_CHECKING:
    from bootbox import Box


def test_it_says_what_it_starts(started: tuple[Box, str]) -> None:
    lines = started[1].splitlines()
    expected = [
        r"etcd \d.* at 127.0.0.1:\d+, data in .*",
        r"ray \d.* \(started\), 2 cores",
        r"named at .*:\d+",
        r"s3 emulator .* at http://127.0.0.1:\d+; .*",
        rf"kernel node sigma-\w+: {' '.join(sorted(set(service_names()) - {'named'}))}",
        r"ready in \d+\.\d s",
    ]
    for pattern, line in zip(expected, lines, strict=True):
        assert re.fullmatch(pattern, line)


def test_ray_has_no_servers_that_nobody_asked_for(running: Box) -> None:
    commands = [process.cmdline() for process in psutil.Process(running.pid_of("boot")).children(recursive=True)]
    assert any("raylet" in command[0] for command in commands if command)
    assert not [command for command in commands for word in command if word.endswith(("/dashboard.py", "/monitor.py"))]


def test_status_tells_where_everything_is(running: Box) -> None:
    status = running.status()
    assert status == json.loads(running.ok("status", "--json"))
    assert status["realm"] == "rootrealm"
    assert status["state_dir"] == str(running.state_dir)
    (node,) = status["kernel_nodes"]
    assert node["id"].startswith("sigma-")
    assert set(node["services"]) == set(service_names())
    addresses = [f"{info['host']}:{info['port']}" for info in node["services"].values()]
    for address in [*addresses, *status["etcd_endpoints"], status["s3_endpoint"].removeprefix("http://")]:
        host, _, port = address.rpartition(":")
        socket.create_connection((host, int(port)), timeout=5).close()
    for info in node["services"].values():
        assert psutil.Process(info["pid"]).is_running()
    assert status["s3_credentials_profile"] is None


def test_status_for_people(running: Box) -> None:
    printed = running.ok("status")
    assert "KERNEL NODE" in printed
    assert running.status()["etcd_endpoints"][0] in printed


def test_the_root_after_a_boot(running: Box) -> None:
    names = {line.rstrip("/") for line in running.ok("ls").splitlines()}
    assert {*NAMED_ROOT_DIRS, "named-election-rootrealm", ".statsd", "rpc"} <= names
    assert running.ok("ls", "name/ux").split()[0].rstrip("/") == running.status()["kernel_nodes"][0]["id"]


def test_what_runs_where_is_shown_in_the_namespace(running: Box) -> None:
    (node,) = running.status()["kernel_nodes"]
    files = {f"{service}-{node['id']}" for service in node["services"]}
    # A moment after the start is over: nobody has to wait for it then.
    running.until(lambda: files <= {name.rstrip("/") for name in running.ok("ls", "name/kpids").split()})
    shown = json.loads(running.ok("cat", f"name/boot/{node['id']}"))
    assert shown["services"].keys() == node["services"].keys()
    assert all(part == {"state": "running", "cause": ""} for part in shown["parts"].values())
    told = json.loads(running.ok("cat", f"name/kpids/ux-{node['id']}"))
    assert (told["service"], told["pid"]) == ("ux", node["services"]["ux"]["pid"])


def test_a_second_start_says_what_runs(running: Box) -> None:
    boot_pid = running.pid_of("boot")
    assert f"boot process {boot_pid}" in running.ok("start")
    # With --json its lines for people are on stderr.
    assert json.loads(running.run("start", "--json").stdout)["boot_pid"] == boot_pid


def test_programs_come_from_where_start_was_called(running: Box) -> None:
    outcome = running.run("spawn", "--wait", "no_such_program")
    assert outcome.returncode == 1
    assert len(outcome.stdout.splitlines()) == 2  # the pid, the status


def test_state_is_readable_by_its_user_alone(running: Box) -> None:
    assert (running.state_dir / "instance.json").stat().st_mode & 0o077 == 0


def test_logs_of_kernel_parts(running: Box) -> None:
    assert {"boot.log", "etcd.log"} <= {file.name for file in (running.state_dir / "logs").iterdir()}
    assert running.run("logs", "boot").returncode == 0


@pytest.mark.parametrize("part", ["etcd", "named"])
def test_what_was_acknowledged_survives(running: Box, part: str) -> None:
    running.put(f"name/before-{part}", "kept")
    endpoints = running.status()["etcd_endpoints"]
    running.kill(part)
    assert running.ok("cat", f"name/before-{part}") == "kept"
    assert f"before-{part}" in running.ok("ls").split()
    running.put(f"name/after-{part}", "too")
    assert running.status()["etcd_endpoints"] == endpoints


@pytest.mark.parametrize("part", [service.name for service in all_services() if service.is_per_node])
def test_a_kernel_service_comes_back_under_its_name(running: Box, part: str) -> None:
    before = running.pid_of(part)
    running.kill(part)
    # Its name vanishes, and stands again once the new one answers.
    assert running.ok("cat", f"name/{part}/~local/.statsd")
    assert running.pid_of(part) != before


def test_the_s3_emulator_comes_back_at_its_address(running: Box) -> None:
    endpoint = running.status()["s3_endpoint"]
    running.kill("emulator")
    assert running.status()["s3_endpoint"] == endpoint
    running.until(lambda: running.run("ls", "name/s3/~local/").returncode == 0)
