"""Locks: ``AsyncLock`` for coroutines, ``Lock`` for threads."""

from sigmaos_ray.lockclnt.asynchronous import AsyncLock
from sigmaos_ray.lockclnt.blocking import Lock

__all__ = [
    "AsyncLock",
    "Lock",
]
