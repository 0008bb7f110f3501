"""Programs as people name them on the command line: by name, by module, or by a file of theirs."""

from __future__ import annotations

import errno
import os
import secrets
from pathlib import Path
from typing import NamedTuple

import typer

from sigmaos_ray import serr
from sigmaos_ray.proc.folder import VARIABLE
from sigmaos_ray.runner import script


class Program(NamedTuple):
    """What a proc is made of."""

    name: str
    args: list[str]
    """That come before the caller's."""
    title: str
    fresh: bool = False

    def new_pid(self) -> str | None:
        """A pid that begins with the file's name; None: the proc's own choice will do."""
        return f"{self.title}-{secrets.token_hex(8)}" if self.args else None


def program_of(text: str) -> Program:
    """``FILE.py`` is a file of this machine: it is shipped with the folder that it lies in, or with the one that
    ``SIGMAOS_WORKING_DIR`` names if it is below that. OSError if there is none, Inval if it is no Python."""
    if not text.endswith(".py"):
        return Program(text, [], text)
    file = Path(text).resolve()
    if not file.is_file():
        kind = errno.EISDIR if file.is_dir() else errno.ENOENT
        raise OSError(kind, os.strerror(kind), text)
    try:
        script.has_main(str(file))
    except (SyntaxError, ValueError) as error:  # told here, and not by a proc's end
        raise serr.Inval(text, f"is no Python: {error}") from error
    folder = Path(os.environ.get(VARIABLE) or file.parent).expanduser().resolve()
    if not file.is_relative_to(folder):
        folder = file.parent
    os.environ[VARIABLE] = str(folder)
    title = "".join(char if char.isalnum() or char in "-_" else "_" for char in file.stem)[:64]
    # Fresh: of all files together this is one program, and a module of one must not be that of another.
    return Program(script.PROGRAM, [str(file.relative_to(folder))], title or "script", fresh=True)


def environment(settings: list[str]) -> dict[str, str]:
    """Of ``--env NAME=VALUE``."""
    env = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not name or not equals:
            raise typer.BadParameter(f"--env takes NAME=VALUE, not {setting!r}")
        env[name] = value
    return env
