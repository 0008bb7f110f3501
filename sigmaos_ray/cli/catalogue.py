"""Every selector that can be named: the library's, the kernel's, and those of the programs in ``user``."""

from __future__ import annotations

import difflib
import runpy
from typing import TYPE_CHECKING

from sigmaos_ray import crash, debug, perf, serr
from sigmaos_ray.selectors import Selectors, descriptor_files

if TYPE_CHECKING:
    from collections.abc import Collection


def catalogue() -> Selectors:
    """All of them."""
    import user
    from kernel import service

    parts = [
        Selectors(debug.KNOWN, crash.KNOWN, perf.KNOWN),
        service.COMMON,
        *(each.selectors for each in service.all_services()),
        # Run, not imported: that would import the programs, which may need extras that are not installed.
        *(runpy.run_path(str(file))["SELECTORS"] for file in descriptor_files(user).values()),
    ]
    return Selectors(
        debug={name: line for part in parts for name, line in part.debug.items()},
        faults={label: line for part in parts for label, line in part.faults.items()},
        perf={name: line for part in parts for name, line in part.perf.items()},
    )


def check_faults(spec: str) -> None:
    """Inval for a ``SIGMAFAIL`` with a label that nothing has: whoever waits for that fault would wait in vain."""
    if labels := crash.parse(spec).events.keys():
        known = catalogue().faults
        for label in sorted(labels - known.keys()):
            raise serr.Inval("SIGMAFAIL", f"no fault {label}{_meant(label, known)}; `sigmaos fail --list` shows them")


def unknown_selectors(spec: str) -> list[str]:
    """Those of a ``SIGMADEBUG`` that nobody declares, each with what may be meant. No error: programs that are started
    later inherit the setting, and theirs need not be declared."""
    if not (names := debug.parse(spec)):
        return []
    known = catalogue().debug
    return [f"{name}{_meant(name, known)}" for name in sorted(names - known.keys())]


def _meant(name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f" (is it {close[0]}?)" if close else ""
