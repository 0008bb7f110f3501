"""A proc's log has what the proc printed, and nothing else has it."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from sigmaos_ray.runner import proclog

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = """
import sys
from sigmaos_ray.runner.redirect import Redirect

class Own:
    def write(self, text):
        return len(text)

    def flush(self):
        raise RuntimeError("not mine to flush")

with Redirect(sys.argv[1], "p-1", "a program"):
    sys.stdout.write("the proc's, in a buffer")
    sys.stdout = Own()
print("the worker's")
"""


def test_a_program_that_replaces_its_streams(tmp_path: Path) -> None:
    """Also with something that cannot be flushed: the worker has its own back."""
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], capture_output=True, text=True, timeout=60, check=True
    )
    assert ended.stdout == "the worker's\n"
    assert proclog.path(str(tmp_path), "p-1").read_text().endswith("the proc's, in a buffer")
