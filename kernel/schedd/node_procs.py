"""The procs of one schedd at work: the table decides, this does what it says, towards leases and those who wait."""

from __future__ import annotations

import asyncio
import math
import os
import time
from typing import TYPE_CHECKING, Any, Literal

from kernel.schedd import endings
from kernel.schedd.autopsies import Autopsies, Autopsy, AutopsyOrder
from kernel.schedd.issuing import ProcTokens
from kernel.schedd.leasing import LeaseListener, Leasing
from kernel.schedd.logs import LogDir
from kernel.schedd.nodes import ProcTree
from kernel.schedd.packages import Packages
from kernel.schedd.parents import ParentsElsewhere
from kernel.schedd.peers import Peers
from kernel.schedd.procstate import ProcPhase
from kernel.schedd.profiles import Profiles
from kernel.schedd.raynodes import lost_with
from kernel.schedd.stages import SpawnStages
from kernel.schedd.state import AskToEnd, Kill, KillLater, ProcTable, Queue, Relist, Wake, Withdraw
from kernel.schedd.waits import Waits
from sigmaos_ray import crash, debug, serr
from sigmaos_ray.perf import selection
from sigmaos_ray.proc import Status, check_pid
from sigmaos_ray.realmclnt.terms import RealmTerms
from sigmaos_ray.runner import proclog
from sigmaos_ray.sigmap import ROOT_REALM

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kernel.schedd.lease_tasks import RayContext
    from kernel.schedd.places import Runner
    from kernel.schedd.procstate import ProcState, WorkerLease
    from kernel.schedd.runners import KeptRunners
    from kernel.schedd.state import Instruction
    from sigmaos_ray.config import Config
    from sigmaos_ray.pb import proc_pb2 as pb
    from sigmaos_ray.protsrv.watch import WatchTable

_log = debug.selector("SCHEDD")
_spawn_delay = crash.point("SCHEDD_SPAWN_DELAY")


