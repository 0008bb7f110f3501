"""Durable tasks, each done once (FT-1 to FT-4): a server, its clients, and a coordinator that runs procs for them."""

from sigmaos_ray.ft.fttask.clnt import Acquired, AsyncFtTaskClnt, FtTaskClnt, TaskStats, TaskStatus
from sigmaos_ray.ft.fttask.coord import AsyncFtTaskCoord, FtTaskCoord, TaskResult, decide
from sigmaos_ray.ft.fttask.srvmgr import AsyncFtTaskSrvMgr, FtTaskSrvMgr

__all__ = [
    "Acquired",
    "AsyncFtTaskClnt",
    "AsyncFtTaskCoord",
    "AsyncFtTaskSrvMgr",
    "FtTaskClnt",
    "FtTaskCoord",
    "FtTaskSrvMgr",
    "TaskResult",
    "TaskStats",
    "TaskStatus",
    "decide",
]
