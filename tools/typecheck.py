"""Checks the types of the tests with mypy, all at once.

Test directories are no packages: pytest puts each on the path, and files in different ones find each other by their
names alone. mypy is shown the same: one directory, with a link to each file. Only ``conftest.py`` is the name of many.

Usage: typecheck.py [MYPY-OPTION...], in the project's directory.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_TESTS = Path("tests")
_CACHE = Path(".mypy_cache/tests")
"""Not that of the packages, which are checked with other options: each run would throw away what the other has."""
_LINKS = _CACHE / "links"
"""Always the same directory: mypy remembers files by their paths."""
_RELAXED = (
    *("--allow-subclassing-any", "--allow-untyped-calls", "--allow-untyped-defs", "--allow-incomplete-defs"),
    # What the packages ignore under the strict options may be no error under these.
    *("--implicit-reexport", "--no-warn-return-any", "--no-warn-unused-ignores"),
)


def main(options: list[str]) -> int:
    shutil.rmtree(_LINKS, ignore_errors=True)
    _LINKS.mkdir(parents=True)
    sources = dict(_links())
    command = [sys.executable, "-m", "mypy", "--cache-dir", str(_CACHE), *_RELAXED, *options, *map(str, sources)]
    environment = os.environ | {"MYPYPATH": str(_LINKS)}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    for line in done.stdout.splitlines():
        link, colon, rest = line.partition(":")
        print(f"{sources.get(Path(link), link)}{colon}{rest}")
    return done.returncode


def _links() -> Iterator[tuple[Path, Path]]:
    """Each link with what it leads to: a file, or a package as a whole."""
    packages = {init.parent for init in _TESTS.rglob("__init__.py")}
    files = {file for file in _TESTS.rglob("*.py") if file.parent not in packages}
    for source in sorted(packages | files):
        link = _LINKS / ("_".join(source.parts) if source.name == "conftest.py" else source.name)
        link.symlink_to(source.absolute())
        yield link, source


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
