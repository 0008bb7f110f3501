"""A proc as a value: what is asked for (``Proc``), how it ended (``Status``), what a schedd tells of it (``ProcInfo``).

Nothing here runs or spawns one: ``procclnt`` asks for it, ``runner`` runs it.
"""

from sigmaos_ray.proc.info import ProcInfo
from sigmaos_ray.proc.spec import Proc, Program, Tpid, check_pid
from sigmaos_ray.proc.status import Status, StatusCode

__all__ = ["Proc", "ProcInfo", "Program", "Status", "StatusCode", "Tpid", "check_pid"]
