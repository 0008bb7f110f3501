"""``SIGMAPERF``: which selectors record what, and where the records lie (G-4, G-5, G-6).

``SIGMAPERF="NAMED_PPROF;TEST_PPROF_MEM;"`` is selectors with a suffix each, one per record.
"""

from __future__ import annotations

import enum
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sigmaos_ray import serr

if TYPE_CHECKING:
    from collections.abc import Mapping

KNOWN: Final[Mapping[str, str]] = {
    "TEST": "a session of pytest",
    "BENCH": "a session of pytest over benchmarks",
}
"""The library's own selectors. Services declare theirs (``sigmaos_ray.selectors``); each program has one by its name
(``selector_of``)."""

_DIR: Final = "/tmp/sigmaos-perf"


class Kind(enum.StrEnum):
    """What can be recorded; the value is the record's name in files."""

    CPU = "pprof"
    MEMORY = "pprof-mem"
    MUTEX = "pprof-mutex"
    BLOCK = "pprof-block"
    UTIL = "cpu"
    TPT = "tpt"
    VAL = "val"

    @property
    def suffix(self) -> str:
        """As ``SIGMAPERF`` spells it, behind the selector."""
        return "_" + self.value.replace("-", "_").upper()


WHAT: Final[Mapping[Kind, str]] = {
    Kind.CPU: "where CPU time goes",
    Kind.MEMORY: "who holds memory at its peak",
    Kind.MUTEX: "where threads and tasks wait for locks",
    Kind.BLOCK: "where threads wait",
    Kind.UTIL: "CPU utilisation, 50 times a second",
    Kind.TPT: "what Perf.tpt_tick counts, per 20 ms",
    Kind.VAL: "what Perf.val_tick is given",
}

# A selector may have underscores itself: X_PPROF_MEM is the memory of X, not the CPU time of what ends in _MEM.
_LONGEST_FIRST: Final = sorted(Kind, key=lambda kind: -len(kind.suffix))


def parse(spec: str) -> dict[str, frozenset[Kind]]:
    """What each selector records. Inval for a part that ends in no known suffix."""
    kinds: dict[str, frozenset[Kind]] = {}
    for part in filter(None, (part.strip() for part in spec.split(";"))):
        kind = next((kind for kind in _LONGEST_FIRST if part.endswith(kind.suffix)), None)
        selector = part.removesuffix(kind.suffix) if kind else ""
        if kind is None or not selector:
            suffixes = ", ".join(kind.suffix for kind in Kind)
            raise serr.Inval("SIGMAPERF", f"{part!r} is no selector with one of {suffixes} behind it")
        kinds[selector] = kinds.get(selector, frozenset()) | {kind}
    return kinds


def selected(selector: str, spec: str | None = None) -> frozenset[Kind]:
    """What a selector records; ``spec``: the environment's ``SIGMAPERF`` if None. Inval as ``parse``."""
    text = os.environ.get("SIGMAPERF", "") if spec is None else spec
    return parse(text).get(selector, frozenset()) if text else frozenset()


def selector_of(program: str) -> str:
    """The selector that each program has: ``user.word-count`` has ``WORD_COUNT``, ``name/ux/~local/run.sh`` ``RUN``."""
    name = os.path.splitext(os.path.basename(program))[0] if "/" in program else program.rpartition(".")[2]
    return re.sub(r"\W", "_", name).upper()


def directory() -> Path:
    """Where records lie: ``SIGMAOS_PERF_DIR``, else ``/tmp/sigmaos-perf``."""
    return Path(os.environ.get("SIGMAOS_PERF_DIR") or _DIR)


def file_of(where: Path, pid: str, kind: Kind, name: str = "") -> Path:
    """A record's file. ``name`` tells several records of one proc apart."""
    safe = re.sub(r"[/\0]", "_", pid)
    return where / f"{safe}-{name + '-' if name else ''}{kind.value}.out"
