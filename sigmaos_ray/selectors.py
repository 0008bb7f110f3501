"""Names of debug output, faults and profiles, as the parts that have them declare them.

The library's own stand in ``debug.KNOWN``, ``crash.KNOWN`` and ``perf.KNOWN``. A kernel service and a program declare
theirs in a module ``descriptor`` of their own package, so that a new one adds to no list; ``sigmaos debug --list`` and
its like find them there. Processes do without: a selector works whether or not anybody declared it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType


class Selectors(NamedTuple):
    """What a service or a program can be told by name: each name with one line of help."""

    debug: Mapping[str, str] = {}
    """For ``SIGMADEBUG``."""
    faults: Mapping[str, str] = {}
    """For ``SIGMAFAIL``. The line begins with ``event:`` or ``point:``, the two kinds that ``crash`` tells apart."""
    perf: Mapping[str, str] = {}
    """For ``SIGMAPERF``, without the suffixes."""


def descriptor_files(package: ModuleType) -> dict[str, Path]:
    """The packages directly below ``package`` that have a module ``descriptor``, by name, and the module's file. None
    is imported for it, as ``importlib.util.find_spec`` would do: importing one may need what is not installed."""
    files = [file for root in package.__path__ for file in Path(root).glob("*/descriptor.py")]
    return {file.parent.name: file for file in sorted(files)}
