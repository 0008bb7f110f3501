"""docs/design.md says of each folder and module at the top what it is and who may import it."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
TOPS = ("sigmaos_ray", "kernel")
PLACE = re.compile(r"`([\w/.]+)`")
SOURCE = re.compile(r"(?<![\w/.~])(?:sigmaos_ray|kernel|user|tests|protos|docs)/[\w/.-]*\w")


def places(top: Path) -> set[str]:
    """Packages and modules directly in a package, as the table names them."""
    inside = (child for child in top.iterdir() if not child.name.startswith("_"))
    return {f"{top.name}/{child.name}" for child in inside if child.suffix == ".py" or list(child.glob("*.py"))}


def table_places(text: str) -> list[str]:
    """The places in the first column of the table."""
    first_cells = (line.split("|")[1] for line in text.splitlines() if line.startswith("| `"))
    return [place for cell in first_cells for place in PLACE.findall(cell)]


def test_each_place_has_its_line() -> None:
    table = table_places((ROOT / "docs" / "design.md").read_text().partition("## Where does what go")[2])
    assert len(table) == len(set(table))
    ours = set().union(*(places(ROOT / top) for top in TOPS))
    assert ours == {place for place in table if place.partition("/")[0] in TOPS}
    assert [place for place in table if not (ROOT / place).exists()] == []


def missing_sources(text: str) -> list[str]:
    """Files and directories of this repository that a text names and that are not there."""
    return [path for path in SOURCE.findall(text) if not (ROOT / path).exists()]


def test_each_source_that_documents_name_is_there() -> None:
    files = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    missing = {file.name: paths for file in files if (paths := missing_sources(file.read_text()))}
    assert not missing, missing


def test_the_helpers_see_what_they_are_for() -> None:
    assert {"sigmaos_ray/fslib", "sigmaos_ray/serr.py"} <= places(ROOT / "sigmaos_ray")
    assert table_places("| place | what |\n| `a/b`, `c.py` | `d` |\n") == ["a/b", "c.py"]
    assert missing_sources("see `docs/rules.md`, name/user/x and tests/unit/absent.py.") == ["tests/unit/absent.py"]
