"""schedd: the procs of a node."""

from __future__ import annotations

from kernel.service import Service
from sigmaos_ray.selectors import Selectors

SERVICE = Service(
    name="schedd",
    actor="kernel.schedd.actor:ScheddActor",
    calls_max=20_000,  # every wait that is parked there is a call under way; it takes no core
    serves_files=False,
    keeps=("schedd/{realm}/runners",),
    selectors=Selectors(
        debug={"SCHEDD": "schedd: procs and Ray's references"},
        faults={
            "SCHEDD_CRASH": "event: a schedd ends",
            "SCHEDD_SPAWN_DELAY": "point: schedd is held up before it hands a proc to Ray",
        },
        perf={"SCHEDD": "schedd"},
    ),
)
