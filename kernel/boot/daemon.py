"""The boot daemon: everything that an instance consists of, from its start to its end.

main thread: etcd and S3 as child processes, Ray; then an event loop that starts the kernel actors, restarts what
dies, follows the nodes of the cluster, and waits for SIGTERM; then all of it in reverse.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import msgspec
import psutil

from kernel.boot.etcd import EmbeddedEtcd
from kernel.boot.keptfiles import forget_all
from kernel.boot.kernels import KernelPart, kernel_id_of, with_named
from kernel.boot.nameds import Nameds, Place
from kernel.boot.placing import numbered
from kernel.boot.raynode import RayCluster, live_nodes, own_node_id
from kernel.boot.realms import Realms
from kernel.boot.request import BootRequest, Report
from kernel.boot.s3 import PROFILE, EmulatedS3, has_profile, is_emulated
from kernel.named.descriptor import SERVICE as NAMED
from kernel.s3.descriptor import SERVICE as S3
from kernel.service import Service, services_of
from kernel.shell import KernelArgs
from sigmaos_ray import config as configuration
from sigmaos_ray import debug, serr
from sigmaos_ray.config import ProcEnv
from sigmaos_ray.instance import STATE_FILE_NAME, ChildProcess, Instance, KernelNode
from sigmaos_ray.sigmap import Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from kernel.boot.children import Child

_log = debug.selector("BOOT")


class Stopped(BaseException):
    """SIGTERM or SIGINT arrived. No Exception: nothing on the way may swallow it."""


class RayLost(Exception):
    """Ray, or the part of it that is named, ended by itself."""


class Node:
    """One kernel node: its parts, by service."""

    def __init__(self, kernel_id: str, host: str, ray_node_id: str) -> None:
        self.kernel_id = kernel_id
        self.host = host
        self.ray_node_id = ray_node_id
        self.parts: dict[str, KernelPart] = {}


class Boot:
    """One instance."""

    def __init__(self, request: BootRequest, join_ray: str | None, report: Callable[[Report], None]) -> None:
        self._request = request
        self._report = report
        self._config = configuration.current()
        self._node_services = tuple(service for service in services_of(request.services) if service.is_per_node)
        self._state_dir = Path(request.state_dir)
        self._logs = self._state_dir / "logs"
        self._etcd: EmbeddedEtcd | None = None
        self._s3: EmulatedS3 | None = None
        self._ray = RayCluster(request, join_ray)
        self._nameds: Nameds | None = None
        self._nodes: dict[str, Node] = {}
        self._realms = self._new_realms()
        self._home_id = ""
        self._numbers: dict[str, int] = {}
        """Of nodes among those of their host."""
        """Of the kernel node beside this process, once Ray runs."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._ready = False
        self._created_s = psutil.Process().create_time()

    def run(self) -> None:
        """From start to end. Reports what it starts; an error is reported and raised, with everything taken down."""
        began_s = time.monotonic()
        try:
            self._start_children()
            self._ray.start()
            self._wait_children()
            self._serve_on(began_s)
        finally:
            _ignore_signals()
            self._ray.end()
            for child in reversed(self._children()):
                child.end(self._config.boot.part_stop_timeout_s)
            with contextlib.suppress(FileNotFoundError):
                (self._state_dir / STATE_FILE_NAME).unlink()

    def _serve_on(self, began_s: float) -> None:
        """Serves until it is stopped, on another Ray if our own is lost. Error if one that we joined is."""
        while True:
            try:
                asyncio.run(self._serve(began_s))
                return
            except RayLost as lost:
                _raise_when_stopped()
                was_ready, self._ready, self._nameds, self._nodes = self._ready, False, None, {}
                self._realms = self._new_realms()
                self._ray.end()
                if not was_ready:
                    raise serr.Error("ray", f"{lost} ended while the instance started") from lost
                if not self._ray.is_own:
                    raise serr.Error("ray", f"{lost} is gone, and with it the Ray that was joined") from lost
                debug.error(f"{lost} ended: Ray is started again")
                began_s = time.monotonic()
                self._ray.prepare()
                self._write_state()
                self._ray.start()

    # -- children and Ray

    def _start_children(self) -> None:
        request = self._request
        if request.clean:
            forget_all(self._state_dir)
        (self._logs / "procs").mkdir(parents=True, exist_ok=True)
        if not request.etcd:
            self._etcd = EmbeddedEtcd(request.host, self._state_dir, self._logs, self._config)
            self._etcd.start()
        if is_emulated(request):
            self._s3 = EmulatedS3(self._logs, self._config)
            self._s3.start()
        self._ray.prepare()
        self._write_state()

    def _wait_children(self) -> None:
        if self._etcd is not None:
            self._etcd.wait()
            self._say(self._etcd.line())
        else:
            self._say(f"etcd at {', '.join(self._request.etcd)} (configured)")
        self._say(self._ray.line())
        self._write_state()

    def _children(self) -> list[Child]:
        return [part.child for part in (self._etcd, self._s3) if part is not None]

    # -- the kernel

    async def _serve(self, began_s: float) -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        main = asyncio.create_task(self._bring_up(began_s), name="bring-up")
        stopped = asyncio.create_task(stop.wait(), name="stop")
        lost = asyncio.create_task(self._ray.wait_lost(), name="ray-lost")
        try:
            await asyncio.wait({main, stopped, lost}, return_when=asyncio.FIRST_COMPLETED)
            if main.done():
                await main
                await asyncio.wait({stopped, lost}, return_when=asyncio.FIRST_COMPLETED)
            if not stopped.done():
                raise RayLost(lost.result())
            if not main.done():
                raise Stopped
        finally:
            ray_lives = not lost.done()
            tasks = {main, stopped, lost}
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await self._take_down(ray_lives)

    async def _bring_up(self, began_s: float) -> None:
        if self._etcd is not None:
            self._own(self._restart_child(self._etcd.child))
        services = self._request.services
        self._home_id = kernel_id_of(own_node_id())
        here = self._ray_nodes()
        if NAMED.name in services:
            await self._start_nameds(here)
        if self._s3 is not None:
            await asyncio.to_thread(self._s3.wait)
            self._say(self._s3.line())
            self._own(self._restart_child(self._s3.child))
        elif S3.name in services:
            self._say(f"s3 at {self._request.s3_endpoint or 'AWS'}, profile {PROFILE if has_profile() else 'none'}")
        await asyncio.gather(*(self._add_node(node_id, host) for node_id, host in here.items()))
        self._own(self._follow_nodes())
        if self._nameds is not None:
            self._own(self._realms.follow(self._realms_env()))
        self._ready = True
        self._write_state()
        self._say(f"ready in {time.monotonic() - began_s:.1f} s")
        self._report(Report(ready=True))

    async def _start_nameds(self, here: dict[str, str]) -> None:
        def args(place: Place) -> KernelArgs:
            return with_named(self._kernel_args(), place, Endpoint())

        count = self._request.named_count
        self._nameds = Nameds(count, args, self._namespace, self._config, self._write_state)
        await self._nameds.start(self._places(here))
        standby = f", {count - 1} standing by" if count > 1 else ""
        self._say(f"named at {self._nameds.endpoint.addrs[0]}{standby}")

    def _places(self, nodes: dict[str, str]) -> list[Place]:
        """Where nameds can run, our own node first."""
        ours = own_node_id()
        ordered = sorted(nodes, key=lambda node_id: node_id != ours)
        return [self._place(node_id, nodes[node_id]) for node_id in ordered]

    def _place(self, ray_node_id: str, host: str) -> Place:
        number = self._numbers.get(ray_node_id, 1)
        return Place(ray_node_id, kernel_id_of(ray_node_id), self._host_of(ray_node_id, host), number)

    def _new_realms(self) -> Realms:
        def places() -> list[Place]:
            return self._places({node.ray_node_id: node.host for node in self._nodes.values()})

        return Realms(self._kernel_args, places, self._node_services, self._config, self._write_state)

    def _realms_env(self) -> ProcEnv:
        state_file = str(self._state_dir / STATE_FILE_NAME)
        return ProcEnv(
            pid="boot-realms", realm=self._request.realm, named=self._named_endpoint(), state_file=state_file
        )

    def _host_of(self, ray_node_id: str, host: str) -> str:
        # Ours: on loopback, unless told otherwise.
        return self._request.host if ray_node_id == own_node_id() else host

    @property
    def _namespace(self) -> str:
        return f"sigmaos-{self._request.realm}"

    def _own(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            debug.error(f"boot: {task.get_name()} ended: {error!r}")

    async def _restart_child(self, child: Child) -> None:
        while True:
            code = await child.wait_end()
            debug.error(f"{child.name} ended with code {code}: it is restarted")
            await asyncio.sleep(self._config.boot.restart_pause_s)
            child.launch()
            self._write_state()

    def _ray_nodes(self) -> dict[str, str]:
        alive = live_nodes()
        self._numbers = numbered(alive, self._numbers, own_node_id())
        return alive

    async def _follow_nodes(self) -> None:
        """Keeps one kernel node on every live Ray node, as they come and go."""
        while True:
            await asyncio.sleep(self._config.boot.nodes_poll_s)
            alive = await asyncio.to_thread(self._ray_nodes)
            if self._nameds is not None and set(alive) != set(self._nodes):
                await self._nameds.follow_nodes(self._places(alive))
            for node_id in set(self._nodes) - set(alive):
                node = self._nodes.pop(node_id)
                debug.error(f"node {node.kernel_id} is gone")
                for part in node.parts.values():
                    part.abandon()
                self._write_state()
            for node_id in set(alive) - set(self._nodes):
                try:
                    await self._add_node(node_id, alive[node_id])
                except serr.SigmaError as error:
                    debug.error(f"kernel node on {alive[node_id]}: {error}")
                    node = self._nodes.pop(node_id)
                    await asyncio.gather(*(part.stop() for part in node.parts.values()))
            await self._realms.follow_nodes()

    async def _add_node(self, ray_node_id: str, host: str) -> None:
        place = self._place(ray_node_id, host)
        node = self._nodes[ray_node_id] = Node(place.kernel_id, place.host, ray_node_id)
        for service in self._node_services:
            node.parts[service.name] = self._part(service, place)
        await asyncio.gather(*(part.start() for part in node.parts.values()))
        if node.parts:
            self._say(f"kernel node {node.kernel_id}: {' '.join(node.parts)}")

    def _part(self, service: Service, place: Place) -> KernelPart:
        def args() -> KernelArgs:
            return with_named(self._kernel_args(), place, self._named_endpoint())

        return KernelPart(service, args, lambda: place.ray_node_id, self._namespace, self._config, self._write_state)

    def _kernel_args(self) -> KernelArgs:
        return KernelArgs(
            kernel_id="",
            realm=self._request.realm,
            etcd_endpoints=tuple(self._etcd_endpoints()),
            state_file=str(self._state_dir / STATE_FILE_NAME),
            state_dir=str(self._state_dir),
            s3_endpoint=self._s3.endpoint if self._s3 is not None else self._request.s3_endpoint,
            s3_credentials_profile=self._profile(),
            db_url=os.environ.get("SIGMAOS_DB_URL", ""),  # no part of the request, which everybody sees: a secret
            log_dir=str(self._logs),
            referee=(f"schedd-{self._home_id}", self._namespace),
            debug=self._request.debug,
            perf=self._request.perf,
            fail=self._request.fail,
        )

    def _profile(self) -> str | None:
        return PROFILE if self._s3 is None and S3.name in self._request.services and has_profile() else None

    def _etcd_endpoints(self) -> list[str]:
        return [self._etcd.endpoint] if self._etcd is not None else list(self._request.etcd)

    def _named_endpoint(self) -> Endpoint:
        return self._nameds.endpoint if self._nameds is not None else Endpoint()

    async def _take_down(self, ray_lives: bool) -> None:
        """Services first, named last: withdrawing a name needs it. Without Ray there is nobody to ask."""
        for task in set(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks))
        parts = [part for node in self._nodes.values() for part in node.parts.values()]
        if not ray_lives:
            for part in parts:
                part.abandon()
            await self._realms.abandon()
            if self._nameds is not None:
                await self._nameds.abandon()
            return
        await self._realms.stop()
        await asyncio.gather(*(part.stop() for part in parts))
        if self._nameds is not None:
            await self._nameds.stop()

    # -- what others see

    def _say(self, line: str) -> None:
        _log(line)
        self._report(Report(line=line))

    def _write_state(self) -> None:
        """Writes the state file, whole, by rename."""
        file = self._state_dir / STATE_FILE_NAME
        temporary = file.with_suffix(f".{os.getpid()}")
        temporary.write_bytes(self._instance().to_json())
        temporary.chmod(0o600)
        temporary.replace(file)

    def _instance(self) -> Instance:
        args = self._kernel_args()
        return Instance(
            realm=self._request.realm,
            state_dir=str(self._state_dir),
            boot_pid=os.getpid(),
            boot_created_s=self._created_s,
            ready=self._ready,
            etcd_endpoints=self._etcd_endpoints(),
            etcd_version=self._etcd.version if self._etcd is not None else "",
            s3_endpoint=args.s3_endpoint,
            s3_credentials_profile=args.s3_credentials_profile,
            ray_address=self._ray.address,
            ray_temp_dir=self._ray.temp_dir,
            named=self._named_endpoint(),
            kernel_nodes=self._kernel_nodes(),
            children=self._records(),
            realms=self._realms.infos(),
        )

    def _kernel_nodes(self) -> list[KernelNode]:
        shown: list[KernelNode] = []
        for node in self._nodes.values():
            services = {name: part.info for name, part in node.parts.items() if part.info is not None}
            if self._nameds is not None:
                services = {**self._nameds.services_on(node.kernel_id), **services}
            shown.append(KernelNode(id=node.kernel_id, host=node.host, ray_node_id=node.ray_node_id, services=services))
        return shown

    def _records(self) -> list[ChildProcess]:
        return [child.record() for child in self._children() if child.is_launched]


