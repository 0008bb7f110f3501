"""More Ray nodes for an instance, on this machine: each is a raylet of its own, and boot puts a kernel node on it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil

from sigmaos_ray import serr

if TYPE_CHECKING:
    from collections.abc import Callable

    from sigmaos_ray.instance import Instance

START_TIMEOUT_S: Final = 60.0
_LOOK_AGAIN_S: Final = 0.05
TOKEN_FILE_NAME: Final = "ray-auth-token"
"""Of an own Ray, in the instance's state directory."""


class RayNodes:
    """The nodes that a test added to an instance's own Ray. ``close`` ends them. ``read_instance`` tells how the
    instance is now."""

    def __init__(self, read_instance: Callable[[], Instance]) -> None:
        self._read_instance = read_instance
        self._nodes: dict[str, subprocess.Popen[bytes]] = {}
        """By kernel id."""

    def add(self, num_cpus: int) -> str:
        """Starts a node and blocks until its kernel node serves, some seconds; returns the kernel id. Error if Ray's
        node ends instead, Timeout if no kernel node comes. Nothing is left behind then."""
        before = {node.id for node in self._read_instance().kernel_nodes}
        process = self._start(num_cpus)
        try:
            kernel_id = self._wait_for_new(process, before)
        except BaseException:
            _end(process)
            raise
        self._nodes[kernel_id] = process
        return kernel_id

    def _start(self, num_cpus: int) -> subprocess.Popen[bytes]:
        instance = self._read_instance()
        env = os.environ | {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(Path(instance.state_dir) / TOKEN_FILE_NAME),
            "RAY_worker_niceness": "0",
            "PYTHONPATH": os.pathsep.join([os.getcwd(), *filter(None, [os.environ.get("PYTHONPATH")])]),
        }
        ray = str(Path(sys.executable).with_name("ray"))
        command = [ray, "start", f"--address={instance.ray_address}", f"--num-cpus={num_cpus}", "--block"]
        return subprocess.Popen(
            command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def _wait_for_new(self, process: subprocess.Popen[bytes], before: set[str]) -> str:
        """The id of a kernel node that was not there ``before``, once it has all the services that the first one has,
        but for named, which not each node has."""
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline_s:
            if process.poll() is not None:
                raise serr.Error("ray start", f"ended with {process.returncode}")
            instance = self._read_instance()
            services = set(instance.kernel_nodes[0].services) - {"named"}
            for node in instance.kernel_nodes:
                if node.id not in before and services <= set(node.services):
                    return node.id
            time.sleep(_LOOK_AGAIN_S)  # boot says so in its state file, which nobody can wait on
        raise serr.Timeout("ray start", f"no kernel node on the new Ray node in {START_TIMEOUT_S:.0f} s")

    def kill(self, kernel_id: str) -> None:
        """Kills a node with all its processes, as a crash of its host would. NotFound unless it was added here."""
        process = self._nodes.pop(kernel_id, None)
        if process is None:
            raise serr.NotFound(kernel_id, "not a node that was added")
        _end(process)

    def close(self) -> None:
        """Kills what is left. May be repeated."""
        for kernel_id in list(self._nodes):
            self.kill(kernel_id)


def _end(process: subprocess.Popen[bytes]) -> None:
    """The raylet first: it must not replace the workers that end."""
    with contextlib.suppress(psutil.NoSuchProcess):
        below = psutil.Process(process.pid).children(recursive=True)
        for child in sorted(below, key=lambda child: "raylet" not in _name(child)):
            with contextlib.suppress(psutil.Error):
                child.kill()
        psutil.wait_procs(below, timeout=10)
    process.kill()
    process.wait()


def _name(process: psutil.Process) -> str:
    try:
        return str(process.name())
    except psutil.Error:
        return ""
