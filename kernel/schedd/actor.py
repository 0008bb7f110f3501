"""The Ray actor of a schedd. Asynchronous, so that thousands of parked waits cost no threads; its service lives on the
shell's loop all the same."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, cast

import ray

from kernel.schedd.descriptor import SERVICE
from kernel.schedd.places import RayPlace
from kernel.schedd.shares import Shares, Turn
from kernel.shell import KernelActor, KernelArgs, KernelService
from sigmaos_ray import config
from sigmaos_ray.sigmap import ROOT_REALM

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence
    from typing import Any

    from kernel.schedd.autopsies import Autopsy, AutopsyOrder
    from kernel.schedd.places import Runner
    from kernel.schedd.profiles import PackedProfile, ProfileOrder
    from kernel.schedd.server import ScheddServer
    from sigmaos_ray.instance import ServiceInfo
    from sigmaos_ray.proc import Tpid
    from sigmaos_ray.realmclnt import RealmTerms
    from sigmaos_ray.sigmap import Endpoint


class _Shell(KernelActor):
    """The shell, whose service the workers talk to."""

    service = SERVICE

    def __init__(self, name: str, args: KernelArgs, place: RayPlace) -> None:
        super().__init__(name, args)
        self._place = place

    def make_service(self, args: KernelArgs) -> KernelService:
        # Here: whoever has a handle on the actor, as every worker does, imports this module with it.
        from kernel.schedd.server import ScheddServer

        return ScheddServer(args, self._place)

    async def call(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Runs a coroutine of the service on the service's loop."""
        # Ray runs an asynchronous actor's methods on a loop of its own; the service's objects belong to the shell's.
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, self._loop))

    @property
    def schedd(self) -> ScheddServer:
        assert self._service is not None, "not started"
        return cast("ScheddServer", self._service)


class ScheddActor:
    """Started, run and stopped as every kernel actor; the rest is for workers that run procs."""

    def __init__(self, name: str, args: KernelArgs) -> None:
        context = ray.get_runtime_context()
        place = RayPlace(
            node_id=context.get_node_id(),
            namespace=context.namespace,
            handle=ray.cloudpickle.dumps(context.current_actor),  # type: ignore[no-untyped-call]
            # Ray reuses a worker only within one runtime environment: so no two realms share one.
            runtime_env=None if args.realm == ROOT_REALM else {"env_vars": {"SIGMAOS_REALM": args.realm}},
        )
        self._shell = _Shell(name, args, place)
        self._shares = Shares(config.current().scheduling)

    async def start(self, named: Endpoint | None = None) -> tuple[Endpoint, ServiceInfo]:
        return await asyncio.to_thread(self._shell.start, named)

    async def others_started(self) -> None:
        await self._shell.call(self._shell.schedd.others_started())

    async def learn(self, generations: str) -> None:
        await asyncio.to_thread(self._shell.learn, generations)

    async def agree(self, terms: RealmTerms) -> None:
        await asyncio.to_thread(self._shell.agree, terms)

    async def run(self) -> None:
        await asyncio.to_thread(self._shell.run)

    async def stop(self) -> None:
        await asyncio.to_thread(self._shell.stop)

    async def hello(self, runner: Runner) -> None:
        await self._shell.call(self._shell.schedd.hello(runner))

    async def autopsy(self, order: AutopsyOrder) -> Autopsy:
        """For another node's schedd."""
        found: Autopsy = await self._shell.call(self._shell.schedd.autopsy(order))
        return found

    async def ended_of(self, pids: Sequence[Tpid]) -> list[Tpid]:
        """For another node's schedd, as the next ones."""
        ended: list[Tpid] = await self._shell.call(self._shell.schedd.ended_of(pids))
        return ended

    async def profile(self, order: ProfileOrder) -> PackedProfile:
        profile: PackedProfile = await self._shell.call(self._shell.schedd.profile(order))
        return profile

    async def end_profile(self, name: str) -> None:
        await self._shell.call(self._shell.schedd.end_profile(name))

    async def busy(self, realm: str, kernel_id: str) -> Turn:
        """For all schedds of the instance, if this is the one they ask."""
        # On Ray's loop alone: the service never touches the shares, so this needs no hop to the service's loop.
        return self._shares.busy(realm, kernel_id, time.monotonic())

    async def park(self, lease_id: str, number: int, wait: int) -> None:
        """Returns when a wait is over of the proc that a lease runs. The lease's worker waits for that in Ray, which
        lends its core on meanwhile."""
        await self._shell.call(self._shell.schedd.park(lease_id, number, wait))
