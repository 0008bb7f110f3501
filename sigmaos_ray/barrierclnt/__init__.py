"""Barriers: ``AsyncBarrier`` for coroutines, ``Barrier`` for threads."""

from sigmaos_ray.barrierclnt.asynchronous import AsyncBarrier
from sigmaos_ray.barrierclnt.blocking import Barrier

__all__ = [
    "AsyncBarrier",
    "Barrier",
]
