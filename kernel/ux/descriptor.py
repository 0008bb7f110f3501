"""ux: the files of a node."""

from __future__ import annotations

from kernel.service import Service
from sigmaos_ray.selectors import Selectors

SERVICE = Service(
    name="ux",
    actor="kernel.ux.actor:UxKernel",
    selectors=Selectors(
        debug={"UX": "the proxy of the node's files"},
        faults={"UX_CRASH": "event: a ux proxy ends"},
        perf={"UX": "the proxy of the node's files"},
    ),
    keeps=("ux", "ux-{realm}"),
)
