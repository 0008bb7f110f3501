"""One kernel actor of an instance: started, watched, started again when it ends, stopped."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from kernel.boot.aside import aside, started
from kernel.boot.placing import namespace_of
from sigmaos_ray import debug, serr
from sigmaos_ray.instance import PartState
from sigmaos_ray.sigmap import Endpoint

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import Callable

    from kernel.boot.placing import Place
    from kernel.service import Service
    from kernel.shell import KernelArgs
    from sigmaos_ray.config import Config
    from sigmaos_ray.instance import ServiceInfo

_log = debug.selector("BOOT")

STARTING, RUNNING, FAILED = "starting", "running", "failed"


class KernelPart:
    """One service on one node: an actor, and a task that starts another when it ends."""

    def __init__(
        self,
        service: Service,
        where: Callable[[], Place],
        args_at: Callable[[Place], KernelArgs],
        config: Config,
        on_change: Callable[[], None],
        *,
        name: str | None = None,
    ) -> None:
        """``where`` and ``args_at`` are asked at each start, the first and those after a death: nodes may have changed,
        and named may be led from elsewhere. ``name``: of one of several of a service."""
        self.service = service
        self._name = name or service.name
        self._is_one_of_several = name is not None
        self._where = where
        self._args_at = args_at
        self._config = config
        self._on_change = on_change
        self._actor: Any = None
        self._ahead: asyncio.Task[Any] | None = None
        """Makes an actor for the next start."""
        self._keeper: asyncio.Task[None] | None = None
        self._tried = asyncio.Event()
        self._have_others_started = False
        self.state = PartState(state=STARTING)
        self.endpoint = Endpoint()
        self.info: ServiceInfo | None = None
        """None while it does not run."""
        self.kernel_id = ""

    def make_ahead(self) -> None:
        """Has its process begin, which takes longer than what it then does; the next start goes on with it, and tells
        it where named is. Does not wait."""
        place = self._where()
        self._ahead = asyncio.create_task(self._make(place, self._args_at(place)), name=f"make-{self._name}")

    async def start(self) -> None:
        """Returns once the service answers; raises what kept it from that."""
        await self._start_once()
        self.launch()

    def launch(self) -> None:
        """Keeps the service running from now on, however often that fails."""
        self._keeper = asyncio.create_task(self._keep(), name=f"keep-{self._name}")

    async def tried(self) -> None:
        """Returns once the first start has come to something."""
        await self._tried.wait()

    def _set_state(self, state: str, cause: str = "") -> None:
        self.state = PartState(state=state, cause=cause)
        if state != STARTING:
            self._tried.set()
        self._on_change()

    async def _start_once(self) -> None:
        try:
            await self._start_actor()
        except serr.SigmaError as error:
            self._set_state(FAILED, str(error))
            raise
        self._set_state(RUNNING)
        if self._have_others_started:
            self._tell_of_others()

    def others_started(self) -> None:
        """What starts together with it has been started, too: it is told, and so is whatever takes its place later."""
        self._have_others_started = True
        if self.info is not None and self._actor is not None:
            self._tell_of_others()

    def _tell_of_others(self) -> None:
        # Nobody waits: if it ends before it hears of it, so does the next one.
        self._actor.others_started.remote()

    async def _start_actor(self) -> None:
        place = self._where()
        args = self._args_at(place)
        ahead, self._ahead = self._ahead, None
        timeout_s = self._config.boot.part_start_timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                actor = self._actor = await (ahead or self._make(place, args))
                self.endpoint, self.info = await _result(actor.start.remote(args.named))
            self.kernel_id = args.kernel_id
        except TimeoutError as error:
            await self._kill()
            raise serr.Timeout(self._name, f"not ready within {timeout_s:.0f} s") from error
        except (ray.exceptions.RayError, ValueError, RuntimeError) as error:  # ValueError: Ray still has the name
            await self._kill()
            raise serr.Error(self._name, _cause(error)) from error

    async def _make(self, place: Place, args: KernelArgs) -> Any:
        options: dict[str, Any] = {
            "name": self._name if self._is_one_of_several else f"{self._name}-{args.kernel_id}",
            "namespace": namespace_of(args.realm),
            "num_cpus": 0,
            "max_restarts": 0,
            "max_concurrency": self.service.calls_max,
            "scheduling_strategy": NodeAffinitySchedulingStrategy(place.ray_node_id, soft=False),
        }
        actor_class = ray.remote(self.service.actor_class()).options(**options)
        # Aside: of an actor with a name Ray's control store hears first.
        making = started(actor_class.remote, self._name, args)
        try:
            return await asyncio.shield(asyncio.wrap_future(making))
        except asyncio.CancelledError:
            making.add_done_callback(_kill_made)
            raise

    async def _kill(self) -> None:
        """Ends the actor's process, and its name in Ray."""
        actor, self._actor = self._actor, None
        if actor is None:
            return
        with contextlib.suppress(TimeoutError, ray.exceptions.RayError):
            async with asyncio.timeout(self._config.boot.ray_kill_timeout_s):
                await aside(ray.kill, actor)

    async def _keep(self) -> None:
        """Starts the service if it does not run, waits for its end, whatever that comes from, and so on."""
        while True:
            if self.info is None:
                await self._start_at_last()
            try:
                await _result(self._actor.run.remote())
                why = "it ended"
            except ray.exceptions.RayError as error:
                why = _cause(error)
            # Also an actor that died by itself: only then does Ray release its name for the next one.
            await self._kill()
            self.info = None
            debug.error(f"{self._name} is restarted: {why}")
            self._set_state(STARTING, why)

    async def _start_at_last(self) -> None:
        pause_s = self._config.boot.restart_pause_s
        while True:
            try:
                await self._start_once()
                return
            except serr.SigmaError as error:
                debug.error(f"{self._name} is tried again in {pause_s:g} s: {error}")
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, self._config.boot.restart_pause_s_max)

    async def tell(self, method: str, what: object) -> None:
        """Calls ``KernelActor.learn`` or ``agree``; returns once it has heard of it, or does not answer in time: it
        serves nobody either, or is told when it is started again."""
        if self.info is None or self._actor is None:
            return
        try:
            heard = getattr(self._actor, method).remote(what)
            await asyncio.wait_for(_result(heard), self._config.auth.tell_timeout_s)
        except (TimeoutError, ray.exceptions.RayError) as error:
            debug.error(f"{self._name} has not heard ({method}): {error}")

    async def restart(self) -> None:
        """Asks the service to stop; it is started again where it is to run now."""
        if self._actor is not None:
            await self._ask_to_stop(self._actor)

    async def _ask_to_stop(self, actor: Any) -> None:
        try:
            await asyncio.wait_for(_result(actor.stop.remote()), self._config.boot.part_stop_timeout_s)
        except (TimeoutError, ray.exceptions.RayError) as error:
            _log(f"stop of {self._name}: {error}")

    async def stop(self) -> None:
        """Asks the service to stop, then ends its process. May be repeated."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait({self._keeper})
            self._keeper = None
        self._unmake()
        if self._actor is not None:
            await self._ask_to_stop(self._actor)
            await self._kill()

    def abandon(self) -> None:
        """Ray is gone, and it soon, too: its process may outlive that for a while (``info``)."""
        self._forget()

    def drop(self) -> None:
        """Its node is gone, and it with it."""
        actor = self._forget()
        self.info = None
        if actor is not None:
            # Its name may be wanted, on a node that comes back, before Ray notices that this one is gone.
            started(ray.kill, actor)

    def _forget(self) -> Any:
        if self._keeper is not None:
            self._keeper.cancel()
            self._keeper = None
        self._unmake()
        actor, self._actor = self._actor, None
        return actor

    def _unmake(self) -> None:
        """Ends what was made ahead and is not used."""
        ahead, self._ahead = self._ahead, None
        if ahead is None:
            return
        ahead.add_done_callback(_drop_unused)
        ahead.cancel()


def _drop_unused(ahead: asyncio.Task[Any]) -> None:
    if not ahead.cancelled() and ahead.exception() is None:
        started(_kill, ahead.result())


def _kill(actor: Any) -> None:
    with contextlib.suppress(ray.exceptions.RayError):
        ray.kill(actor)


def _kill_made(making: concurrent.futures.Future[Any]) -> None:
    """Of an actor that came too late to be wanted."""
    if making.exception() is None:
        _kill(making.result())


async def _result(reference: Any) -> Any:
    return await asyncio.wrap_future(reference.future())


def _cause(error: BaseException) -> str:
    """What went wrong, in one line: of an exception inside an actor, that exception."""
    inner = getattr(error, "cause", None) or error
    lines = [line for line in str(inner).strip().splitlines() if line.strip()]
    text = lines[-1].strip() if lines else type(inner).__name__
    return text if isinstance(inner, serr.SigmaError) else f"{type(inner).__name__}: {text}"
