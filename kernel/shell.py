"""The shell that kernel actors share: a service on a loop in a thread of its own, inside a Ray actor.

Each service gives an ``async`` object with ``start`` and ``stop``; its ``actor.py`` names that and its descriptor.
The loop has a thread to itself because Ray's own async actors add a hop to every message of a session.
"""

from __future__ import annotations

import abc
import asyncio
import contextlib
import os
import resource
import sys
import threading
from typing import TYPE_CHECKING, ClassVar, TypeVar

import msgspec

from kernel.raylib import lean, whereis
from sigmaos_ray import config, crash, debug
from sigmaos_ray.auth.verifying import Trust
from sigmaos_ray.config import LOOPBACK, ProcEnv
from sigmaos_ray.instance import ServiceInfo
from sigmaos_ray.machine import OsProcess, machine
from sigmaos_ray.perf import session as profiling
from sigmaos_ray.realmclnt.terms import RealmTerms
from sigmaos_ray.sigmap import ROOT_REALM, Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from kernel.service import Service
    from sigmaos_ray.auth.gate import Gate

T = TypeVar("T")

lean.install()  # at the import: Ray unpacks an actor's arguments next

_log = debug.selector("KERNEL")


class EtcdJoin(msgspec.Struct, frozen=True, kw_only=True):
    """Which member of the instance's etcd a host is to run."""

    member_id: int
    name: str
    is_new: bool
    """It never came up: what the host has of another one is set aside."""
    initial_cluster: str
    """The members, as etcd wants to be told of them when it comes up for the first time."""
    port: int


class KernelCredentials(msgspec.Struct, frozen=True, kw_only=True):
    """What a service shows, and how it checks what it is shown: a secret. Without it, it lets in whoever comes."""

    trust: Trust = Trust()
    token: str = ""
    issuer: str = ""
    """A schedd's, for the key that its procs' tokens are signed with ..."""
    issuer_seed: str = ""
    """... and that key."""


class KernelArgs(msgspec.Struct, frozen=True, kw_only=True):
    """What every kernel service is started with. Plain data: Ray ships it to the node."""

    kernel_id: str
    realm: str = ROOT_REALM
    host: str = LOOPBACK
    """The address to bind and to publish."""
    port: int = 0
    """Of the service; 0: one that the system chooses."""
    etcd_endpoints: tuple[str, ...] = ()
    etcd_moves: bool = False
    """Its members come and go: each says where the others are."""
    etcd_join: EtcdJoin | None = None
    """For a member of etcd alone."""
    named: Endpoint = Endpoint()
    """named's leader when the service was started; not set for named itself."""
    machine: str = ""
    """Of the node: filled in where the service runs."""
    config: str = ""
    """The preset of tunables that the instance was started with; empty: what is in force in the process."""
    state_file: str = ""
    state_dir: str = ""
    tls: str = ""
    """The directory with the certificate of the service's host; empty: connections are not encrypted."""
    etcd_tls: str = ""
    """The same for those to etcd, which may be somebody else's."""
    s3_endpoint: str | None = None
    s3_credentials_profile: str | None = None
    node_dir: str = ""
    """Where services keep what belongs to this node: the state directory, or, for a further node of one host, a
    directory of its own."""
    db_url: str = ""
    """Of the database, which may hold a password; empty: a file of SQLite's."""
    log_dir: str = ""
    referee: tuple[str, str] = ("", "")
    """The schedd that all others of the instance ask for their shares: its actor's name and namespace."""
    credentials: KernelCredentials = KernelCredentials()
    terms: RealmTerms | None = None
    """Of a tenant's services."""
    debug: str = ""
    perf: str = ""
    fail: str = ""

    def proc_env(self, service_name: str) -> ProcEnv:
        """Who the service is to other servers, as their client."""
        return ProcEnv(
            pid=f"{service_name}-{self.kernel_id}",
            realm=self.realm,
            token=self.credentials.token,
            trust=self.credentials.trust,
            kernel_id=self.kernel_id,
            host=self.host,
            named=self.named,
            state_file=self.state_file,
            state_dir=self.state_dir,
            machine=self.machine,
            config=self.config,
            tls=self.tls,
            debug=self.debug,
        )


class KernelService(abc.ABC):
    """One service of a kernel node, on one event loop."""

    gate: Gate | None = None
    """What lets its clients in, if it has any."""

    @abc.abstractmethod
    async def start(self) -> Endpoint:
        """Returns once the service answers; raises, with nothing left behind, if it cannot."""

    def agree(self, terms: RealmTerms) -> None:
        """The realm has these terms from now on. On the service's loop; also called before ``start``."""
        if self.gate is not None:
            self.gate.sessions_max, self.gate.fids_max = terms.sessions_max, terms.fids_max

    @abc.abstractmethod
    async def stop(self) -> None:
        """Drains, withdraws the name, frees everything. Harmless after a start that failed, and when called twice."""


