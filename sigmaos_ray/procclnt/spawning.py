"""What a child gets from who spawns it (X-4, X-34). No I/O."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from sigmaos_ray.sessp import wire
from sigmaos_ray.sessp.link import KIND_VARIABLE, forced_kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sigmaos_ray.config import ProcEnv
    from sigmaos_ray.pb import proc_pb2 as pb
    from sigmaos_ray.proc import Proc


def child_spec(proc: Proc, env: ProcEnv) -> pb.ProcSpec:
    """The proc as its schedd gets it: the spawner's child, in its realm, with its secrets, and with its debug, perf and
    fault settings, and the kind of connections that its own environment forces, unless the proc has its own."""
    spec = proc.to_pb()
    spec.parent_pid = env.pid
    spec.realm = env.realm
    spec.secrets.extend(wire.secret_to_pb(secret) for secret in env.secrets)
    settings = {"SIGMADEBUG": env.debug, "SIGMAPERF": env.perf, "SIGMAFAIL": env.fail, KIND_VARIABLE: forced_kind()}
    for name, inherited in settings.items():
        if inherited and name not in spec.env:
            spec.env[name] = inherited
    return spec


def pick(kernels: Sequence[str]) -> str:
    """One of the kernel nodes that qualify, at random."""
    # By chance, not the first: many spawners have the same list, and would all agree on one node.
    return random.choice(kernels)
