"""A worker of a schedd, on a node that is not the schedd's: no Ray runs here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import ray

from kernel.raylib import whereis
from kernel.schedd import worker
from kernel.schedd.places import Runner
from kernel.schedd.worker import NodeArgs, Worker
from sigmaos_ray.config import LOCAL, ProcEnv
from sigmaos_ray.machine import OsProcess

if TYPE_CHECKING:
    import pytest


class Schedd:
    """Hears hellos, as an actor's handle does."""

    def __init__(self) -> None:
        self.runners: list[Runner] = []
        self.hello = self

    def remote(self, runner: Runner) -> None:
        self.runners.append(runner)


class Here(Worker):
    """A worker of schedd ``sigma-a`` on another Ray node than the schedd's."""

    def __init__(self, own: Schedd) -> None:
        instance = ProcEnv(pid="", kernel_id="sigma-a", host="192.0.2.1", realm="r")
        self._args = NodeArgs(instance=instance, ray_node_id="node-a", schedd=b"", log_dir="")
        self._schedd = own
        self._instance = instance
        self._runner = Runner(process=OsProcess.own(), ray_node_id="node-b")
        self._is_settled = False
        self._asked_s = float("-inf")

    def _ask(self, method: Any, *args: object) -> object:
        return method.remote(*args)


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
    here = Here(Schedd())
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
