"""SigmaOS over several hosts, brought up as ``cluster.yaml`` says: by ``ray up``, or its commands one by one.

By hand it takes half the time; what it runs are the lines of ``cluster.yaml`` all the same, but for those that install.
"""

from __future__ import annotations

import compileall
import json
import secrets
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from sigmaos_ray.config import NAMED_PORT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sigmaos_ray.testing.hosts import Host, Hosts

ROOT: Final = Path(__file__).parents[2]
PROGRAMS: Final = Path(__file__).parent / "programs"
PIPES: Final[dict[str, Any]] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE}
PACKAGES: Final = ("sigmaos_ray", "kernel", "user")
WITHIN_S: Final = 180.0
"""A bound for what must come at all, however busy the machine is."""
POLL_S: Final = 0.1
OFF_S: Final = 3.0
NODE_SERVICES: Final = frozenset({"ux", "schedd", "s3"})
"""What each kernel node has."""
RAYS_PROGRAMS: Final = ("raylet", "gcs_server", "ray::", "/ray/", "sigmaos", "kernel.boot", "etcd", "moto")


def until(holds: Callable[[], Any], what: Callable[[], object] | str = "", within_s: float = WITHIN_S) -> Any:
    """Blocks until something holds; returns what it was. AssertionError if it does not come."""
    deadline_s = time.monotonic() + within_s
    while not (value := holds()):
        if time.monotonic() > deadline_s:
            raise AssertionError(f"not within {within_s:.0f} s: {what() if callable(what) else what}")
        time.sleep(POLL_S)
    return value


