"""The Ray that an instance runs on: one that is there already, or its own, which lives and dies with the daemon."""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import secrets
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import ray

from kernel.boot.aside import Lane, started
from kernel.boot.placing import host_for, namespace_of
from kernel.boot.raysession import core_processes, end_session, wait_any_end, wait_unreachable
from kernel.raylib import own
from sigmaos_ray import config, serr

if TYPE_CHECKING:
    from kernel.boot.request import BootRequest


_TEMP_DIR_LENGTH_MAX: Final = 20
"""A socket's path has at most 107 bytes, and Ray's names take most of them."""


class RayCluster:
    """The daemon's connection to Ray: ``prepare`` it, ``start`` it, ``end`` it. However Ray hangs, a signal ends a
    ``start``, and an ``end`` is over within ``BootTimes.ray_leave_timeout_s`` and a few seconds."""

    def __init__(self, request: BootRequest, join: str | None) -> None:
        self._request = request
        self._join = join
        is_of_network = join is None and request.config == "remote"
        self.host = host_for(request.host, request.config if is_of_network else "", _outward() if is_of_network else "")
        """The address that the instance binds and publishes on this machine; that of a Ray that is joined may say
        another one, once it has started."""
        self.address = ""
        self._cores = 0.0
        # What Ray starts ends with the thread that started it.
        self._lane = Lane("ray")
        self._starting: concurrent.futures.Future[object] | None = None
        self._addresses: tuple[str, ...] = ()
        """Of a Ray that was joined: without which it cannot be used from here."""
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
        self._starting = self._lane.call(self._start)
        self._starting.result()

    def _start(self) -> None:
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
        except Exception as error:  # Ray raises a bare Exception for a node that takes too long to start, too
            raise serr.Error("ray", str(error).strip().splitlines()[0] if str(error) else repr(error)) from error
        self.address = ray.get_runtime_context().gcs_address
        self._cores = ray.cluster_resources().get("CPU", 0)  # type: ignore[no-untyped-call]
        if self._join is not None:
            nodes = [node for node in _nodes() if node["Alive"]]
            here = next(node for node in nodes if node["NodeID"] == own_node_id())
            everybody = [node["NodeManagerAddress"] for node in nodes]
            self.host = host_for(self._request.host, self._request.config, here["NodeManagerAddress"], everybody)
            self._addresses = (self.address, f"{here['NodeManagerAddress']}:{here['NodeManagerPort']}")

    def _start_own(self, options: dict[str, Any]) -> None:
        """Workers inherit this process's environment, so the realm's programs are found without a runtime
        environment, whose set-up would cost every first worker a second."""
        os.environ |= _runtime_env()["env_vars"]
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        own.set_environment()
        os.environ.pop("RAY_ADDRESS", None)
        with contextlib.nullcontext() if self._request.dashboard else own.without_dashboard():
            ray.init(
                address="local",
                num_cpus=self._request.num_cpus,
                include_dashboard=self._request.dashboard,
                **own.init_options(self.temp_dir, self.host),
                **options,
            )

    def line(self) -> str:
        # Not from Ray's state: that may hang where this line is made.
        kind = "started" if self.is_own else "joined"
        return f"ray {ray.__version__} at {self.address} ({kind}), {self._cores:.0f} cores"

    async def wait_lost(self) -> str:
        """Returns when Ray can no longer be used: the name of what ended."""
        return await (wait_any_end(core_processes()) if self.is_own else wait_unreachable(self._addresses))

    def end(self) -> bool:
        """Leaves Ray, and ends it if it is our own; False if something of it may be left. May be repeated."""
        timeout_s = config.current().boot.ray_leave_timeout_s
        starting, self._starting = self._starting, None
        has_started = starting is None or _is_over(starting, timeout_s)
        if has_started and ray.is_initialized():
            # Of a Ray that does not answer nobody takes leave.
            _is_over(started(ray.shutdown), timeout_s)
        directory, self.temp_dir = self.temp_dir, ""
        if directory:
            end_session(directory)
        return has_started


def _is_over(call: concurrent.futures.Future[Any], timeout_s: float) -> bool:
    """Waits for the end of a call, whatever it comes to."""
    return bool(concurrent.futures.wait([call], timeout_s).done)


def _outward() -> str:
    """The address of this machine that others reach, as far as the system knows."""
    address: Any = ray.util.get_node_ip_address  # Ray does not type it
    return str(address())


def own_node_id() -> str:
    """Ray's id of the node that this process runs on."""
    node_id: str = ray.get_runtime_context().get_node_id()
    return node_id


def live_nodes() -> dict[str, str]:
    """The live Ray nodes and their addresses. Blocks for Ray's control store; Unreachable if that is gone."""
    return {node["NodeID"]: node["NodeManagerAddress"] for node in _nodes() if node["Alive"]}


def _nodes() -> list[dict[str, Any]]:
    nodes: Any = ray.nodes  # Ray does not type it
    try:
        found: list[dict[str, Any]] = nodes()
    except Exception as error:  # Ray raises all kinds, of a control store that is gone
        raise serr.Unreachable("ray", repr(error)) from error
    return found


def _runtime_env() -> dict[str, Any]:
    """Programs come from where ``sigmaos start`` was called, and from its PYTHONPATH."""
    paths = [os.getcwd(), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {"env_vars": {"PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}}
