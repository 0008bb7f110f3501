"""Elections: ``AsyncElectClnt`` for coroutines, ``ElectClnt`` for threads."""

from sigmaos_ray.electclnt.asynchronous import AsyncElectClnt
from sigmaos_ray.electclnt.blocking import ElectClnt

__all__ = [
    "AsyncElectClnt",
    "ElectClnt",
]
