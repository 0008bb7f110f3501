"""SigmaClnt: files and procs of SigmaOS for one client, blocking or asyncio, with the same names.

``AsyncSigmaClnt`` does the work on the loop that it was made on; ``SigmaClnt`` is a thin face that runs it on the
process's loop thread, which starts with the first call that needs it. Inside a proc both find their instance in the
proc's environment; outside, in the state file of the running instance, or in ``SIGMAOS_NAMED``.
"""

from sigmaos_ray.sigmaclnt.asynchronous import AsyncSigmaClnt
from sigmaos_ray.sigmaclnt.blocking import SigmaClnt, close_all

__all__ = ["AsyncSigmaClnt", "SigmaClnt", "close_all"]
