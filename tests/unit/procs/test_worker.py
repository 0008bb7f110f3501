"""A process that runs procs of several schedds, on a node that is not theirs: no Ray runs here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import ray

from kernel.raylib import whereis
from kernel.schedd import worker
from kernel.schedd.places import Runner
from kernel.schedd.worker import NodeArgs, RayParking, Worker
from sigmaos_ray import Proc
from sigmaos_ray.config import LOCAL, ProcEnv
from sigmaos_ray.machine import OsProcess
from sigmaos_ray.pb import proc_pb2 as pb
from sigmaos_ray.proc import Status
from sigmaos_ray.procclnt import parking
from sigmaos_ray.runner.spawntimes import SpawnTimes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sigmaos_ray.procclnt.parking import Awaited, Parking


class OwnParking:
    """A schedd's."""

    def park(self, call: Awaited) -> None:
        raise AssertionError("nobody waits here")


class Schedd:
    """Hears hellos, as an actor's handle does."""

    def __init__(self) -> None:
        self.runners: list[Runner] = []
        self.hello = self

    def remote(self, runner: Runner) -> None:
        self.runners.append(runner)


class Here(Worker):
    """A worker of schedd ``sigma-a`` on another Ray node than the schedd's."""

    def __init__(self, own: Schedd, held: Parking) -> None:
        instance = ProcEnv(pid="", kernel_id="sigma-a", host="192.0.2.1", realm="r")
        self._args = NodeArgs(instance=instance, ray_node_id="node-a", schedd=b"", log_dir="")
        self._schedd = own
        self._parking: Any = held
        self._instance = instance
        self._runner = Runner(process=OsProcess.own(), ray_node_id="node-b")
        self._is_settled = False
        self._asked_s = float("-inf")

    def _ask(self, method: Any, *args: object) -> object:
        return method.remote(*args)


@pytest.fixture(autouse=True)
def _nothing_held() -> Iterator[None]:
    yield
    parking.install(None)


def run(here: Worker, main: Any) -> object:
    """What the program returned."""
    spec = Proc(main, pid="p").to_pb()
    return Status.from_pb(pb.ProcStatus.FromString(here._run(spec, SpawnTimes()))).data


def test_a_proc_gives_its_core_back_to_its_own_schedd(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though another one's proc ran in this process before."""
    monkeypatch.setattr(worker, "_place_of", lambda *_: whereis.KernelPlace("sigma-a", "192.0.2.1"))
    own = [OwnParking(), OwnParking()]
    workers = [Here(Schedd(), held) for held in own]
    seen = [run(here, lambda: id(parking.installed())) for here in (*workers, workers[0])]
    assert seen == [id(own[0]), id(own[1]), id(own[0])]


def test_tokens_of_two_workers_are_never_the_same() -> None:
    """Their process ids and thread ids may be, on two machines."""
    assert RayParking(None)._token != RayParking(None)._token


def test_a_node_that_gets_its_kernel_node_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Procs that run before are at home nowhere; those that come later are; and from then on its schedd watches."""
    monkeypatch.setattr(worker.config, "current", lambda: msgspec.structs.replace(LOCAL, workers=AT_ONCE))
    place: whereis.KernelPlace | None = None
    handle: bytes | None = None
    watching = Schedd()
    monkeypatch.setattr(whereis, "kernel_of", lambda _node: place)
    monkeypatch.setattr(whereis, "schedd_of", lambda _realm, _kernel_id: handle)
    monkeypatch.setattr(ray.util, "get_node_ip_address", lambda: "192.0.2.2")
    monkeypatch.setattr(ray.cloudpickle, "loads", lambda _: watching)
    here = Here(Schedd(), OwnParking())
    here._settle()
    assert (here._instance.kernel_id, here._instance.host) == ("", "192.0.2.2")
    place = whereis.KernelPlace("sigma-b", "192.0.2.22")
    here._settle_later()  # a tenant's schedd may come some time after the kernel node
    assert (here._instance.kernel_id, here._instance.host, here._is_settled) == ("sigma-b", "192.0.2.22", False)
    handle = b"a handle"
    here._settle_later()
    assert here._is_settled
    assert [runner.kernel_id for runner in watching.runners] == ["sigma-b"]


AT_ONCE = msgspec.structs.replace(LOCAL.workers, place_poll_s=-1.0)
