"""Fenced leadership: ``AsyncLeaderClnt`` for coroutines, ``LeaderClnt`` for threads."""

from sigmaos_ray.leaderclnt.asynchronous import AsyncLeaderClnt
from sigmaos_ray.leaderclnt.blocking import LeaderClnt

__all__ = [
    "AsyncLeaderClnt",
    "LeaderClnt",
]
