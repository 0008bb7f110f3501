"""What a child gets from who spawns it, and which of several nodes it fits on (X-4, X-33, X-34). No I/O."""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING, NamedTuple

from sigmaos_ray.sessp import wire
from sigmaos_ray.sessp.link import KIND_VARIABLE, forced_kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sigmaos_ray.config import ProcEnv
    from sigmaos_ray.pb import proc_pb2 as pb
    from sigmaos_ray.proc import Proc


def child_spec(proc: Proc, env: ProcEnv) -> pb.ProcSpec:
    """The proc as its schedd gets it: the spawner's child, in its realm, with its secrets, and with its debug, perf and
    fault settings, and the kind of connections that its own environment forces, unless the proc has its own."""
    spec = proc.to_pb()
    spec.parent_pid, spec.parent_schedd_id = env.pid, env.schedd_id
    spec.realm = env.realm
    spec.secrets.extend(wire.secret_to_pb(secret) for secret in env.secrets)
    settings = {"SIGMADEBUG": env.debug, "SIGMAPERF": env.perf, "SIGMAFAIL": env.fail, KIND_VARIABLE: forced_kind()}
    for name, inherited in settings.items():
        if inherited and name not in spec.env:
            spec.env[name] = inherited
    return spec


class Load(NamedTuple):
    """What a kernel node has, and what is wanted of it by the procs that its schedd knows, those that wait included."""

    cores: float
    wanted_cores: float
    mem_mb: float
    wanted_mem_mb: float
    be_cores: float
    """What a best-effort proc counts as."""

    @classmethod
    def from_pb(cls, load: pb.LoadReply) -> Load:
        return cls(load.cores, load.wanted_cores, load.mem_mb, load.wanted_mem_mb, load.be_cores)

    def with_proc(self, proc: Proc) -> Load:
        """The load once the proc is there, too."""
        wanted_cores = self.wanted_cores + (proc.mcpu / 1000 or self.be_cores)
        return self._replace(wanted_cores=wanted_cores, wanted_mem_mb=self.wanted_mem_mb + proc.mem_mb)

    @property
    def free_cores(self) -> float:
        """What nothing wants; 0 also where memory is what is short."""
        if self.wanted_mem_mb > self.mem_mb > 0:
            return 0.0
        return max(self.cores - self.wanted_cores, 0.0)

    @property
    def is_over(self) -> bool:
        """Whether more is wanted than there is."""
        return self.wanted_cores > self.cores or self.wanted_mem_mb > self.mem_mb > 0

    @property
    def share(self) -> float:
        """How much is wanted of what there is, of cores or of memory, whichever is shorter."""
        of_cores = self.wanted_cores / self.cores if self.cores else float("inf")
        return max(of_cores, self.wanted_mem_mb / self.mem_mb if self.mem_mb else 0.0)


def with_room(loads: Mapping[str, Load], proc: Proc) -> str | None:
    """One of the kernel nodes that have room for a proc; None if none has."""
    # By chance, not the emptiest: many spawners see the same loads, and would all agree on one node.
    left = {kernel: load.with_proc(proc) for kernel, load in loads.items()}
    fitting = [kernel for kernel, load in left.items() if not load.is_over]
    if not fitting:
        return None
    # Of a node that is filled to the last core, there is still the proc's own part.
    weights = [left[kernel].free_cores + (proc.mcpu / 1000 or loads[kernel].be_cores) for kernel in fitting]
    return random.choices(fitting, weights)[0]


def least_loaded(loads: Mapping[str, Load], proc: Proc) -> str:
    """The kernel node where a proc waits for the least, as far as loads tell."""
    shares = {kernel: load.with_proc(proc).share for kernel, load in loads.items()}
    least = min(shares.values())
    return random.choice([kernel for kernel, share in shares.items() if share == least])


def in_turns(kernels: Sequence[str], run: int, first: int) -> Iterator[str]:
    """The kernel nodes one after the other for ever, ``run`` times each, from the one at ``first`` on."""
    for place in itertools.count(first):
        yield from itertools.repeat(kernels[place % len(kernels)], run)
