"""What a file looks like: of a size that can be read, no silent catch-alls, nothing of one machine."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
LINES_MAX = 700
CODE = ("sigmaos_ray", "kernel", "user", "tests")
TEXT = (*CODE, "docs", "protos", ".ci", "Makefile", "README.md", "CHANGELOG.md", "cluster.yaml", "pyproject.toml")
TEXT_ENDS = {".py", ".md", ".toml", ".yaml", ".yml", ".proto", ""}

DIRECTIVE = re.compile(r"#\s*(noqa|type:|pragma)[^#]*")
HOST_PATH = re.compile(r"(?<![\w.$}])/(?:work|home|root|Users)/[a-z]")


def _python() -> list[Path]:
    found = (file for part in CODE for file in sorted((ROOT / part).rglob("*.py")))
    return [file for file in found if "_pb2" not in file.name]


def _texts() -> list[Path]:
    tops = (ROOT / part for part in TEXT)
    found = (file for top in tops for file in ([top] if top.is_file() else sorted(top.rglob("*"))))
    return [file for file in found if file.is_file() and file.suffix in TEXT_ENDS and "_pb2" not in file.name]


def _lines(file: Path) -> list[tuple[str, str]]:
    where = file.relative_to(ROOT)
    return [(f"{where}:{number}", line) for number, line in enumerate(file.read_text().splitlines(), 1)]


def test_files_are_small() -> None:
    long = {str(file.relative_to(ROOT)): len(_lines(file)) for file in _python() if len(_lines(file)) > LINES_MAX}
    assert not long, f"more than {LINES_MAX} lines: {long}"


def _catch_alls(source: str) -> list[int]:
    """Lines of handlers that catch everything and do not raise it on."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or "Exception" in _caught(node.type))
        and not (isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None)
    ]


def _caught(kind: ast.expr) -> set[str]:
    names = {ast.unparse(part) for part in (kind.elts if isinstance(kind, ast.Tuple) else [kind])}
    return {"Exception" if name == "BaseException" else name for name in names}


def _silent(source: str) -> list[int]:
    """Those of them without a reason on their line: a comment that is no directive to a tool."""
    lines = source.splitlines()
    return [at for at in _catch_alls(source) if "#" not in DIRECTIVE.sub("", lines[at - 1])]


def test_a_catch_all_says_why() -> None:
    silent = [f"{file.relative_to(ROOT)}:{line}" for file in _python() for line in _silent(file.read_text())]
    assert not silent, f"a reason belongs on the line: {silent}"


def test_nothing_names_this_machine() -> None:
    named = [where for file in _texts() for where, line in _lines(file) if HOST_PATH.search(line)]
    assert not named, f"absolute paths of one machine: {named}"


def test_the_rules_catch_what_they_are_for() -> None:
    assert _silent("try:\n    f()\nexcept Exception:  # noqa: BLE001\n    pass") == [3]
    assert _silent("try:\n    f()\nexcept (OSError, BaseException):\n    pass") == [3]
    assert _silent("try:\n    f()\nexcept:\n    pass") == [3]
    assert not _silent("try:\n    f()\nexcept Exception as e:  # noqa: BLE001  # a program's own error\n    pass")
    assert not _silent("try:\n    f()\nexcept BaseException:\n    undo()\n    raise")
    assert not _silent("try:\n    f()\nexcept ValueError:\n    pass")
    assert HOST_PATH.search("cd /" + "home/someone")
    assert not HOST_PATH.search("name/" + "home/x")
