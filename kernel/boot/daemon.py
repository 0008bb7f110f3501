"""The boot daemon: everything that an instance consists of, from its start to its end.

main thread: etcd and S3 as child processes, Ray; then an event loop that starts the kernel actors, restarts what
dies, follows the nodes of the cluster, and waits for SIGTERM; then all of it in reverse. It never waits for Ray itself,
which may hang, but for threads beside it (``aside``): so a signal is answered at any time.
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

from kernel.boot import certificates
from kernel.boot.aside import aside
from kernel.boot.authority import TokenAuthority
from kernel.boot.census import Census
from kernel.boot.certificates import Certificates
from kernel.boot.children import end_processes
from kernel.boot.keptfiles import EVERYTHING, forget_all, record_removal
from kernel.boot.listing import KernelListing
from kernel.boot.placing import namespace_of
from kernel.boot.publishing import InstanceFile
from kernel.boot.quorum import EtcdMembers, own_etcd
from kernel.boot.raynode import RayCluster, live_nodes, own_node_id
from kernel.boot.realmparts import RealmParts
from kernel.boot.realms import Realms
from kernel.boot.request import BootRequest, Report
from kernel.boot.s3 import PROFILE, EmulatedS3, end_lending, has_profile, is_emulated, lend_profile
from kernel.named.descriptor import SERVICE as NAMED
from kernel.s3.descriptor import SERVICE as S3
from kernel.service import services_of
from kernel.shell import KernelArgs, KernelCredentials
from sigmaos_ray import config as configuration
from sigmaos_ray import debug, serr
from sigmaos_ray.instance import STATE_FILE_NAME, ChildProcess, Instance, KernelNode, credentials_file
from sigmaos_ray.machine import OsProcess
from sigmaos_ray.tls.files import tls_dir

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from typing import Any

    from kernel.boot.children import Child
    from kernel.boot.etcd import EmbeddedEtcd
    from kernel.boot.placing import Place
    from sigmaos_ray.config import ProcEnv

_log = debug.selector("BOOT")


class Stopped(BaseException):
    """SIGTERM or SIGINT arrived. No Exception: nothing on the way may swallow it."""


class RayLost(Exception):
    """Ray, or the part of it that is named, ended by itself."""


class Boot:
    """One instance."""

    def __init__(self, request: BootRequest, join_ray: str | None, report: Callable[[Report], None]) -> None:
        self._request = request
        self._report = report
        self._config = configuration.current()
        self._state_dir = Path(request.state_dir)
        self._logs = self._state_dir / "logs"
        self._etcd: EmbeddedEtcd | None = None
        self._members: EtcdMembers | None = None
        """Of an etcd that is to have several."""
        self._s3: EmulatedS3 | None = None
        self._ray = RayCluster(request, join_ray)
        self._root, self._tenants = self._new_realms()
        self._authority: TokenAuthority | None = None
        """Once the state directory is there."""
        self._instance_file = InstanceFile(self._instance, self._config)
        self._listing = KernelListing(lambda: self._root.kernel_nodes(), self._config)
        self._certificates: Certificates | None = None
        """Once something listens, if it has TLS."""
        self._home_id = ""
        """Of the kernel node beside this process, once Ray runs."""
        self._census: Census | None = None
        """While Ray runs."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._ready = False
        self._process = OsProcess.own()

    def run(self) -> None:
        """From start to end. Reports what it starts; an error is reported and raised, with everything taken down."""
        began_s = time.monotonic()
        try:
            self._prepare()
            # Of a Ray that is joined the address comes that all else binds; an own one starts beside all else.
            if not self._ray.is_own:
                self._ray.start()
            self._start_children()
            if self._ray.is_own:
                self._ray.start()
            self._wait_children()
            self._serve_on(began_s)
        finally:
            _ignore_signals()
            # Ray before etcd: nameds that are still there could not resign without it.
            is_over = self._ray.end()
            for child in reversed(self._children()):
                child.end(self._config.boot.part_stop_timeout_s)
            # The file stays as long as something may be left: it says what, to who starts or stops an instance next.
            if is_over:
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
                if not self._ray.is_own:
                    self._end_parts()
                was_ready, self._ready = self._ready, False
                self._root, self._tenants = self._new_realms()
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

    def _end_parts(self) -> None:
        """Ends the parts that run on this machine on a Ray that is gone; its raylet may go on for a while, and they."""
        parts = [*self._root.processes(), *self._tenants.processes()]
        end_processes(parts, self._config.boot.ray_end_grace_s)

    # -- children and Ray

    def _prepare(self) -> None:
        if self._request.clean:
            forget_all(self._state_dir)
            self._state_dir.mkdir(parents=True, exist_ok=True)
            record_removal(self._state_dir, EVERYTHING)
        (self._logs / "procs").mkdir(parents=True, exist_ok=True)
        self._authority = TokenAuthority(self._state_dir)
        self._authority.admit(self._request.realm)
        self._ray.prepare()
        self._write_state()

    def _start_children(self) -> None:
        request = self._request
        self._certify_home()
        if not request.etcd:
            self._etcd = own_etcd(request, self._ray.host, self._logs, self._config, self._tls)
            self._etcd.start()
        if is_emulated(request):
            self._s3 = EmulatedS3(self._ray.host, self._logs, self._config)
            self._s3.start()
        self._write_state()

    def _certify_home(self) -> None:
        """Before all that listens here; the other hosts get theirs when it is found out who they are."""
        if not certificates.is_wanted(self._request.tls, self._ray.host):
            return
        state_dir = str(self._state_dir)
        self._certificates = given = Certificates(self._state_dir, self._config.certificates)
        certificate = given.issue("", certificates.request_of(state_dir, [self._ray.host]))
        given.forget([""])  # it gets another one under its name, as all others do
        certificates.keep(state_dir, given.authority_pem, certificate)
        given.add_to(credentials_file(self._state_dir, self._request.realm), self._request.realm)

    @property
    def _tls(self) -> str:
        return str(tls_dir(self._state_dir)) if self._certificates is not None else ""

    def _wait_children(self) -> None:
        if self._etcd is not None:
            self._etcd.wait()
            self._say(self._etcd.line())
        else:
            self._say(f"etcd at {', '.join(self._request.etcd)} (configured)")
        self._say(self._ray.line())
        if self._certificates is not None:
            self._say(f"connections are TLS, by the authority in {self._tls}")
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
            if main.done():  # its error first: a Ray that is lost in the midst of a start may be what it is about
                await main
                await asyncio.wait({stopped, lost}, return_when=asyncio.FIRST_COMPLETED)
            if not stopped.done():
                raise RayLost(lost.result())
            if not main.done():
                raise Stopped
        finally:
            # Now, not after the cancellation below, which ends this task as well.
            ray_lives = not lost.done()
            tasks = {main, stopped, lost}
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await self._take_down(ray_lives)

    async def _bring_up(self, began_s: float) -> None:
        if self._etcd is not None:
            self._own(self._restart_child(self._etcd.child))
        credentials = self._the_authority().for_hosts()
        self._census = Census(
            self._state_dir, own_node_id(), self._ray.host, self._config, self._certificates, credentials
        )
        home = _home_of(await self._live_places(of_home=True))
        self._home_id = home.kernel_id
        await self._bring_up_members()
        # From now on, so that it is known by the end of the start who came meanwhile.
        self._own(self._follow_nodes())
        if self._certificates is not None:
            self._own(self._census.keep_certified())
        places = await self._start_nameds(home)
        if self._named_count:
            self._own(self._instance_file.follow(self._realms_env()))
        if self._s3 is not None:
            await aside(self._s3.wait)
            self._say(self._s3.line())
            self._own(self._restart_child(self._s3.child))
        elif S3.name in self._request.services:
            self._say(f"s3 at {self._request.s3_endpoint or 'AWS'}, profile {PROFILE if has_profile() else 'none'}")
            if self._profile() is not None:  # before the nodes start, some of which may lack it
                await aside(lend_profile)
        await self._root.start_nodes(places)
        if self._named_count:
            self._own(self._tenants.follow(self._realms_env()))
            self._own(self._listing.follow(self._realms_env()))
        self._ready = True
        self._write_state()
        self._say(f"ready in {time.monotonic() - began_s:.1f} s")
        self._report(Report(ready=True))

    async def _start_nameds(self, home: Place) -> list[Place]:
        """Returns once a named leads, and it is known where nodes are; the processes of their services begin
        meanwhile."""
        # Who is where may take seconds to find out on other hosts: only what is to run there waits for it.
        beginning = asyncio.create_task(self._begin_nodes(home), name="begin-nodes")
        try:
            await self._root.start_nameds(await beginning if self._named_count > 1 else [home])
            return await beginning
        finally:
            beginning.cancel()
            await asyncio.wait({beginning})

    async def _begin_nodes(self, home: Place) -> list[Place]:
        self._root.make_ahead([home])
        places = await self._live_places()
        self._root.make_ahead(places)
        return places

    async def _bring_up_members(self) -> None:
        """Returns once etcd can be written, which may take other hosts."""
        if self._etcd is None:
            return
        port = self._request.etcd_port
        members = EtcdMembers(
            self._etcd,
            self._kernel_args,
            port,
            self._config,
            self._write_state,
            self._say,
            lambda: self._root.named,
        )
        if members.are_several:
            self._members = members
            await members.bring_up(self._fit_places)

    @property
    def _named_count(self) -> int:
        return self._request.named_count if NAMED.name in self._request.services else 0

    def _new_realms(self) -> tuple[RealmParts, Realms]:
        """The root realm, and the tenants that it knows of."""
        services = services_of(self._request.services)
        root = RealmParts(
            self._kernel_args,
            services,
            self._named_count,
            self._config,
            self._write_state,
            self._say,
            self._request.named_port,
        )
        tenants = Realms(
            self._kernel_args,
            lambda: root.places,
            services,
            self._config,
            self._write_state,
            self._forget_removed,
            self._tell_generations,
            self._the_authority,
        )
        return root, tenants

    async def _live_places(self, *, of_home: bool = False) -> list[Place]:
        """Unreachable if Ray does not answer. ``of_home``: waits only for the one beside this process."""
        assert self._census is not None, "Ray runs"
        # A start is for all nodes that there are; later one that says nothing holds up nobody.
        wait_s = 0.0 if self._ready else self._config.boot.survey_timeout_s
        return await self._census.look(await aside(live_nodes), wait_s, of_home=of_home)

    async def _fit_places(self) -> list[Place]:
        """Those where something can run."""
        return [place for place in await self._live_places() if not place.unfit]

    def _the_authority(self) -> TokenAuthority:
        assert self._authority is not None, "realms come after the state directory"
        return self._authority

    async def _tell_generations(self) -> None:
        """Returns once every service has heard which credentials are good now, but for those that do not answer."""
        generations = self._the_authority().generations
        await asyncio.gather(self._root.tell("learn", generations), self._tenants.tell("learn", generations))
        self._write_state()
        if self._census is not None:
            await self._census.keep_credentials(self._the_authority().for_hosts())

    async def _forget_removed(self) -> None:
        assert self._census is not None, "realms come after nodes"
        await self._census.forget_removed()

    def _realms_env(self) -> ProcEnv:
        args = self._kernel_args()
        return msgspec.structs.replace(args.proc_env("boot"), pid="boot-realms", named=self._root.named)

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

    async def _follow_nodes(self) -> None:
        """Keeps one kernel node on every live Ray node, as they come and go."""
        while True:
            await asyncio.sleep(self._config.boot.nodes_poll_s)
            try:
                places = await self._live_places()
            except serr.Unreachable as error:  # whether Ray is lost is decided elsewhere
                _log(f"nodes: {error}")
                continue
            if self._members is not None and self._ready:
                await self._members.follow_nodes([place for place in places if not place.unfit])
            await self._root.follow_nodes(places)
            await self._tenants.follow_nodes()

    def _kernel_args(self) -> KernelArgs:
        return KernelArgs(
            kernel_id="",
            realm=self._request.realm,
            etcd_endpoints=tuple(self._etcd_endpoints()),
            etcd_moves=self._members is not None,
            config=self._request.config,
            state_file=str(self._state_dir / STATE_FILE_NAME),
            state_dir=str(self._state_dir),
            tls=self._tls,
            etcd_tls="" if self._request.etcd else self._tls,
            s3_endpoint=self._s3.endpoint if self._s3 is not None else self._request.s3_endpoint,
            s3_credentials_profile=self._profile(),
            db_url=os.environ.get("SIGMAOS_DB_URL", ""),  # no part of the request, which everybody sees: a secret
            log_dir=str(self._logs),
            credentials=self._credentials_of(self._request.realm),
            referee=(f"schedd-{self._home_id}", namespace_of(self._request.realm)),
            debug=self._request.debug,
            perf=self._request.perf,
            fail=self._request.fail,
        )

    def _credentials_of(self, realm: str) -> KernelCredentials:
        assert self._authority is not None, "nothing starts before there is a state directory"
        return self._authority.of_services(realm)

    def _profile(self) -> str | None:
        return PROFILE if self._s3 is None and S3.name in self._request.services and has_profile() else None

    def _etcd_endpoints(self) -> list[str]:
        if self._members is not None:
            return self._members.endpoints
        return [self._etcd.endpoint] if self._etcd is not None else list(self._request.etcd)

    async def _take_down(self, ray_lives: bool) -> None:
        """The root realm last: what is wanted of tenants stands in its namespace."""
        for task in set(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks))
        if self._census is not None:
            await self._census.close()
        if ray_lives:
            await self._tenants.stop()
            await self._root.stop()
            if self._profile() is not None:
                await aside(end_lending)
        else:
            await self._tenants.abandon()
            await self._root.abandon()
        members, self._members = self._members, None
        if members is not None:
            await (members.stop() if ray_lives else members.abandon())

    # -- what others see

    def _say(self, line: str) -> None:
        _log(line)
        self._report(Report(line=line))

    def _write_state(self) -> None:
        """Writes the state file, whole, by rename: clients read it at any time."""
        file = self._state_dir / STATE_FILE_NAME
        temporary = file.with_suffix(f".{os.getpid()}")
        temporary.write_bytes(self._instance().to_json())
        temporary.chmod(0o600)
        temporary.replace(file)
        self._instance_file.changed()
        self._listing.changed()

    def _instance(self) -> Instance:
        args = self._kernel_args()
        return Instance(
            realm=self._request.realm,
            state_dir=str(self._state_dir),
            boot_pid=self._process.pid,
            boot_machine=self._process.machine,
            boot_started_ticks=self._process.started_ticks,
            boot_host_name=socket.gethostname(),
            ready=self._ready,
            config=self._request.config,
            etcd_endpoints=self._etcd_endpoints(),
            tls=args.tls,
            etcd_version=self._etcd.version if self._etcd is not None else "",
            etcd_tls=args.etcd_tls,
            s3_endpoint=args.s3_endpoint,
            s3_credentials_profile=args.s3_credentials_profile,
            ray_address=self._ray.address,
            ray_temp_dir=self._ray.temp_dir,
            named=self._root.named,
            trust=args.credentials.trust,
            kernel_nodes=self._kernel_nodes(),
            children=self._records(),
            realms=self._tenants.infos(),
        )

    def _kernel_nodes(self) -> list[KernelNode]:
        members = self._members
        if members is None:
            return self._root.kernel_nodes()
        return [
            msgspec.structs.replace(node, services=node.services | members.services_on(node.id))
            for node in self._root.kernel_nodes()
        ]

    def _records(self) -> list[ChildProcess]:
        return [child.record() for child in self._children() if child.is_launched]


def _home_of(places: Sequence[Place]) -> Place:
    """The node beside this process. Error if nothing can run there."""
    home = next((place for place in places if not place.unfit), None)
    if home is None or home is not places[0]:
        raise serr.Error("kernel node", places[0].unfit if places else "Ray has no live node here")
    return home


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
        configuration.use(request.config)
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
