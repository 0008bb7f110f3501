"""SigmaOS over several hosts, brought up as ``cluster.yaml`` says: by ``ray up``, or its commands one by one.

By hand it takes half the time; what it runs are the lines of ``cluster.yaml`` all the same, but for those that install.
"""

from __future__ import annotations

import json
import secrets
import shlex
import subprocess
import sys
import sysconfig
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

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
    """Hosts with SigmaOS on all of them but the ``desk``. The first one is the head."""

    def __init__(self, hosts: Hosts) -> None:
        self.hosts = hosts
        self.machines = [host for host in hosts if host.name != "desk"]
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
        return "" if host is self.head else f"SIGMAOS_NAMED={','.join(self.status()['named']['addrs'])}"

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

    def wait_serving(self, *hosts: Host) -> None:
        """Blocks until each of these (all of them, if none is named) has its kernel node."""
        wanted = {host.address for host in hosts or self.machines}
        until(lambda: wanted <= self.serving(), lambda: self.nodes())

    def serving(self) -> set[str]:
        """Addresses of the kernel nodes that have all that a node has."""
        return {address for address, node in self.nodes().items() if node["services"].keys() >= NODE_SERVICES}

    # -- up and down

    def start_by_hand(self) -> None:
        """Blocks until all serve."""
        token = secrets.token_hex(32)
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda host: self._set_up(host, token), self.machines))
            self.start_head()
            list(pool.map(self.start_worker, self.workers))
        self.wait_serving()

    def _set_up(self, host: Host, token: str) -> None:
        host.write(".ray/auth_token", token)
        for line in self._config()["setup_commands"]:
            if "sigmaos-venv/bin/python" not in line:
                host.run(line)

    def start_head(self) -> None:
        for line in self._config()["head_start_ray_commands"]:
            if " stop" not in line:
                self.run(self.head, line.replace(_AUTOSCALING, "--include-dashboard=false"))

    def start_worker(self, host: Host) -> None:
        for line in self._config()["worker_start_ray_commands"]:
            if " stop" not in line:
                self.run(host, line, env={"RAY_HEAD_IP": self.head.address})

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

    def left(self) -> list[str]:
        """What of ours or of Ray's runs on any host."""
        lines = [f"{host.name}: {words}" for host in self.machines for words in host.processes().values()]
        return [line for line in lines if any(program in line for program in RAYS_PROGRAMS)]


def shared_folders() -> list[Path]:
    """What hosts must see to use this project's environment."""
    environment = Path(sys.executable).parents[1]
    return [ROOT] if environment.is_relative_to(ROOT) else [ROOT, environment]


def give_environment(host: Host, *, with_project: bool) -> None:
    """An environment as pip would leave it; ``with_project``: with this project in it, else without."""
    packages, scripts = Path(sysconfig.get_path("purelib")), Path(sys.executable).parent
    host.give_packages(packages, scripts, without=() if with_project else ("sigmaos",))
    if with_project:
        host.run(["python", "-c", _LINK, *(str(ROOT / name) for name in PACKAGES)])
        (host.home / "sigmaos-ray").symlink_to(ROOT)


_AUTOSCALING: Final = "--autoscaling-config=~/ray_bootstrap_config.yaml"
"""Of what only ``ray up`` brings. Nor is there a dashboard then, which takes as long to start as the rest of Ray."""

_LINK: Final = """
import pathlib, sys, sysconfig
for package in map(pathlib.Path, sys.argv[1:]):
    pathlib.Path(sysconfig.get_path("purelib"), package.name).symlink_to(package)
"""
