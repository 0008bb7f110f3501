"""What runs in Ray's workers: one function for best-effort procs, one actor for latency-critical ones.

A worker process says hello to its schedd once; procs that end within a few milliseconds cost no further message.
"""

from __future__ import annotations

import concurrent.futures
import functools
import secrets
import signal
import threading
import time
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
import ray

from kernel.raylib import lean, whereis
from kernel.schedd.places import Runner
from sigmaos_ray import config, debug, decoding
from sigmaos_ray.config import ProcEnv
from sigmaos_ray.machine import OsProcess
from sigmaos_ray.pb import proc_pb2 as pb
from sigmaos_ray.perf import remote
from sigmaos_ray.proc import Status
from sigmaos_ray.procclnt import parking
from sigmaos_ray.runner import children, parkedloop
from sigmaos_ray.runner.redirect import keep_log
from sigmaos_ray.runner.run import run_program
from sigmaos_ray.runner.spawntimes import SpawnTimes

if TYPE_CHECKING:
    from collections.abc import Callable

    from sigmaos_ray.procclnt.parking import Awaited

T = TypeVar("T")

lean.install()  # at the import: Ray unpacks a task's arguments next

_log = debug.selector("RUNNER")


class NodeArgs(msgspec.Struct, frozen=True, kw_only=True):
    """What the workers of one schedd must know; the same bytes for each of its procs."""

    instance: ProcEnv
    """What its procs are told of the instance."""
    ray_node_id: str
    schedd: bytes
    """The schedd's actor handle, as Ray pickles it."""
    log_dir: str


_decode_node_args: Final = decoding.json_decoder(NodeArgs)


class RayParking:
    """Gives a task's core back: Ray lends it on while the task's main thread is in ``ray.get``."""

    def __init__(self, schedd: Any) -> None:
        self._schedd = schedd
        # Process ids and thread ids are those of one machine: two workers of one schedd may share them.
        self._token = secrets.token_hex(8)
        self._parked_count = 0

    def park(self, call: Awaited) -> None:
        self._parked_count += 1
        # Each wait has its own: a word for an earlier one that comes late must not end this one.
        token = f"{self._token}-{self._parked_count}"
        parked = self._schedd.park.remote(token)
        call.add_done_callback(lambda: self._schedd.unpark.remote(token))
        try:
            ray.get(parked)
        except ray.exceptions.RayError as error:  # without a schedd the core stays with us
            _log(f"cannot park: {error}")


class Worker:
    """This process, as the runner of one schedd's procs."""

    def __init__(self, args: NodeArgs) -> None:
        # First of all: the raylet's environment may be another than boot's.
        config.use(args.instance.config)
        self._args = args
        self._schedd = ray.cloudpickle.loads(args.schedd)
        self._parking = RayParking(self._schedd)
        whereis.install(args.instance.realm)
        self._instance = args.instance
        self._runner = Runner(process=OsProcess.own(), ray_node_id=ray.get_runtime_context().get_node_id())
        self._is_settled = False
        self._asked_s = 0.0
        children.adopt_orphans()
        parkedloop.install()
        self._notices = Notices(self._notice)
        _serve_profiles()
        self._settle()
        # Asked, not just told: nothing announces a short proc, so this process must be watched before it runs any.
        self._ask(self._schedd.hello, self._runner)

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

    def run(self, data: bytes) -> bytes:
        """Runs a best-effort proc."""
        times = SpawnTimes()
        spec = pb.ProcSpec.FromString(data)
        self._notices.arm(spec.pid)
        try:
            return self._run(spec, times)
        finally:
            self._notices.disarm()

    def run_announced(self, data: bytes) -> bytes:
        """Runs a latency-critical proc, unless it was evicted while it waited for its cores."""
        times = SpawnTimes()
        spec = pb.ProcSpec.FromString(data)
        if self._ask(self._schedd.began, spec.pid, self._runner) is False:
            return Status.evicted().to_pb().SerializeToString()
        # For its log alone, which is kept once it runs for a while. That it began, the schedd knows by now.
        self._notices.arm(spec.pid)
        return self._run(spec, times)

    def _run(self, spec: pb.ProcSpec, times: SpawnTimes) -> bytes:
        previous = signal.signal(signal.SIGINT, _interrupt_handler())
        # Another schedd of the realm may have used this process in between: the proc's own one gets its core back.
        parking.install(self._parking)
        if not self._is_settled:
            self._settle_later()
        try:
            status = run_program(spec, self._instance, self._args.log_dir, times).to_pb()
        finally:
            signal.signal(signal.SIGINT, previous)
        times.add_to(status)
        return status.SerializeToString()

    def _notice(self, pid: str) -> None:
        keep_log(pid)
        self._schedd.began.remote(pid, self._runner)

    def _ask(self, method: Any, *args: object) -> object:
        """A call to the schedd; None if it does not answer: it is gone, and this worker soon is, too."""
        try:
            return ray.get(method.remote(*args), timeout=config.current().workers.hello_timeout_s)
        except (ray.exceptions.RayError, concurrent.futures.TimeoutError) as error:
            _log(f"the schedd does not answer: {error}")
            return None

    def meet(self, count: int) -> None:
        """Waits until so many workers are here, so that each of them is another process."""
        self._ask(self._schedd.meet, count)


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


