"""What README and documents show, run as it stands there: the tour block by block, on a fresh instance."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sigmaos_ray.testing import Tstate

ROOT = Path(__file__).parents[2]
WAIT_S = 240
BLOCK = re.compile(r"^```(python)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
IMPORT = re.compile(r"^(?:from \S+ )?import .*$", re.MULTILINE)


class Tour(NamedTuple):
    """A folder as a reader has it, and an environment with an instance of its own."""

    directory: Path
    env: dict[str, str]

    def run(self, *command: str) -> None:
        done = subprocess.run(
            command, cwd=self.directory, env=self.env, capture_output=True, text=True, timeout=WAIT_S, check=False
        )
        assert done.returncode == 0, f"{command[-1]}\n{done.stdout}\n{done.stderr}"


@pytest.fixture
def tour(tmp_path: Path) -> Iterator[Tour]:
    directory = tmp_path / "clone"
    directory.mkdir()
    for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md"):
        (directory / name).write_text((ROOT / name).read_text())
    (directory / ".venv").symlink_to(sys.prefix)
    env = {name: value for name, value in os.environ.items() if not name.startswith("SIGMA")}
    binaries = str(Path(sys.executable).parent)
    env |= {"SIGMAOS_STATE_DIR": str(tmp_path / "state"), "PATH": f"{binaries}:{env['PATH']}"}
    tour = Tour(directory, env)
    try:
        yield tour
    finally:
        tour.run("sigmaos", "stop")


def test_each_block_of_the_tour(tour: Tour, tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text()
    section = text[text.index("## Ten minutes of tour") : text.index("## Several machines")]
    blocks = BLOCK.findall(section)
    assert len(blocks) >= 15
    imports: list[str] = []
    for kind, source in blocks:
        # What the README leaves in /tmp stays in the test's own directory.
        block = source.replace("/tmp/", f"{tmp_path}/")
        if kind:
            # As in one notebook: what an earlier block imported is there.
            tour.run(sys.executable, "-c", "\n".join([*imports, block]))
            imports += IMPORT.findall(block)
        else:
            tour.run("bash", "-ec", block)


@pytest.mark.parametrize("document", ["index.md", "procs.md"])
def test_the_first_program_of_a_document(tstate_all: Tstate, tmp_path: Path, document: str) -> None:
    source = next(source for kind, source in BLOCK.findall((ROOT / "docs" / document).read_text()) if kind)
    (tmp_path / "program.py").write_text(source)
    env = {**os.environ, "SIGMAOS_STATE_DIR": tstate_all.instance.state_dir}
    Tour(tmp_path, env).run(sys.executable, "program.py")
