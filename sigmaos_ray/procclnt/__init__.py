"""Procs, the client's side: spawn, wait, evict; and what a proc says of itself. What runs a program is ``runner``."""

from sigmaos_ray.proc import ProcInfo
from sigmaos_ray.procclnt.clnt import AsyncProcClnt

__all__ = ["AsyncProcClnt", "ProcInfo"]