class Running:
    """A program that goes on, and the lines of JSON that it prints."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.lines: list[list[Any]] = []
        self._reader = threading.Thread(target=self._read, name="lines")
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(json.loads(line))

    def told(self, what: str, *words: str) -> list[list[Any]]:
        """The lines so far that say that: of each, what follows the time."""
        return [line for line in [*self.lines] if line[1 : 2 + len(words)] == [what, *words]]

    def wait(self, what: str, *words: str, count: int = 1) -> list[list[Any]]:
        """Blocks until it said that so often."""
        return until(lambda: len(told := self.told(what, *words)) >= count and told, lambda: self.lines)  # type: ignore[no-any-return]

    def close(self) -> None:
        """Waits for its end. AssertionError if it failed."""
        code = self._process.wait(WITHIN_S)
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()
        assert code == 0, self.lines


class Cluster:
    """Hosts with SigmaOS, the first of them as head; without it the ``desk``, and the ``spare``, which may be added."""

    def __init__(self, hosts: Hosts) -> None:
        self.hosts = hosts
        self.machines = [host for host in hosts if host.name not in ("spare", "desk")]
        self.head, *self.workers = self.machines

    def __getitem__(self, name: str) -> Host:
        return self.hosts[name]

    # -- commands of users

    def run(
        self, host: Host, words: str, *, check: bool = True, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """A command of a user who logged in to that host."""
        return host.run(["bash", "-ic", words], timeout_s=WITHIN_S, check=check, env=env)

    def sigmaos(self, host: Host, words: str, *, stdin: str = "") -> str:
        """What a command printed. AssertionError if it failed."""
        return host.run(
            ["bash", "-ic", f"{self._settings(host)} sigmaos {words}"], timeout_s=WITHIN_S, stdin=stdin
        ).stdout

    def python(self, host: Host, program: str) -> str:
        """What a program printed that a user runs on that host."""
        words = f"{self._settings(host)} exec python -"
        return host.run(["bash", "-ic", words], timeout_s=WITHIN_S, stdin=program).stdout

    def program(self, host: Host, name: str, *arguments: str) -> list[str]:
        """The lines that one of the folder ``programs`` printed, run by a user on that host."""
        return self.run(host, self._program(host, name, arguments)).stdout.splitlines()

    def start_program(self, host: Host, name: str, *arguments: str) -> Running:
        """The same, while it goes on. The caller closes it."""
        return Running(host.start(["bash", "-ic", self._program(host, name, arguments)], **PIPES))

    def _program(self, host: Host, name: str, arguments: Sequence[str]) -> str:
        return f"{self._settings(host)} exec python {PROGRAMS / name}.py {shlex.join(arguments)}"

    def _settings(self, host: Host) -> str:
        """What a user sets who is not on the head, where the state file says where named is."""
        return "" if host is self.head else f"SIGMAOS_NAMED={self.head.address}:{NAMED_PORT}"

    # -- what runs

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = json.loads((self.head.home / ".local/state/sigmaos-ray/instance.json").read_text())
        return status

    def nodes(self) -> dict[str, dict[str, Any]]:
        """Address -> kernel node, as the state file on the head says."""
        try:
            return {node["host"]: node for node in self.status()["kernel_nodes"]}
        except FileNotFoundError:
            return {}

    def node_of(self, host: Host) -> dict[str, Any]:
        """The kernel node of a host."""
        node: dict[str, Any] = self.nodes()[host.address]
        return node

    def leader(self) -> Host | None:
        """Whose named leads, as the state file on the head says."""
        # Behind the leader's addresses are those of who stands by.
        places = [address.rpartition(":")[0] for address in self.status()["named"]["addrs"][:1]]
        return next((host for host in self.machines if host.address in places), None)

    def wait_serving(self, *hosts: Host) -> None:
        """Blocks until each of these (all of them, if none is named) has its kernel node."""
        wanted = {host.address for host in hosts or self.machines}
        until(lambda: wanted <= self.serving(), lambda: self.nodes())

    def serving(self) -> set[str]:
        """Addresses of the kernel nodes that have all that a node has."""
        return {address for address, node in self.nodes().items() if node["services"].keys() >= NODE_SERVICES}

    # -- up and down

    def start_by_hand(self, options: str = "") -> None:
        """Blocks until all serve. ``options``: of ``sigmaos start``."""
        token = secrets.token_hex(32)
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda host: self._set_up(host, token), self.hosts))
            self.start_head(options)
            list(pool.map(self.start_worker, self.workers))
        self.wait_serving()

    def ray_up(self) -> None:
        """Calls it on the desk, as a user would; blocks until all serve."""
        self.prepare_desk()
        self.run(self["desk"], "ray get-auth-token --generate")
        self.on_desk("ray up -y --no-config-cache cluster.yaml")
        self.wait_serving()

    def prepare_desk(self) -> None:
        """Gives it the key, and the project with ``cluster.yaml`` filled in."""
        self["desk"].give_key()
        self.put_project(self["desk"])

    def on_desk(self, words: str) -> str:
        """What a command printed, called where ``cluster.yaml`` is."""
        return self.run(self["desk"], f"cd ~/sigmaos-ray && {words}").stdout

    def put_project(self, host: Host) -> None:
        """A copy of the sources in the user's home."""
        files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        with tempfile.TemporaryDirectory(dir=host.home.parent) as directory:
            for name in files.splitlines():
                target = Path(directory, name)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, target)
            Path(directory, "cluster.yaml").write_text(self.cluster_yaml())
            host.put(Path(directory), "sigmaos-ray")

    def _set_up(self, host: Host, token: str) -> None:
        host.write(".ray/auth_token", token)
        for line in self._config()["setup_commands"]:
            if "sigmaos-venv/bin/python" not in line:
                host.run(line)

    def start_head(self, options: str = "") -> None:
        for line in self._config()["head_start_ray_commands"]:
            if " stop" not in line:
                line = line.replace(_AUTOSCALING, "")
                self.run(self.head, f"{line} {options}" if line.endswith("sigmaos start") else line)

    def start_worker(self, host: Host) -> None:
        for line in self._config()["worker_start_ray_commands"]:
            if " stop" not in line:
                self.run(host, line, env={"RAY_HEAD_IP": self.head.address})

    def switch_off_and_on(self, host: Host) -> None:
        """All that ran there is gone, its files are not; while it is off nobody answers for it."""
        host.cut()
        host.crash()
        time.sleep(OFF_S)
        host.boot()
        host.heal()

    def mend(self) -> None:
        """Undoes what was done to the machines: blocks until all serve again."""
        for host in self.machines:
            host.heal()
        for host in (worker for worker in self.workers if not worker.is_up):
            host.boot()
            self.start_worker(host)
        self.wait_serving()

    def _config(self) -> dict[str, Any]:
        config: dict[str, Any] = yaml.safe_load(self.cluster_yaml())
        return config

    def cluster_yaml(self) -> str:
        """``cluster.yaml``, filled in."""
        text = (ROOT / "cluster.yaml").read_text()
        values = {f"WORKER_ADDRESS_{number}": host.address for number, host in enumerate(self.workers, 1)}
        values |= {"HEAD_ADDRESS": self.head.address, "USER": "ray", "KEY_FILE": "~/.ssh/id_ed25519"}
        for placeholder, value in values.items():
            text = text.replace(placeholder, value)
        return text

    def left(self, *hosts: Host) -> list[str]:
        """What of ours or of Ray's runs on these hosts, or on any."""
        lines = [f"{host.name}: {words}" for host in hosts or self.machines for words in host.processes().values()]
        return [line for line in lines if any(program in line for program in RAYS_PROGRAMS)]


def shared_folders() -> list[Path]:
    """What hosts must see to use this project's environment."""
    environment = Path(sys.executable).parents[1]
    return [ROOT] if environment.is_relative_to(ROOT) else [ROOT, environment]


def give_environment(host: Host, *, with_project: bool) -> None:
    """An environment as pip would leave it; ``with_project``: with this project in it, else without."""
    if with_project:
        _compile_project()
    packages, scripts = Path(sysconfig.get_path("purelib")), Path(sys.executable).parent
    host.give_packages(packages, scripts, without=() if with_project else ("sigmaos",))
    if with_project:
        host.run(["python", "-c", _LINK, *(str(ROOT / name) for name in PACKAGES)])
        (host.home / "sigmaos-ray").symlink_to(ROOT)


def _compile_project() -> None:
    """As pip does, once: hosts may not write there, so that every process of theirs would compile what it imports."""
    for name in PACKAGES:
        assert compileall.compile_dir(ROOT / name, quiet=1)


_AUTOSCALING: Final = "--autoscaling-config=~/ray_bootstrap_config.yaml"
"""Of what only ``ray up`` brings."""

_LINK: Final = """
import pathlib, sys, sysconfig
for package in map(pathlib.Path, sys.argv[1:]):
    pathlib.Path(sysconfig.get_path("purelib"), package.name).symlink_to(package)
"""
