"""The Ray that an instance runs on: one that is there already, or its own, which lives and dies with the daemon."""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import ray

from kernel.boot.placing import namespace_of
from kernel.boot.raysession import core_processes, end_session, wait_any_end, wait_unreachable
from kernel.raylib import own
from sigmaos_ray import serr

if TYPE_CHECKING:
    from kernel.boot.request import BootRequest


_TEMP_DIR_LENGTH_MAX: Final = 20
"""A socket's path has at most 107 bytes, and Ray's names take most of them."""


class RayCluster:
    """The daemon's connection to Ray. ``prepare``, ``start`` and ``end`` it in the main thread."""

    def __init__(self, request: BootRequest, join: str | None) -> None:
        self._request = request
        self._join = join
        self.address = ""
        self.temp_dir = ""
        """Where an own Ray keeps its files and sockets; empty while there is none."""

    @property
    def is_own(self) -> bool:
        return self._join is None

    def prepare(self) -> None:
        """Before ``start``: chooses the directory of an own Ray, so that it is known whatever happens then."""
        if self.is_own:
            # Sockets lie below it, and their paths are short by law: not in the state directory.
            base = Path(tempfile.gettempdir())
            base = base if len(str(base)) <= _TEMP_DIR_LENGTH_MAX else Path("/tmp")
            self.temp_dir = str(base / f"sigmaos-ray-{os.getuid()}-{secrets.token_hex(4)}")

    def start(self) -> None:
        """Blocks for some seconds. Error if Ray cannot be reached or started."""
        options: dict[str, Any] = {
            "namespace": namespace_of(self._request.realm),
            "log_to_driver": False,
            "logging_level": "error",
            "configure_logging": False,
        }
        try:
            if self._join is not None:
                ray.init(address=self._join, runtime_env=_runtime_env(), **options)
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
        own.set_environment()
        os.environ.pop("RAY_ADDRESS", None)
        ray.init(
            address="local",
            num_cpus=self._request.num_cpus,
            include_dashboard=self._request.dashboard,
            **own.init_options(self.temp_dir, self._request.host),
            **options,
        )

    def line(self) -> str:
        cpus = ray.cluster_resources().get("CPU", 0)  # type: ignore[no-untyped-call]
        kind = "started" if self.is_own else "joined"
        return f"ray {ray.__version__} at {self.address} ({kind}), {cpus:.0f} cores"

    async def wait_lost(self) -> str:
        """Returns when Ray can no longer be used: the name of what ended."""
        return await (wait_any_end(core_processes()) if self.is_own else wait_unreachable(self.address))

    def end(self) -> None:
        """Leaves Ray, and ends it if it is our own. May be repeated."""
        if ray.is_initialized():
            ray.shutdown()
        directory, self.temp_dir = self.temp_dir, ""
        if directory:
            end_session(directory)


def own_node_id() -> str:
    """Ray's id of the node that this process runs on."""
    node_id: str = ray.get_runtime_context().get_node_id()
    return node_id


def live_nodes() -> dict[str, str]:
    """The live Ray nodes and their addresses. Blocks for Ray's control store."""
    nodes: Any = ray.nodes  # Ray does not type it
    return {node["NodeID"]: node["NodeManagerAddress"] for node in nodes() if node["Alive"]}


def _runtime_env() -> dict[str, Any]:
    """Programs come from where ``sigmaos start`` was called, and from its PYTHONPATH."""
    paths = [os.getcwd(), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {"env_vars": {"PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}}
