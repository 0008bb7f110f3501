"""Writes constraints.txt: the newest versions that the ranges of pyproject.toml admit together, as pip resolves them.

Usage: lock.py, in the project's directory, by the Python of its environment. Installs nothing.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

_HEAD = """\
# Exact versions for `make`, which installs with them; written by `make lock`. Users get the ranges of pyproject.toml.
"""
_OURS = "sigmaos-ray"


def main() -> int:
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory) / "report.json"
        command = ["install", "--quiet", "--dry-run", "--ignore-installed", "--report", str(report), ".[dev]"]
        subprocess.run([sys.executable, "-m", "pip", *command], check=True)
        parts = [part["metadata"] for part in json.loads(report.read_text())["install"]]
    pins = sorted(f"{_normal(part['name'])}=={part['version']}" for part in parts if part["name"] != _OURS)
    Path("constraints.txt").write_text(_HEAD + "".join(f"{pin}\n" for pin in pins))
    return 0


def _normal(name: str) -> str:
    """As package indexes spell a name."""
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    sys.exit(main())
