"""The schedd of a kernel node: its procs, served as files and RPC, and advertised at ``name/schedd/<kernel id>``."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from kernel.raylib import whereis
from kernel.schedd import worker
from kernel.schedd.metrics import RayMetrics
from kernel.schedd.node_procs import NodeProcs
from kernel.schedd.ray_procs import RayContext, size_of_node
from kernel.schedd.rpc import Schedd
from kernel.shell import KernelArgs, KernelService
from sigmaos_ray import config as configuration
from sigmaos_ray import debug, serr
from sigmaos_ray.config import ProcEnv
from sigmaos_ray.protsrv.server import FileServer
from sigmaos_ray.protsrv.watch import WatchTable
from sigmaos_ray.sigmaclnt import AsyncSigmaClnt
from sigmaos_ray.sigmap import ROOT_REALM, SCHEDD, Endpoint, path
from sigmaos_ray.sigmasrv import Advertisement

if TYPE_CHECKING:
    from kernel.schedd.places import RayPlace
    from sigmaos_ray.proc import Tpid


_log = debug.selector("SCHEDD")


class ScheddServer(KernelService):
    """One per node. Whoever starts it stops it."""

    def __init__(self, args: KernelArgs, place: RayPlace, *, warm: bool = True) -> None:
        self._args = args
        self._place = place
        self._warm = warm
        self._config = configuration.current()
        watches = WatchTable()
        self._procs = NodeProcs(args.kernel_id, args.realm, args.log_dir, self._config, watches)
        self._server = FileServer(
            self._procs.tree.root, watches, realm=args.realm, services=[Schedd(self._procs)], host=args.host
        )
        self._server.stats.sections["procs"] = self._procs.table.counters.report
        self._server.stats.sections["spawn_latency"] = self._procs.stages.report
        self._metrics: RayMetrics | None = None
        self._sc: AsyncSigmaClnt | None = None
        self._advertisement: Advertisement | None = None
        self._arrived_count = 0
        self._all_arrived = asyncio.Event()

    async def start(self) -> Endpoint:
        """Serves, then advertises. The root realm's workers are warmed up behind the caller's back; of a tenant, which
        may never have many procs, one worker, which is there when this returns, unless the node has no core free."""
        endpoint = await self._server.start()
        try:
            await self._start(endpoint)
        except BaseException:  # a cancellation too: what was started is ended, and it goes on
            await self.stop()
            raise
        return endpoint

    async def _start(self, endpoint: Endpoint) -> None:
        args, place = self._args, self._place
        context = RayContext(
            node_id=place.node_id,
            namespace=place.namespace,
            runtime_env=place.runtime_env,
            limits=self._config.scheduling,
            realm=args.realm,
            kernel_id=args.kernel_id,
            referee=args.referee,
        )
        self._procs.start(context, msgspec.json.encode(self._node_args(endpoint)))
        is_tenant = args.realm != ROOT_REALM
        if self._warm and is_tenant:
            self._procs.warm_up(1)
        counters = self._procs.table.counters
        counters.size = await asyncio.to_thread(size_of_node, place.node_id)
        self._metrics = RayMetrics(args.kernel_id, args.realm, counters.report)
        self._metrics.start()
        await asyncio.to_thread(whereis.publish_kernel, place.node_id, args.kernel_id)
        self._sc = AsyncSigmaClnt(self._proc_env(f"schedd-{args.kernel_id}", endpoint))
        self._advertisement = Advertisement(self._sc, path.join(SCHEDD, args.kernel_id), endpoint, replace=True)
        await self._advertisement.start()
        if self._warm and is_tenant:
            await self._first_worker()
        elif self._warm:
            self._procs.warm_up()

    async def _first_worker(self) -> None:
        try:
            await asyncio.wait_for(self._all_arrived.wait(), self._config.scheduling.first_worker_timeout_s)
        except TimeoutError:
            _log(f"realm {self._args.realm}: no worker yet, the first proc waits for one")

    def _node_args(self, endpoint: Endpoint) -> worker.NodeArgs:
        return worker.NodeArgs(
            instance=self._proc_env("", endpoint),
            ray_node_id=self._place.node_id,
            schedd=self._place.handle,
            log_dir=self._args.log_dir,
        )

    def _proc_env(self, pid: Tpid, endpoint: Endpoint) -> ProcEnv:
        args = self._args
        return ProcEnv(
            pid=pid,
            realm=args.realm,
            kernel_id=args.kernel_id,
            named=args.named,
            schedd=endpoint,
            schedd_id=args.kernel_id,
            state_file=args.state_file,
            debug=args.debug,
            perf=args.perf,
        )

    async def stop(self) -> None:
        """Withdraws the name, ends all procs, then closes. Harmless when called twice."""
        advertisement, self._advertisement = self._advertisement, None
        if advertisement is not None:
            await advertisement.stop()
            if self._args.realm == ROOT_REALM:  # the kernel node goes with it, with a tenant's it does not
                await asyncio.to_thread(whereis.withdraw_kernel, self._place.node_id)
        await self._procs.stop()
        if self._metrics is not None:
            await self._metrics.stop()
        await self._server.stop()
        sc, self._sc = self._sc, None
        if sc is not None:
            await sc.close()

    # -- what workers say, through Ray

    async def hello(self, os_pid: int, host: str) -> None:
        """A worker process is about to run its first proc."""
        self._procs.runners.hello(os_pid, host)

    async def began(self, pid: Tpid, os_pid: int) -> bool:
        return self._procs.began(pid, os_pid)

    async def parked(self, change: int) -> None:
        """So many more procs have given their cores back, while they wait."""
        self._procs.parked(change)

    async def meet(self, count: int) -> None:
        """Returns when so many workers have come, or after a moment."""
        self._arrived_count += 1
        if self._arrived_count >= count:
            self._all_arrived.set()
        try:
            await asyncio.wait_for(self._all_arrived.wait(), self._config.boot.part_stop_timeout_s)
        except TimeoutError as error:
            raise serr.Timeout("warm-up", f"{self._arrived_count} of {count} workers came") from error
