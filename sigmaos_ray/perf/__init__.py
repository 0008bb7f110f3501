"""Profiles of kernel parts, programs and tests, as ``SIGMAPERF`` selects them: see ``docs/observing.md``.

with Perf("MYPROGRAM") as perf:  # SIGMAPERF="MYPROGRAM_PPROF;MYPROGRAM_TPT;"
    perf.tpt_tick(1)
"""

from typing import TYPE_CHECKING, Any

from sigmaos_ray.perf.selection import KNOWN, Kind, directory, parse

if TYPE_CHECKING:
    from sigmaos_ray.perf.session import Perf

__all__ = ["KNOWN", "Kind", "Perf", "directory", "parse"]


def __getattr__(name: str) -> Any:
    # Every process imports this package, and hardly any records: what that takes is imported by who does.
    if name == "Perf":
        from sigmaos_ray.perf.session import Perf

        return Perf
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
