"""Profiles of kernel parts, programs and tests, as ``SIGMAPERF`` selects them: see ``docs/observing.md``.

with Perf("MYPROGRAM") as perf:  # SIGMAPERF="MYPROGRAM_PPROF;MYPROGRAM_TPT;"
    perf.tpt_tick(1)
"""

from sigmaos_ray.perf.selection import KNOWN, Kind, directory, parse
from sigmaos_ray.perf.session import Perf

__all__ = ["KNOWN", "Kind", "Perf", "directory", "parse"]
