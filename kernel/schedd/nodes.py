"""The schedd's tree: ``pids/<pid>`` for what starts or runs, ``queue/<pid>`` for what waits, and what
its node has written (``logs``). Read-only, made when somebody looks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from kernel.schedd.procstate import ProcPhase
from sigmaos_ray import serr
from sigmaos_ray.protsrv.devices import Snapshot, StaticDir
from sigmaos_ray.protsrv.node import Dir, Node, OpenFile, OpenHow
from sigmaos_ray.sigmap import (
    DEV_PSTAT,
    DMDIR,
    OACCESS_MASK,
    OREAD,
    Perm,
    Qid,
    Stat,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernel.schedd.logs import LogDir
    from kernel.schedd.procstate import ProcState
    from kernel.schedd.state import ProcTable
    from sigmaos_ray.protsrv.watch import WatchTable
    from sigmaos_ray.rpcsrv import Caller

_ROOT_PATH: Final = 0x20
_PIDS_PATH: Final = 2
_QUEUE_PATH: Final = 3
# A proc's file has its path by number, not by pid: where a pid is used again, it is another file.
_FIRST_PROC_PATH: Final = 16


def proc_json(proc: ProcState) -> bytes:
    """A proc's file: all but its environment, which may hold secrets."""
    spec = proc.spec
    return msgspec.json.encode(
        {
            "pid": spec.pid,
            "program": spec.program,
            "args": list(spec.args),
            "state": proc.phase.value,
            "mcpu": spec.mcpu,
            "mem_mb": spec.mem_mb,
            "realm": spec.realm,
            "parent_pid": spec.parent_pid,
            "kernel_id": spec.kernel_id,
            "os_pid": proc.os_pid,
            "node": proc.runner.kernel_id if proc.runner else "",
            "spawned_s": spec.spawned_s,
            "began_s": proc.began_s,
            "started_s": proc.started_s,
            "evicted": proc.evicting,
        }
    )


class ProcTree:
    """The directories, and the watches of those of procs."""

    def __init__(self, table: ProcTable, watches: WatchTable, written: Sequence[LogDir]) -> None:
        """``written``: what this node has written."""
        self._watches = watches
        self.pids = ProcDir("pids", _PIDS_PATH, table, ProcPhase.STARTING, ProcPhase.RUNNING)
        self.queue = ProcDir("queue", _QUEUE_PATH, table, ProcPhase.QUEUED)
        self.root = StaticDir("", [self.pids, self.queue, *written], _ROOT_PATH, DEV_PSTAT)

    def moved(self, pid: str, old: ProcPhase | None, new: ProcPhase | None) -> None:
        """Publishes that a proc is listed elsewhere; called in the moment of the move."""
        # None, for what comes or goes, is in no directory's phases, and needs no case of its own.
        for directory in (self.pids, self.queue):
            was, now = old in directory.phases, new in directory.phases
            if was is now:
                continue
            directory.version += 1
            tell = self._watches.created if now else self._watches.removed
            tell(directory.path, pid)


class ProcDir(Dir):
    """The procs that are in certain phases."""

    def __init__(self, name: str, path: int, table: ProcTable, *phases: ProcPhase) -> None:
        self._name = name
        self.path = path
        self._table = table
        self.phases = phases
        self.version = 0

    @property
    def name(self) -> str:
        return self._name

    @property
    def perm(self) -> Perm:
        return DMDIR | 0o555

    def qid(self) -> Qid:
        return Qid.of(self.perm, self.version, self.path)

    async def stat(self, caller: Caller) -> Stat:
        return Stat(name=self._name, qid=self.qid(), mode=self.perm, dev=DEV_PSTAT)

    async def lookup(self, caller: Caller, name: str) -> Node:
        proc = self._table.get(name)
        if proc.phase not in self.phases:
            raise serr.NotFound(name)
        return ProcFile(proc)

    async def entries(self, caller: Caller, after: str, limit: int) -> list[Stat]:
        names = [pid for pid in self._table.pids(*self.phases) if pid > after][:limit]
        return [ProcFile(self._table.get(pid)).status() for pid in names]

    async def create(self, caller: Caller, name: str, how: OpenHow) -> tuple[Node, OpenFile | None]:
        raise serr.NotSupported(name, "procs come by spawn")


class ProcFile(Node):
    """One proc, as JSON."""

    def __init__(self, proc: ProcState) -> None:
        self._proc = proc

    @property
    def name(self) -> str:
        return self._proc.pid

    @property
    def perm(self) -> Perm:
        return 0o444

    def qid(self) -> Qid:
        path = _FIRST_PROC_PATH + self._proc.number
        return Qid.of(self.perm, list(ProcPhase).index(self._proc.phase), path)

    def status(self) -> Stat:
        return Stat(
            name=self.name,
            qid=self.qid(),
            mode=self.perm,
            length=len(proc_json(self._proc)),
            mtime=self._proc.started_s or self._proc.began_s or self._proc.spec.spawned_s,
            dev=DEV_PSTAT,
        )

    async def stat(self, caller: Caller) -> Stat:
        return self.status()

    async def open(self, caller: Caller, how: OpenHow) -> OpenFile:
        if how.mode & OACCESS_MASK != OREAD:
            raise serr.NotSupported(self.name, "read-only")
        return Snapshot(self.name, proc_json(self._proc))
