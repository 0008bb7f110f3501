"""SigmaOS in Python on top of Ray. A client needs gRPC alone: nothing here imports Ray or boto3."""

from sigmaos_ray import serr
from sigmaos_ray.proc import Proc, Status
from sigmaos_ray.sigmaclnt import AsyncSigmaClnt, SigmaClnt

__all__ = ["AsyncSigmaClnt", "Proc", "SigmaClnt", "Status", "serr"]
