"""What runs in Ray's workers: one function, which serves a lease.

A worker process says hello to its schedd once, and keeps what is dear to make: the session, the template of procs'
processes.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
import ray

from kernel.raylib import lean, timeline, whereis
from kernel.schedd.agent import LeaseAgent, LeaseOver, Park, RunHere, RunningProc, TimelineSpan
from kernel.schedd.begun import BegunRecord
from kernel.schedd.places import Runner
from sigmaos_ray import config, debug, decoding, loopthread, serr
from sigmaos_ray.config import ProcEnv
from sigmaos_ray.machine import OsProcess
from sigmaos_ray.pb import proc_pb2 as pb
from sigmaos_ray.procclnt import parking
from sigmaos_ray.procclnt.lease import install_host
from sigmaos_ray.rpcclnt import BlockingCalls
from sigmaos_ray.runner import children, parkedloop, surroundings
from sigmaos_ray.runner.run import run_program
from sigmaos_ray.runner.spawntimes import SpawnTimes
from sigmaos_ray.runner.templates import Templates

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from sigmaos_ray.fslib import AsyncFsLib
    from sigmaos_ray.procclnt.parking import Awaited

lean.install()  # at the import: Ray unpacks a task's arguments next

_log = debug.selector("RUNNER")

T = TypeVar("T")


class NodeArgs(msgspec.Struct, frozen=True, kw_only=True):
    """What the workers of one schedd must know; the same bytes for each of its leases."""

    instance: ProcEnv
    """What its procs are told of the instance."""
    ray_node_id: str
    schedd: bytes
    """The schedd's actor handle, as Ray pickles it."""
    log_dir: str


_decode_node_args: Final = decoding.json_decoder(NodeArgs)


class Worker:
    """This process, with the leases of one schedd."""

    def __init__(self, args: NodeArgs) -> None:
        # First of all: the raylet's environment may be another than boot's.
        config.use(args.instance.config)
        self._args = args
        self._schedd = ray.cloudpickle.loads(args.schedd)
        whereis.install(args.instance.realm)
        self._instance = args.instance
        self._runner = Runner(process=OsProcess.own(), ray_node_id=ray.get_runtime_context().get_node_id())
        self._is_settled = False
        self._asked_s = 0.0
        children.adopt_orphans()
        parkedloop.install()
        surroundings.answer_profiles()  # for the schedd, where the system forbids py-spy to
        self._settle()
        # Asked, not just told: this process must be watched before it runs any proc.
        self._ask(self._schedd.hello, self._runner)
        self._loop = loopthread.shared()
        self._agent = self._loop.run(_make_agent(args))

    def _settle(self) -> None:
        """Finds out which kernel node serves this Ray node, which may be another one than the schedd's: what is ~local
        to procs, and where their servers listen, is here. Its schedd watches this process, as their own one cannot."""
        self._asked_s = time.monotonic()
        place = _place_of(self._runner.ray_node_id, self._args)
        self._runner = msgspec.structs.replace(self._runner, kernel_id=place.kernel_id)
        self._instance = msgspec.structs.replace(
            self._args.instance, kernel_id=place.kernel_id, host=place.host, machine=self._runner.process.machine
        )
        if place.kernel_id == self._args.instance.kernel_id:
            self._is_settled = True
        elif place.kernel_id and (handle := whereis.schedd_of(self._args.instance.realm, place.kernel_id)):
            self._ask(ray.cloudpickle.loads(handle).hello, self._runner)
            self._is_settled = True

    def _settle_later(self) -> None:
        """Ray may use a node before boot has put a kernel node there."""
        if time.monotonic() - self._asked_s > config.current().workers.place_poll_s:
            self._settle()
            self._schedd.hello.remote(self._runner)

    def serve(self, lease_id: str) -> None:
        """Runs procs until the lease is over. Main thread only."""
        if not self._is_settled:
            self._settle_later()
        # Ray interrupts what it was to take back and has begun by now: the schedd says of such a lease that it is over.
        previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
        serving = self._loop.start(self._agent.serve(lease_id, self._runner, self._instance))
        try:
            self._obey(lease_id)
        finally:
            signal.signal(signal.SIGINT, previous)
        serving.result()

    def _obey(self, lease_id: str) -> None:
        """Does what the agent needs this thread for, until the lease is over."""
        with contextlib.ExitStack() as span:
            while not isinstance(order := self._agent.orders.get(), LeaseOver):
                match order:
                    case Park(number, wait):
                        self._park(lease_id, number, wait)
                    case TimelineSpan(spec, os_pid):
                        span.close()
                        if os_pid:
                            span.enter_context(timeline.span(spec, os_pid))
                    case RunHere():
                        self._run_here(lease_id, order)

    def _park(self, lease_id: str, number: int, wait: int) -> None:
        """Blocks in Ray, which lends this task's core on meanwhile, until a wait of its proc is over."""
        try:
            ray.get(self._schedd.park.remote(lease_id, number, wait))
        except ray.exceptions.RayError as error:  # without a schedd the core stays with us
            _log(f"cannot park: {error}")

    def _run_here(self, lease_id: str, order: RunHere) -> None:
        """Runs procs in this process until the lease gets none of that kind."""
        previous = signal.signal(signal.SIGINT, signal.default_int_handler)
        serving, got = order.serving, order.first
        calls = BlockingCalls(self, self._agent.rpc)
        spared = children.present()
        try:
            while got.proc.reuse:
                running = serving.begins_here(got)
                parking.install(_Parking(self, lease_id, got.number))
                install_host(_Host(self._loop, running))
                with timeline.span(got.proc, os.getpid()):
                    status = run_in_worker(got.proc, self._instance, self._args.log_dir, spared)
                request = serving.next_request(running, status)
                got = calls.rpc("WorkerLeases.Next", request, pb.LeaseNextReply, None, idempotent=True)
        except serr.SigmaError as error:
            self._loop.loop.call_soon_threadsafe(order.fail, error)
        else:
            self._loop.loop.call_soon_threadsafe(order.end, got)
        finally:
            signal.signal(signal.SIGINT, previous)
            parking.install(None)
            install_host(None)

    # -- as a blocking client

    @property
    def asynchronous(self) -> AsyncFsLib:
        return self._agent.fs

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self._loop.run(coroutine)

    def wait_over(self, lease_id: str, number: int, wait: int) -> None:
        """From any thread."""
        self._loop.start(self._agent.wait_over(lease_id, number, wait))

    def park(self, lease_id: str, number: int, wait: int) -> None:
        self._park(lease_id, number, wait)

    def _ask(self, method: Any, *args: object) -> object:
        """A call to the schedd; None if it does not answer: it is gone, and this worker soon is, too."""
        try:
            # Not by ``ray.get``: Ray would lend this task's cores on meanwhile, and begin others beside it.
            return method.remote(*args).future().result(config.current().workers.hello_timeout_s)
        except (ray.exceptions.RayError, concurrent.futures.TimeoutError) as error:
            _log(f"the schedd does not answer: {error}")
            return None


