"""The program behind ``sigmaos exec``: any command of the machine that it runs on, by its name or path there."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Final

import msgspec

from sigmaos_ray.proc import Status
from sigmaos_ray.runner.executables import run
from sigmaos_ray.sigmaclnt import SigmaClnt

PROGRAM: Final = "sigmaos_ray.runner.command"
EXIT_CODE: Final = "exit_code"
"""In the status' data, of a command that ended."""


_NOT_FOUND: Final = 127
_NOT_RUN: Final = 126
"""As shells have them."""


def main(argv: list[str]) -> Status:
    """``argv``: the directory to run it in, if that is here, the command, and its arguments."""
    directory, command, *_ = argv
    cwd = directory if os.path.isdir(directory) else None
    # A path is one from that directory, as a shell has it.
    name = os.path.join(cwd or "", command) if "/" in command else command
    file = shutil.which(name)
    if file is None:
        return _cannot(command, "no such executable on this machine", _NOT_FOUND)
    with SigmaClnt() as sc:
        try:
            status, code = run(sc, Path(file), argv[1:], cwd)
        except OSError as error:
            return _cannot(command, error.strerror or str(error), _NOT_RUN)
    return msgspec.structs.replace(status, data={EXIT_CODE: code})


def _cannot(command: str, why: str, code: int) -> Status:
    words = f"{command}: {why}"
    print(words, file=sys.stderr)
    return Status.err(words, {EXIT_CODE: code})