def _serve_profiles() -> None:
    """Lets the schedd profile this process where the system forbids py-spy to."""
    try:
        remote.Agent()
    except OSError as error:  # no reason not to run procs
        _log(f"no agent for profiles: {error}")


def _interrupt_handler() -> Callable[[int, Any], None]:
    """SIGINT is KeyboardInterrupt, as always, but for a withdrawal that came too late: an eviction is a request."""
    deadline_s = time.monotonic() + config.current().workers.cancel_race_s

    def handle(number: int, frame: Any) -> None:
        if time.monotonic() > deadline_s:
            signal.default_int_handler(number, frame)

    return handle


class Notices:
    """Calls ``tell(pid)`` once for each proc that runs for longer than ``notice_after_s``. One daemon thread, which
    looks from time to time while procs come, so that a short proc does not have to wake it."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._after_s = config.current().workers.notice_after_s
        self._pid: str | None = None
        self._idle = True
        self._armed = threading.Event()
        threading.Thread(target=self._main, name="sigmaos-notices", daemon=True).start()

    def arm(self, pid: str) -> None:
        self._pid = pid
        if self._idle:
            self._armed.set()

    def disarm(self) -> None:
        self._pid = None

    def _main(self) -> None:
        previous: str | None = None
        noticed: str | None = None
        while True:
            pid = self._pid
            # By identity: a pid that is spawned anew is another string.
            if pid is not None and pid is previous and pid is not noticed:
                noticed = pid
                self._tell(pid)
            if pid is previous and (pid is None or pid is noticed):
                self._sleep(pid)
            previous = pid
            time.sleep(self._after_s)

    def _sleep(self, pid: str | None) -> None:
        """Until there is another proc than this one, or none."""
        # Before the last look at the pid: who arms after that look sees that this one sleeps, and wakes it; who armed
        # before is seen by it.
        self._armed.clear()
        self._idle = True
        if self._pid is pid:
            self._armed.wait()
        self._idle = False


@functools.lru_cache(maxsize=4)
def _worker(node: bytes) -> Worker:
    return Worker(_decode_node_args(node))


def run_proc(proc: bytes, node: bytes) -> bytes:
    """A best-effort proc: pb.ProcSpec in, pb.ProcStatus out."""
    return _worker(node).run(proc)


def warm(node: bytes, count: int) -> None:
    """Gets a worker process ready."""
    _worker(node).meet(count)


class ProcActor:
    """A latency-critical proc: one process for it alone, with its cores reserved."""

    def run(self, proc: bytes, node: bytes) -> bytes:
        return _worker(node).run_announced(proc)
