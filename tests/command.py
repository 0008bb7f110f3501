"""``sigmaos`` as a shell calls it, but in this process: a new one takes a second to start, each time."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING
from unittest import mock

import pytest

from sigmaos_ray.cli import context, main

if TYPE_CHECKING:
    from pathlib import Path


class Sigmaos:
    """Commands on one instance. Called with a command's arguments, for its exit code and what it printed."""

    def __init__(self, state_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._state_dir = state_dir
        self._capsys = capsys

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {"SIGMAOS_STATE_DIR": str(self._state_dir)}
        self._capsys.readouterr()  # what was printed before is not the command's
        try:
            # All of the environment is put back: options such as --realm are handed on by it.
            with (
                mock.patch.dict(os.environ, environment),
                mock.patch.object(sys, "argv", ["sigmaos", *arguments]),
                pytest.raises(SystemExit) as left,
            ):
                main.main()
        finally:
            context.options.__init__()  # type: ignore[misc]
        captured = self._capsys.readouterr()
        return subprocess.CompletedProcess(arguments, int(left.value.code or 0), captured.out, captured.err)
