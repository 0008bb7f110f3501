"""The schedd of a kernel node: its procs, served as files and RPC, and advertised at ``name/schedd/<kernel id>``."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from kernel.fileservice import FileService
from kernel.keeping import KeptFile, make_directory, opening
from kernel.raylib import whereis
from kernel.schedd import raynodes, worker
from kernel.schedd.descriptor import SERVICE
from kernel.schedd.issuing import ProcTokens
from kernel.schedd.lease_rpc import WorkerLeases
from kernel.schedd.lease_tasks import RayContext
from kernel.schedd.memory import MemoryGuard
from kernel.schedd.metrics import RayMetrics
from kernel.schedd.node_procs import NodeProcs
from kernel.schedd.retention import LogRetention
from kernel.schedd.rpc import Schedd
from sigmaos_ray import debug
from sigmaos_ray.machine import OsProcess
from sigmaos_ray.protsrv.server import FileServer
from sigmaos_ray.protsrv.watch import WatchTable
from sigmaos_ray.sigmap import ROOT_REALM
from sigmaos_ray.tls.identity import identity_at

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AsyncExitStack

    from kernel.schedd.autopsies import Autopsy, AutopsyOrder
    from kernel.schedd.places import RayPlace, Runner
    from kernel.schedd.profiles import PackedProfile, ProfileOrder
    from kernel.schedd.runners import KeptRunners
    from kernel.shell import KernelArgs
    from sigmaos_ray.proc import Tpid
    from sigmaos_ray.realmclnt import RealmTerms
    from sigmaos_ray.sigmap import Endpoint

_log = debug.selector("SCHEDD")


def _kept_runners(args: KernelArgs) -> KeptRunners:
    """As the descriptor's ``keeps`` says it."""
    path = str(Path(args.node_dir) / SERVICE.name / args.realm) if args.node_dir else ""
    return KeptFile(opening(make_directory(path)), "runners", list[OsProcess], syncs=False)


class ScheddServer(FileService):
    """Runs the procs of its node, and shows them as files."""

    service = SERVICE

    def __init__(self, args: KernelArgs, place: RayPlace) -> None:
        super().__init__(args)
        self._place = place
        self._watches = WatchTable()
        self._procs = NodeProcs(
            args.kernel_id, args.realm, args.log_dir, self._config, self._watches, _kept_runners(args)
        )

    def agree(self, terms: RealmTerms) -> None:
        super().agree(terms)
        self._procs.agree(terms)

    @property
    def _is_tenant(self) -> bool:
        return self._args.realm != ROOT_REALM

    async def open(self, resources: AsyncExitStack) -> FileServer:
        args = self._args
        server = FileServer(
            self._procs.tree.root,
            self._watches,
            realm=args.realm,
            services=[Schedd(self._procs), WorkerLeases(self._procs)],
            host=args.host,
            tls=identity_at(args.tls),
            config=self._config,
            gate=self.gate,
        )
        server.stats.sections["procs"] = self._procs.table.counters.report
        server.stats.sections["leases"] = self._procs.leases_report
        server.stats.sections["spawn_latency"] = self._procs.stages.report
        return server

    async def prepare(self, server: FileServer, resources: AsyncExitStack) -> None:
        """From here on procs can be spawned."""
        args, place = self._args, self._place
        counters = self._procs.table.counters
        metrics = RayMetrics(args.kernel_id, args.realm, counters.report)
        resources.push_async_callback(metrics.stop)  # after the procs' end, which it is to tell
        issuing = ProcTokens(args, server.endpoint.addrs[0])
        node_args = self._node_args(server.endpoint, issuing.for_workers())
        self._procs.start(self._ray_context(), msgspec.json.encode(node_args), issuing)
        resources.push_async_callback(self._procs.stop)
        guard = MemoryGuard(args.log_dir, self._config.scheduling, self._procs.autopsies.runners.living)
        guard.start()
        resources.push_async_callback(guard.stop)
        retention = LogRetention(args.log_dir, self._config.scheduling)
        retention.start()
        resources.push_async_callback(retention.stop)
        # Early: it gets ready while the rest of the service does, and `settle` has the less to wait for.
        if self._is_tenant:
            self._procs.warm_up(1)
        sighting = await asyncio.to_thread(raynodes.look, 0.0)
        counters.size = sighting.sizes.get(place.node_id, counters.size)
        metrics.start()
        await self._publish(resources)

    async def _publish(self, resources: AsyncExitStack) -> None:
        node_id, args = self._place.node_id, self._args
        published = whereis.KernelPlace(args.kernel_id, args.host)
        # First this one: who reads of the kernel node asks for its schedd next.
        await asyncio.to_thread(whereis.publish_schedd, args.realm, args.kernel_id, self._place.handle)
        resources.push_async_callback(asyncio.to_thread, whereis.withdraw_schedd, args.realm, args.kernel_id)
        await asyncio.to_thread(whereis.publish_kernel, node_id, published)
        if not self._is_tenant:  # the kernel node goes with it, with a tenant's it does not
            resources.push_async_callback(asyncio.to_thread, whereis.withdraw_kernel, node_id)

    async def others_started(self) -> None:
        """The root realm's workers are warmed up: not before, since it takes the cores that all starts need. A tenant
        may never have many procs."""
        if not self._is_tenant:
            self._procs.warm_up()

    async def settle(self) -> None:
        """Of a tenant one worker is there when this returns, unless the node has no core free."""
        if not self._is_tenant:
            return
        try:
            await asyncio.wait_for(self._procs.first_lease(), self._config.scheduling.first_worker_timeout_s)
        except TimeoutError:
            _log(f"realm {self._args.realm}: no worker yet, the first proc waits for one")

    def _ray_context(self) -> RayContext:
        args = self._args
        return RayContext(
            place=self._place,
            limits=self._config.scheduling,
            realm=args.realm,
            kernel_id=args.kernel_id,
            referee=args.referee,
        )

    def _node_args(self, endpoint: Endpoint, token: str) -> worker.NodeArgs:
        args = self._args
        # Without a pid: workers know a node by these bytes, and what is a proc's own comes with the proc.
        env = msgspec.structs.replace(
            args.proc_env(SERVICE.name),
            pid="",
            token=token,
            schedd=endpoint,
            schedd_id=args.kernel_id,
            perf=args.perf,
        )
        return worker.NodeArgs(
            instance=env, ray_node_id=self._place.node_id, schedd=self._place.handle, log_dir=args.log_dir
        )

    # -- what workers say, through Ray

    async def hello(self, runner: Runner) -> None:
        """A worker process is about to run its first proc."""
        self._procs.hello(runner)

    async def autopsy(self, order: AutopsyOrder) -> Autopsy:
        """See ``Autopsies.find``."""
        return await self._procs.autopsies.find(order)

    async def ended_of(self, pids: Sequence[Tpid]) -> list[Tpid]:
        """See ``ProcTable.ended_of``."""
        return self._procs.table.ended_of(pids)

    async def profile(self, order: ProfileOrder) -> PackedProfile:
        return await self._procs.profiles.take(order)

    async def end_profile(self, name: str) -> None:
        self._procs.profiles.end(name)

    async def park(self, lease_id: str, number: int, wait: int) -> None:
        """See ``Leasing.park``."""
        await self._procs.park(lease_id, number, wait)
