"""What a lease does with its templates, for tests that block."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from sigmaos_ray.config import ProcEnv
from sigmaos_ray.proc import Proc, Status
from sigmaos_ray.runner import proclog
from sigmaos_ray.runner.templates import Templates

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from pathlib import Path

    from sigmaos_ray.pb import proc_pb2 as pb
    from sigmaos_ray.runner.procprocess import ProcProcess

T = TypeVar("T")

INSTANCE = ProcEnv(pid="", kernel_id="sigma-1", realm="r")


class Words:
    """A listener that keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.has_started = threading.Event()

    def started(self) -> None:
        self.heard.append("started")
        self.has_started.set()

    def reported(self, status: pb.ProcStatus) -> None:
        self.heard.append(Status.from_pb(status))

    def waits(self, waits: bool) -> None:
        self.heard.append(waits)


class Running:
    """A proc that runs."""

    def __init__(self, lease: Lease, spec: pb.ProcSpec, process: ProcProcess) -> None:
        self.pid = spec.pid
        self.process = process
        self.words = Words()
        self._lease = lease
        run = process.run(spec, INSTANCE.to_json().encode(), self.words)
        self.future = asyncio.run_coroutine_threadsafe(run, lease.loop)

    def result(self) -> Any:
        """Its Status."""
        return Status.from_pb(self.future.result(60))

    def times(self) -> pb.ProcTimes:
        return self.future.result(60).times

    def call(self, method: Callable[[], None]) -> None:
        """On the loop."""
        self._lease.do(method)

    def log(self) -> str:
        """What it printed, without its header."""
        return self._lease.log(self.pid).partition("\n")[2]


class Lease:
    """Templates, on a loop of their own."""

    def __init__(self, log_dir: Path, environment: Mapping[str, str] | None = None, path: list[str] | None = None):
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()
        self.log_dir = log_dir
        self.templates = Templates(str(log_dir), environment or {}, path or [])
        self.run(self.templates.open())

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(60)

    def do(self, method: Callable[[], None]) -> None:
        async def call() -> None:
            method()

        self.run(call())

    def begin(self, program: Any, *args: str, **options: Any) -> Running:
        """Runs a proc."""
        spec = Proc(program, list(args), **options).to_pb()
        return Running(self, spec, self.run(self.templates.take(spec)))

    def status(self, program: Any, *args: str, **options: Any) -> Any:
        """Runs a proc to its end; returns its Status."""
        return self.begin(program, *args, **options).result()

    def log(self, pid: str) -> str:
        file = proclog.path(str(self.log_dir), pid)
        return file.read_text() if file.exists() else ""

    def spares(self) -> list[str]:
        """Names of the files that no proc has."""
        return sorted(file.name for file in (self.log_dir / proclog.DIR / proclog.SPARES).glob("*"))

    def close(self) -> None:
        self.run(self.templates.close())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()
