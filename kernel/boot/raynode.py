"""The Ray that an instance runs on: one that is there already, or its own, which lives and dies with the daemon."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import ray

from kernel.boot.children import mentioning
from sigmaos_ray import serr

if TYPE_CHECKING:
    from kernel.boot.request import BootRequest


def running_address() -> str | None:
    """The address of a Ray that runs on this machine or that RAY_ADDRESS names, if it answers."""
    candidates = [os.environ.get("RAY_ADDRESS", "")]
    with contextlib.suppress(OSError):
        candidates.append(Path("/tmp/ray/ray_current_cluster").read_text())
    for candidate in candidates:
        address = candidate.strip()
        host, _, port = address.rpartition(":")
        if host and port.isdigit():
            with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
                return address
    return None


class RayCluster:
    """The daemon's connection to Ray. ``start`` and ``end`` it in the main thread."""

    def __init__(self, request: BootRequest) -> None:
        self._request = request
        self._temp_dir: Path | None = None
        self.address = ""
        self.is_own = False

    def start(self) -> None:
        """Blocks for some seconds. Error if Ray cannot be reached or started."""
        joined = None if self._request.own_ray else running_address()
        options: dict[str, Any] = {
            "namespace": f"sigmaos-{self._request.realm}",
            "log_to_driver": False,
            "logging_level": "error",
            "configure_logging": False,
        }
        try:
            if joined is not None:
                ray.init(address=joined, runtime_env=_runtime_env(), **options)
            else:
                self._start_own(options)
        except (RuntimeError, ConnectionError, ValueError, OSError) as error:
            raise serr.Error("ray", str(error).strip().splitlines()[0] if str(error) else repr(error)) from error
        self.address = ray.get_runtime_context().gcs_address

    def _start_own(self, options: dict[str, Any]) -> None:
        """Workers inherit this process's environment, so the realm's programs are found without a runtime
        environment, whose set-up would cost every first worker a second."""
        os.environ |= _runtime_env()["env_vars"]
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.pop("RAY_ADDRESS", None)
        # Sockets lie below it, and their paths are short by law: not in the state directory.
        self._temp_dir = Path(tempfile.gettempdir()) / f"sigmaos-ray-{os.getuid()}-{secrets.token_hex(4)}"
        self.is_own = True
        ray.init(
            address="local",
            num_cpus=self._request.num_cpus,
            include_dashboard=self._request.dashboard,
            _temp_dir=str(self._temp_dir),
            _node_ip_address=self._request.host,
            **options,
        )

    def line(self) -> str:
        cpus = ray.cluster_resources().get("CPU", 0)  # type: ignore[no-untyped-call]
        kind = "started" if self.is_own else "joined"
        return f"ray {ray.__version__} at {self.address} ({kind}), {cpus:.0f} cores"

    def end(self, timeout_s: float) -> None:
        """Leaves Ray, and ends it if it is our own. May be repeated."""
        if ray.is_initialized():
            ray.shutdown()
        temp_dir, self._temp_dir = self._temp_dir, None
        if temp_dir is None:
            return
        processes = mentioning(str(temp_dir))
        for send in ("terminate", "kill"):
            for process in processes:
                with contextlib.suppress(psutil.Error):
                    getattr(process, send)()
            _, processes = psutil.wait_procs(processes, timeout=timeout_s)
        shutil.rmtree(temp_dir, ignore_errors=True)

    @property
    def temp_dir(self) -> str:
        return str(self._temp_dir or "")


def _runtime_env() -> dict[str, Any]:
    """Programs come from where ``sigmaos start`` was called, and from its PYTHONPATH."""
    paths = [os.getcwd(), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {"env_vars": {"PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}}
