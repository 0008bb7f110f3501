"""ProcInfo: what a schedd tells about one of its procs, to ``ps`` and its like. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import msgspec

from sigmaos_ray.proc.spec import Tpid
from sigmaos_ray.proc.status import Status

if TYPE_CHECKING:
    from sigmaos_ray.pb import proc_pb2 as pb


class ProcInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a schedd tells about a proc. Times are in seconds since 1970; 0: not yet."""

    pid: Tpid
    program: str
    args: tuple[str, ...] = ()
    state: str = ""
    """queued, starting, running or exited."""
    note: str = ""
    """What it waits for."""
    parent_pid: Tpid = ""
    realm: str = ""
    kernel_id: str = ""
    mcpu: float = 0
    mem_mb: float = 0
    spawned_s: float = 0
    started_s: float = 0
    ended_s: float = 0
    os_pid: int = 0
    """Of the process that runs it, on its ``machine``; 0: none yet."""
    machine: str = ""
    """As ``machine.machine()`` is there."""
    node: str = ""
    """The kernel node where that is: another than ``kernel_id``, which is the schedd's, if Ray chose another one."""
    status: Status | None = None

    @classmethod
    def from_pb(cls, info: pb.ProcInfo) -> Self:
        proc = info.proc
        return cls(
            pid=proc.pid,
            program=proc.program,
            args=tuple(proc.args),
            state=info.state,
            note=info.note,
            parent_pid=proc.parent_pid,
            realm=proc.realm,
            kernel_id=proc.kernel_id,
            mcpu=proc.mcpu,
            mem_mb=proc.mem_mb,
            spawned_s=proc.spawned_s,
            started_s=info.started_s,
            ended_s=info.ended_s,
            os_pid=info.os_pid,
            machine=info.machine,
            node=info.node,
            status=Status.from_pb(info.status) if info.HasField("status") else None,
        )