class NodeProcs(LeaseListener):
    """One per schedd, on its loop. ``stop`` ends all procs and every wait."""

    def __init__(
        self, kernel_id: str, realm: str, log_dir: str, config: Config, watches: WatchTable, kept: KeptRunners
    ) -> None:
        """``kept``: where this node's schedds keep which runners there are."""
        self._kernel_id = kernel_id
        self.realm = realm
        self._limits = config.scheduling
        self.be_cores = 1 / self._limits.be_per_core
        self.table = ProcTable(self._limits.status_kept_max)
        self.tree = ProcTree(self.table, watches, _written(realm, log_dir))
        self.waits = Waits()
        self.stages = SpawnStages()
        self.autopsies = Autopsies(log_dir, self._limits, kept)
        self.packages = Packages(kernel_id, self._limits.packages_kept_max)
        self._peers = Peers(realm)
        self.profiles = Profiles(self._peers)
        self._parents = ParentsElsewhere(kernel_id, self.table, self._peers, config.scheduling)
        self._nodes: set[str] = set()
        """The kernel nodes on which workers said hello that run procs of this schedd."""
        self.leasing: Leasing | None = None
        self.tokens = ProcTokens()
        self._terms = RealmTerms()
        self._graces: set[asyncio.TimerHandle] = set()
        self._under_way: set[asyncio.Task[None]] = set()
        self._all_gone = asyncio.Event()
        self._stopping = False

    def start(self, context: RayContext, node: bytes, tokens: ProcTokens | None = None) -> None:
        """From now on procs can be spawned. ``node``: see worker.NodeArgs. ``tokens``: what their credentials come
        from; closed with this."""
        self.tokens = tokens or ProcTokens()
        self.autopsies.runners.recover()
        self.leasing = Leasing(context, node, float(os.cpu_count() or 1), self)
        self.leasing.limit_cores(self._terms.cores_max)

    def agree(self, terms: RealmTerms) -> None:
        """What procs of the realm may have, from now on."""
        self._terms = terms
        if self.leasing is not None:
            self.leasing.limit_cores(terms.cores_max)

    def _check_terms(self, spec: pb.ProcSpec) -> None:
        """Retry for a proc that would be over a limit of the realm now, Inval for one that always is."""
        terms = self._terms
        if terms.procs_queued_max and self.table.counters.phases[ProcPhase.QUEUED] >= terms.procs_queued_max:
            raise serr.Retry(spec.pid, f"{self.realm} has {terms.procs_queued_max} procs waiting here, its most")
        for what, wanted, limit in (
            ("cores", spec.mcpu / 1000, terms.cores_max),
            ("MB of memory", spec.mem_mb, terms.mem_mb_max),
        ):
            if limit and wanted > limit:
                raise serr.Inval(spec.pid, f"{wanted:g} {what}: {self.realm} has {limit:g} on a node, its most")
        if spec.mcpu and terms.cores_max and self._reserved("mcpu") / 1000 + spec.mcpu / 1000 > terms.cores_max:
            raise serr.Retry(spec.pid, f"{self.realm} has {terms.cores_max:g} cores on this node, its most")
        if spec.mem_mb and terms.mem_mb_max and self._reserved("mem_mb") + spec.mem_mb > terms.mem_mb_max:
            raise serr.Retry(spec.pid, f"{self.realm} has {terms.mem_mb_max:g} MB on this node, its most")

    def _reserved(self, what: Literal["mcpu", "mem_mb"]) -> float:
        return sum(float(getattr(proc.spec, what)) for proc in self.table.all() if not proc.gone)

    def warm_up(self, count: int | None = None) -> None:
        """Gets so many workers ready; without a number, as many as Ray keeps while they idle: one for each core. Does
        not wait."""
        if self.leasing is not None:
            self.leasing.warm_up(count or min(os.cpu_count() or 1, self._limits.warm_max))

    async def first_lease(self) -> None:
        """Returns once a worker has come."""
        assert self.leasing is not None, "no leases before start"
        await self.leasing.arrived.wait()

    async def park(self, lease_id: str, number: int, wait: int) -> None:
        """See ``Leasing.park``."""
        if self.leasing is not None:
            await self.leasing.park(lease_id, number, wait)

    def leases_report(self) -> dict[str, Any]:
        """The section ``leases`` of ``.statsd``."""
        return {} if self.leasing is None else self.leasing.report()

    async def stop(self) -> None:
        """Asks every proc to end, kills what does not, and ends all waits. Blocks for a few seconds at most."""
        if self.leasing is None or self._stopping:
            return
        # First: whatever comes from here on is refused, so that nobody is left whom the lines below did not ask to end.
        self._stopping = True
        for pid in self.table.pids(ProcPhase.QUEUED, ProcPhase.STARTING, ProcPhase.RUNNING):
            self.evict(pid, None)
        if not await self._gone_within(self._limits.stop_grace_s):
            self._do(self.table.stopping())
            await self._gone_within(self._limits.stop_timeout_s)
        # After the ends: who waits for a proc that is over gets its status, and only the rest get this error.
        self.waits.fail(serr.Closed(f"schedd {self._kernel_id}", "the kernel node stopped"))
        for timer in self._graces:
            timer.cancel()
        await self._parents.close()
        # They still ask the runners how workers ended, so those are closed last.
        if self._under_way:
            await asyncio.wait(self._under_way)
        await self.leasing.close()
        await self.autopsies.close()
        self.tokens.close()

    async def _gone_within(self, timeout_s: float) -> bool:
        if all(proc.gone for proc in self.table.all()):
            return True
        self._all_gone.clear()
        try:
            await asyncio.wait_for(self._all_gone.wait(), timeout_s)
        except TimeoutError:
            return False
        return True

    # -- events

    def spawn(self, spec: pb.ProcSpec) -> str:
        """Queues a proc; returns the kernel id. Exists, Inval, or Closed while the schedd stops."""
        if self.leasing is None or self._stopping:
            raise serr.Closed(spec.pid, "the kernel node stops")
        check_spec(spec)
        self._check_terms(spec)
        if spec.package:
            self.packages.use(spec.package)
        spec.spawned_s = time.time()
        # Whatever the client wrote there: a proc is of the node and the realm whose schedd took it.
        spec.kernel_id = self._kernel_id
        spec.realm = self.realm
        self._do(self.table.spawn(spec))
        self._parents.has_child(spec.parent_schedd_id)
        return self._kernel_id

    def wants_package(self, request: pb.PackageRequest) -> bool:
        """Whether procs of a folder need it shipped."""
        return self.packages.is_wanted(request, self.leasing.hosts_count if self.leasing is not None else 1)

    def evict(self, pid: str, grace_s: float | None) -> None:
        """Asks a proc to end; ``grace_s``: kills it if it has not within so long. NotFound for an unknown pid."""
        self._do(self.table.evict(pid, grace_s))

    def hello(self, runner: Runner) -> None:
        """A worker is about to run its first proc: one of this schedd's, or on this node."""
        self.autopsies.runners.hello(runner.process)
        self._nodes.add(runner.kernel_id)

    def began(self, proc: ProcState, runner: Runner) -> None:
        """A process is about to run it."""
        self.table.began(proc, runner, time.time())

    @property
    def cores_of_largest_node(self) -> float:
        """What one proc can reserve at most, as far as is known."""
        return self.leasing.cores_of_largest_node if self.leasing is not None else 0.0

    def runner(self, pid: str) -> Runner:
        """What runs a proc. NotFound if nothing does (yet)."""
        proc = self.table.get(pid)
        # Once it is gone its process may run another proc.
        if proc.runner is None or proc.gone:
            raise serr.NotFound(pid, f"no process runs it: it is {proc.phase.value}")
        return proc.runner

    def start_awaited(self, proc: ProcState) -> None:
        """Somebody waits for its start, and is to hear of it at once."""
        if not proc.start_awaited:
            proc.start_awaited = True
            assert self.leasing is not None, "no procs before start"
            self.leasing.to_heed(proc)

    def started(self, pid: str) -> None:
        """The proc says that it runs. NotFound for an unknown pid."""
        self._do(self.table.started(pid, time.time()))

    def reported(self, pid: str, status: Status) -> None:
        """The proc says how it ends; its lease tells later that it is gone. NotFound for an unknown pid."""
        self._do(self.table.reported(pid, status, time.time()))

    # -- what becomes of them

    def handed(self, proc: ProcState, lease: WorkerLease) -> None:
        proc.submitted_s = time.time()
        self.tokens.issue(proc)
        self._do(self.table.handed(proc, lease))

    def withdrawn(self, proc: ProcState) -> None:
        self.ended(proc, endings.WITHDRAWN)

    def lost(self, proc: ProcState, lease: WorkerLease, error: BaseException | None, *, with_node: bool) -> None:
        if with_node and lease.runner is not None:
            self.ended(proc, lost_with(lease.runner))
            return
        status = None if error is None else endings.of_error(error)
        # Of a worker that died, and one that Ray killed for us ("cancelled"), it is looked up what became of the proc.
        if lease.runner is None or (status is not None and status is not endings.WITHDRAWN):
            self.ended(proc, status or Status.crash("unknown: its worker process died"))
            return
        autopsy = asyncio.get_running_loop().create_task(self._autopsy(proc, lease), name=f"autopsy-{proc.pid}")
        self._under_way.add(autopsy)
        autopsy.add_done_callback(self._under_way.discard)

    def returned(self, proc: ProcState) -> None:
        """It did not begin where it was handed to: it waits for another lease, a few times."""
        assert self.leasing is not None, "no leases before start"
        if proc.evicting or self._stopping:
            self.ended(proc, endings.WITHDRAWN)
        elif proc.handed_count >= self._limits.handed_max:
            self.ended(proc, Status.crash(f"unknown: no worker could begin it, of {proc.handed_count}"))
        else:
            self._do(self.table.returned(proc))
            self.leasing.put_back(proc)

    async def _autopsy(self, proc: ProcState, lease: WorkerLease) -> None:
        """The worker of its lease died: find out how, and whether it had begun; end what it left behind."""
        found = await self._find_cause(proc, lease)
        _log(f"{proc.pid} at {lease.id}, whose worker died: {found}")
        if found.has_begun is False and not (proc.began_s or proc.started):
            self.returned(proc)
            return
        words = proclog.KILLED if proc.killing else found.words  # whatever Ray's way to end a worker looks like
        self.ended(proc, Status.crash(words or "unknown: its worker process died"))

    async def _find_cause(self, proc: ProcState, lease: WorkerLease) -> Autopsy:
        """As the machine knows on which the worker ran."""
        runner = lease.runner
        if runner is None:
            return Autopsy(has_begun=False)
        order = AutopsyOrder(
            pid=proc.pid,
            number=proc.number,
            lease_id=lease.id,
            worker=runner.process,
            process=proc.runner.process if proc.runner else None,
        )
        if runner.process.is_here:
            return await self.autopsies.find(order)
        try:
            found: Autopsy = await self._peers.ask(
                runner.kernel_id, "autopsy", order, timeout_s=self._limits.peer_timeout_s
            )
        except serr.SigmaError as error:
            _log(f"how {proc.pid} ended, {error}")
            return Autopsy()
        return found

    def ended(self, proc: ProcState, status: Status) -> None:
        """How it ended, and that nothing of it is left."""
        if proc.gone:
            return
        if _log.on:
            _log(f"{proc.pid}: {status}")
        now_s = time.time()
        self.tokens.ended(proc)
        self.stages.ended(proc, now_s)
        self._do(self.table.ended(proc, status, now_s))
        if self._stopping and all(proc.gone for proc in self.table.all()):
            self._all_gone.set()

    # -- instructions

    def _do(self, instructions: Sequence[Instruction]) -> None:
        for instruction in instructions:
            self._do_one(instruction)

    def _do_one(self, instruction: Instruction) -> None:
        assert self.leasing is not None, "no procs before start"
        match instruction:
            case Queue(proc):
                if _spawn_delay.on:
                    _spawn_delay.passed()
                self.leasing.put(proc)
            case Wake(proc, what):
                self.waits.wake(proc, what)
            case Relist(pid, old, new):
                self.tree.moved(pid, old, new)
            case Withdraw(proc):
                self.leasing.withdraw(proc)
            case AskToEnd(proc):
                self.leasing.to_heed(proc)
            case Kill(proc):
                self.leasing.kill(proc)
            case KillLater(proc, grace_s):
                self._kill_later(proc, grace_s)

    def _kill_later(self, proc: ProcState, grace_s: float) -> None:
        loop = asyncio.get_running_loop()
        # Those that are over go at the next one: nobody takes them out, and each holds its proc.
        self._graces = {timer for timer in self._graces if timer.when() > loop.time()}
        self._graces.add(loop.call_later(grace_s, self._on_grace_over, proc, grace_s))

    def _on_grace_over(self, proc: ProcState, grace_s: float) -> None:
        self._do(self.table.grace_over(proc, grace_s))


def _written(realm: str, log_dir: str) -> list[LogDir]:
    """A tenant sees its own logs. Records lie together, whosoever they are: only the root realm sees them."""
    logs = LogDir.of_node(log_dir)
    return [logs, LogDir.of_records(str(selection.directory()))] if realm == ROOT_REALM else [logs]


def check_spec(spec: pb.ProcSpec) -> None:
    """Inval for what no client of ours sends."""
    check_pid(spec.pid)
    if not spec.program and not spec.pickled:
        raise serr.Inval(spec.pid, "no program")
    # Asked this way round, NaN is refused too: it is neither less than 0 nor more.
    if not (0 <= spec.mcpu < math.inf and 0 <= spec.mem_mb < math.inf):
        raise serr.Inval(spec.pid, "mcpu and mem_mb are 0 or more")
