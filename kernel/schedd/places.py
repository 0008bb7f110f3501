"""Where a schedd's actor stands in Ray, and where its procs run."""

from __future__ import annotations

from typing import Any

import msgspec

from sigmaos_ray.machine import OsProcess
from sigmaos_ray.pb import proc_pb2 as pb


class RayPlace(msgspec.Struct, frozen=True, kw_only=True):
    """What an actor knows of itself, and its schedd needs."""

    node_id: str
    namespace: str | None
    handle: bytes
    """The actor's own, pickled by Ray: workers call back through it."""
    runtime_env: dict[str, Any] | None = None
    """The realm's; never with per-proc data in it: Ray starts a new worker for each environment."""


class Runner(msgspec.Struct, frozen=True, kw_only=True):
    """A process that runs procs, as it tells of itself."""

    process: OsProcess
    ray_node_id: str
    kernel_id: str = ""
    """The kernel node that serves its Ray node, and watches over it; empty while there is none."""

    @classmethod
    def from_pb(cls, message: pb.LeaseRunner) -> Runner:
        process = OsProcess(message.machine, message.os_pid, message.started_ticks)
        return cls(process=process, ray_node_id=message.ray_node_id, kernel_id=message.kernel_id)

    def to_pb(self) -> pb.LeaseRunner:
        process = self.process
        return pb.LeaseRunner(
            machine=process.machine,
            os_pid=process.pid,
            started_ticks=process.started_ticks,
            ray_node_id=self.ray_node_id,
            kernel_id=self.kernel_id,
        )
