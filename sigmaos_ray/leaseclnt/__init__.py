"""Leases: ``AsyncLeaseClnt`` for coroutines, ``LeaseClnt`` for threads."""

from sigmaos_ray.leaseclnt.asynchronous import AsyncLease, AsyncLeaseClnt, leases_of, made_or_undone
from sigmaos_ray.leaseclnt.blocking import Lease, LeaseClnt

__all__ = [
    "AsyncLease",
    "AsyncLeaseClnt",
    "Lease",
    "LeaseClnt",
    "leases_of",
    "made_or_undone",
]