class _Parking:
    """Gives the core back while a proc waits that runs in the worker itself: Ray lends a task's core while its main
    thread is in ``ray.get``."""

    def __init__(self, worker: Worker, lease_id: str, number: int) -> None:
        self._worker = worker
        self._lease_id = lease_id
        self._number = number
        self._waits_count = 0

    def park(self, call: Awaited) -> None:
        self._waits_count += 1
        # Each wait has its own number: a word for an earlier one that comes late must not end this one.
        wait = self._waits_count
        call.add_done_callback(lambda: self._worker.wait_over(self._lease_id, self._number, wait))
        self._worker.park(self._lease_id, self._number, wait)


class _Host:
    """Hears what a proc says of itself that runs in the worker."""

    def __init__(self, loop: loopthread.LoopThread, running: RunningProc) -> None:
        self.pid = running.proc.pid
        self._loop = loop
        self._running = running

    def send(self, word: pb.ProcWord) -> None:
        if self._running.says_here(word):
            self._loop.loop.call_soon_threadsafe(self._running.tell)


def run_in_worker(spec: pb.ProcSpec, instance: ProcEnv, log_dir: str, spared: children.Spared) -> pb.ProcStatus:
    """Runs a proc in this process; blocks for it. ``spared``: what the process has for itself."""
    times = SpawnTimes()
    status = run_program(spec, instance, log_dir, times, spared).to_pb()
    times.add_to(status)
    return status


async def _make_agent(args: NodeArgs) -> LeaseAgent:
    templates = Templates(args.log_dir, _environment(), sys.path)
    await templates.open()
    return LeaseAgent(args.instance, templates, BegunRecord(args.log_dir, OsProcess.own()), args.log_dir)


def _environment() -> dict[str, str]:
    """What procs' processes have beyond this worker's: ``ray.init()`` in a proc joins this Ray."""
    address: str = ray.get_runtime_context().gcs_address
    return {**os.environ, "RAY_ADDRESS": address}


def _place_of(node_id: str, args: NodeArgs) -> whereis.KernelPlace:
    """The kernel node that serves a Ray node; without an id while there is none."""
    if node_id == args.ray_node_id:
        return whereis.KernelPlace(args.instance.kernel_id, args.instance.host)
    try:
        place = whereis.kernel_of(node_id)
    except ray.exceptions.RayError as error:  # no reason not to run procs
        _log(f"Ray does not tell which kernel node this is: {error}")
        place = None
    # The address is Ray's, as it will be the kernel node's.
    own_address: Any = ray.util.get_node_ip_address  # Ray does not type it
    return place or whereis.KernelPlace("", own_address())


@functools.lru_cache(maxsize=4)
def _worker(node: bytes) -> Worker:
    return Worker(_decode_node_args(node))


def serve(lease_id: str, node: bytes) -> None:
    """A lease of a schedd, until it is over."""
    _worker(node).serve(lease_id)
