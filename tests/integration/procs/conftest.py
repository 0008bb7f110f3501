"""One Ray for all modules; one named (memfs stands in for it) and one schedd actor for all tests of a module."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import ray
from rays import joined, own_ray

from kernel.schedd.actor import ScheddActor
from kernel.schedd.descriptor import SERVICE
from kernel.shell import KernelArgs
from sigmaos_ray import SigmaClnt, loopthread
from sigmaos_ray.config import ProcEnv
from sigmaos_ray.memfs import MemFs
from sigmaos_ray.protsrv.node import OpenHow
from sigmaos_ray.protsrv.server import FileServer
from sigmaos_ray.protsrv.watch import WatchTable
from sigmaos_ray.rpcsrv import Caller
from sigmaos_ray.sigmap import DMDIR, NAMED_ROOT_DIRS, OREAD, Endpoint

if TYPE_CHECKING:
    from collections.abc import Iterator


KERNEL_ID = "sigma-0000abcd"


async def _start_named() -> tuple[FileServer, Endpoint]:
    watches = WatchTable()
    fs = MemFs(watches)
    for name in NAMED_ROOT_DIRS:
        await fs.root.create(Caller(), name, OpenHow(OREAD, DMDIR | 0o777))
    server = FileServer(fs.root, watches, leases=fs.leases)
    return server, await server.start()


@pytest.fixture(scope="module")
def named() -> Iterator[Endpoint]:
    loop = loopthread.shared()
    server, endpoint = loop.run(_start_named())
    yield endpoint
    loop.run(server.stop())


@pytest.fixture(scope="module")
def log_dir() -> Iterator[Path]:
    directory = tempfile.mkdtemp(prefix="sigmaos-test-logs-")
    yield Path(directory)
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def ray_address() -> Iterator[str]:
    with own_ray() as address:
        yield address


@pytest.fixture(scope="module")
def ray_instance(ray_address: str) -> Iterator[None]:
    with joined(ray_address):
        yield


@pytest.fixture(scope="module")
def schedd(ray_instance: None, named: Endpoint, log_dir: Path) -> Iterator[Any]:
    args = KernelArgs(kernel_id=KERNEL_ID, named=named, log_dir=str(log_dir), debug=os.environ.get("SIGMADEBUG", ""))
    actor_class: Any = ray.remote(ScheddActor)
    actor = actor_class.options(num_cpus=0, max_concurrency=SERVICE.calls_max, name="schedd").remote("schedd", args)
    ray.get(actor.start.remote(named), timeout=30)
    yield actor
    ray.get(actor.stop.remote(), timeout=30)
    ray.kill(actor)


def client(named: Endpoint) -> SigmaClnt:
    return SigmaClnt(ProcEnv(pid=f"tester-{uuid.uuid4().hex[:8]}", kernel_id=KERNEL_ID, named=named))


@pytest.fixture
def sc(schedd: object, named: Endpoint) -> Iterator[SigmaClnt]:
    with client(named) as sc:
        yield sc


@pytest.fixture
def other(schedd: object, named: Endpoint) -> Iterator[SigmaClnt]:
    """A client that is nobody's parent."""
    with client(named) as sc:
        yield sc
