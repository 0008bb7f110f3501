"""Semaphores: ``AsyncSemaphore`` for coroutines, ``Semaphore`` for threads."""

from sigmaos_ray.semclnt.asynchronous import AsyncSemaphore
from sigmaos_ray.semclnt.blocking import Semaphore

__all__ = [
    "AsyncSemaphore",
    "Semaphore",
]
