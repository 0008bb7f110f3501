"""Procs, the client's side: spawn, wait, evict; and the runner that a Ray worker executes a program with."""

from sigmaos_ray.proc import ProcInfo
from sigmaos_ray.procclnt.clnt import AsyncProcClnt

__all__ = ["AsyncProcClnt", "ProcInfo"]