def _ignore_signals() -> None:
    """From here on everything is being taken down already."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _raise_when_stopped() -> None:
    """Where no event loop waits for the signals: at the start, and again after a loop, which resets them."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _raise_stopped)


def _raise_stopped(number: int, frame: object) -> NoReturn:
    raise Stopped


class _ReportPipe:
    """The way back to ``sigmaos start``, which may be gone."""

    def __init__(self, descriptor: int) -> None:
        self._file = os.fdopen(descriptor, "wb", buffering=0)
        self._lock = threading.Lock()

    def __call__(self, report: Report) -> None:
        with self._lock, contextlib.suppress(OSError, ValueError):
            self._file.write(msgspec.json.encode(report) + b"\n")
            if report.ready or report.failed:
                self._file.close()


def main(request: BootRequest, join_ray: str | None, report_fd: int) -> int:
    """Runs the daemon to its end; returns its exit code."""
    report = _ReportPipe(report_fd)
    debug.configure(request.debug, who=f"boot-{socket.gethostname()}")
    try:
        _raise_when_stopped()
        Boot(request, join_ray, report).run()
    except Stopped:
        report(Report(failed="stopped before it was ready"))
    except serr.SigmaError as error:
        debug.error(f"boot: {error}")
        report(Report(failed=str(error)))
        return 1
    except Exception as error:  # whoever waits for the start must hear of it; it goes on
        report(Report(failed=f"{type(error).__name__}: {error}"))
        raise
    return 0