def _take_descriptors() -> None:
    """As many as the system allows: each connection takes one, also of those who are not let in, and the usual 1024 are
    fewer than a server bounds them by (``config.Session.greetings_max``)."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # some systems allow less than they say
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _is_still_nice() -> bool:
    """Every request waits for servers: they run as all else does, on every node. Whether the system forbids that."""
    # To Linux each thread is nice by itself, and new ones are as who starts them.
    for thread in map(int, os.listdir("/proc/self/task")):
        with contextlib.suppress(ProcessLookupError):
            if os.getpriority(os.PRIO_PROCESS, thread) <= 0:
                continue
            try:
                os.setpriority(os.PRIO_PROCESS, thread, 0)
            except PermissionError:  # only root may take a niceness back
                return True
    return False


def _log_to_file(log_dir: str, name: str) -> None:
    """From now on what this process prints goes to ``<log_dir>/<name>.log``, where ``sigmaos logs`` finds it."""
    if not log_dir:
        return
    os.makedirs(log_dir, exist_ok=True)
    log = os.open(os.path.join(log_dir, f"{name}.log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    # Not sys.stdout: what C libraries and children print goes there, too.
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    os.close(log)


async def _make_and_start(make: Callable[[KernelArgs], KernelService], args: KernelArgs) -> Endpoint:
    return await make(args).start()


class KernelActor(abc.ABC):
    """Base of the Ray actors. Ray calls ``start``, then ``run``, whose reference ends with the actor; then ``stop``.

    Needs ``max_concurrency`` of at least 4: ``run`` occupies one thread for the actor's life. No method may be a
    coroutine: one would make Ray run all of them on a single loop, where ``run`` blocks the others.
    """

    service: ClassVar[Service]

    def __init__(self, name: str, args: KernelArgs) -> None:
        """``name``: of the service, or of one of several of it, as ``named-1``."""
        # First of all: what follows asks for tunables, and the raylet's environment may be another than boot's.
        config.use(args.config)
        who = f"{name}-{args.kernel_id}"
        is_nice = _is_still_nice()
        _log_to_file(args.log_dir, who)
        debug.configure(args.debug, who=who)
        crash.configure(args.fail, who=who)
        whereis.install(args.realm)
        _take_descriptors()
        sys.setswitchinterval(config.current().serving.switch_interval_s)
        if is_nice:
            debug.error("Ray's workers are nice on this node, and so is this service: set RAY_worker_niceness=0 there")
        self._name = name
        self._args = msgspec.structs.replace(args, machine=machine())
        # Before anything of the service is made: locks that are to be timed must be made later.
        self._perf = profiling.opened(self.service.perf_selector, spec=args.perf)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"{name}-loop", daemon=True)
        self._thread.start()
        self._service: KernelService | None = None
        self._crash: crash.Armed | None = None
        self._ended = threading.Event()

    @abc.abstractmethod
    def make_service(self, args: KernelArgs) -> KernelService:
        """The service that this actor runs; called once, in ``start``, on the service's loop."""

    def start(self, named: Endpoint | None = None) -> tuple[Endpoint, ServiceInfo]:
        """Blocks until the service answers. Returns where, and this process's id. ``named``: where it is, if
        nobody knew that when this process began."""
        if named is not None and named.addrs:
            self._args = msgspec.structs.replace(self._args, named=named)
        starting = _make_and_start(self._keep_service, self._args)
        endpoint = asyncio.run_coroutine_threadsafe(starting, self._loop).result()
        # Not before it serves: a start that fails is an error for boot, not a death to be followed by a restart.
        self._crash = crash.arm(self.service.crash_event)
        host, _, port = endpoint.addrs[0].rpartition(":")
        _log(f"{self._name} serves at {endpoint.addrs[0]}")
        own = OsProcess.own()
        return endpoint, ServiceInfo(
            host=host, port=int(port), pid=own.pid, machine=own.machine, started_ticks=own.started_ticks
        )

    def _keep_service(self, args: KernelArgs) -> KernelService:
        # Kept before it is started: a stop must find it, also after a start that failed.
        self._service = self.make_service(args)
        if args.terms is not None:
            self._service.agree(args.terms)
        return self._service

    def others_started(self) -> None:
        """What starts together with this service has been started, too: what can wait for that may begin. Called after
        each ``start``; does not block."""
        _log(f"{self._name} is not the only one that started")

    def learn(self, generations: str) -> None:
        """Which credentials are good, as the authority signed it: those who show others are not let in from now on,
        and sessions of theirs end. Blocks until that is done."""
        gate = self._service.gate if self._service is not None else None
        if gate is None:
            return
        self._on_loop(gate.learn, generations)

    def agree(self, terms: RealmTerms) -> None:
        """The realm has these terms from now on. Blocks until the service keeps to them."""
        self._args = msgspec.structs.replace(self._args, terms=terms)
        if self._service is not None:
            self._on_loop(self._service.agree, terms)

    def _on_loop(self, call: Callable[[T], None], argument: T) -> None:
        async def called() -> None:
            call(argument)

        asyncio.run_coroutine_threadsafe(called(), self._loop).result()

    def run(self) -> None:
        """Blocks for as long as the service lives."""
        self._ended.wait()

    def stop(self) -> None:
        """Blocks until the service has stopped; then ``run`` returns. Raises what the service's stop raised."""
        if self._crash is not None:
            self._crash.close()  # a crash in the middle of an orderly stop tests nothing that a kill does not
        try:
            if self._service is not None:
                asyncio.run_coroutine_threadsafe(self._service.stop(), self._loop).result()
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout=5)
            if self._perf is not None:
                self._perf.done()
            # Last: once `run` has returned, boot takes the part for ended, and may start another.
            self._ended.set()

    def end(self) -> None:
        """The service lost its role (a deposed leader): ``run`` returns, so that boot starts another."""
        self._ended.set()
