"""Procs with variables that count only where an interpreter begins: their process begins one anew.

It stays the process that it is, with its socket and its log, so nobody else need know.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn

from sigmaos_ray.runner.sparelogs import ProcLog, SpareLog

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_READ_AT_EXEC: Final = ("PYTHON", "LD_", "MALLOC_", "GLIBC_TUNABLES")
_BEGIN: Final = """
import json, os, sys
kept = json.loads(sys.argv[1])
sys.path[:] = [path for path in sys.path if path] + [path for path in kept["path"] if path not in sys.path]
from sigmaos_ray.runner import template
template.go_on(sys.argv[1])
"""


class Kept(NamedTuple):
    """What a process keeps over it."""

    data: bytes
    """Its ProcStart."""
    fd: int
    """Its socket."""
    log: ProcLog


def is_needed(names: Iterable[str]) -> bool:
    """Whether variables of these names count only there."""
    return any(name.startswith(_READ_AT_EXEC) for name in names)


def begin_anew(kept: Kept, environment: Mapping[str, str]) -> NoReturn:
    """This process's program is a new interpreter from now on, which goes on with ``procmain.go_on``."""
    start = os.memfd_create("sigmaos-start", 0)
    with open(start, "wb", closefd=False) as file:
        file.write(kept.data)
    spare, header = kept.log.spare, kept.log.header
    what = {"start": start, "socket": kept.fd, "path": sys.path, "header": header.decode()}
    os.set_inheritable(kept.fd, True)
    if spare is not None:
        os.set_inheritable(spare.fd, True)
        what |= {"log": spare.fd, "spare": spare.path}
    flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # as multiprocessing has it
    os.execve(sys.executable, [sys.executable, *flags, "-c", _BEGIN, json.dumps(what)], environment)


def kept(text: str) -> Kept:
    """What the new interpreter was given: ``text`` is its argument."""
    what = json.loads(text)
    with open(what["start"], "rb") as file:
        file.seek(0)
        data = file.read()
    os.set_inheritable(what["socket"], False)
    spare = None
    if "log" in what:
        os.set_inheritable(what["log"], False)
        spare = SpareLog(what["log"], what["spare"])
    return Kept(data, what["socket"], ProcLog(spare, what["header"].encode()))
