"""db: a database, by RPC."""

from __future__ import annotations

from kernel.service import Service
from sigmaos_ray.selectors import Selectors

SERVICE = Service(
    name="db",
    actor="kernel.db.actor:DbKernel",
    serves_files=False,
    selectors=Selectors(
        debug={"DB": "the database proxy"},
        faults={"DB_CRASH": "event: a database proxy ends"},
        perf={"DB": "the database proxy"},
    ),
    needs=("sqlalchemy",),
    keeps=("db/{realm}.sqlite*",),
)
