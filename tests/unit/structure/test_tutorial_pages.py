"""The tutorial's notebooks say what its pages say, the site has all pages, and the page of libraries is true."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
LIBRARIES = (ROOT / "docs" / "libraries.md").read_text()


def test_notebooks_are_made_of_their_pages() -> None:
    tool = ROOT / "tools" / "make_notebooks.py"
    done = subprocess.run([sys.executable, tool, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_site_has_every_document() -> None:
    pages = set(re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text()))
    assert pages == {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}


def test_libraries_are_where_their_page_says() -> None:
    rows = [row.strip("|").split("|") for row in re.findall(r"^\| `.*$", LIBRARIES, re.MULTILINE)]
    assert len(rows) >= 13
    for name, _, imports, calls, _ in rows:
        found: dict[str, object] = {}
        exec(imports.strip().strip("`"), found)
        for call in re.findall(r"`([^`]+)`", calls):
            assert eval(call, found) is not None, (name, call)
