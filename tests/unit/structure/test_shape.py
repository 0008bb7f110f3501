"""What a file looks like: of a size that can be read, one name for one thing, no silent catch-alls, nothing of one
machine."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
LINES_MAX = 700
FUNCTION_LINES_MAX = 45
FUNCTION_LINES_P90 = 14
PRODUCT = ("sigmaos_ray", "kernel", "user")
CODE = ("sigmaos_ray", "kernel", "user", "tests")
TEXT = (*CODE, "docs", "protos", ".ci", "Makefile", "README.md", "CHANGELOG.md", "cluster.yaml", "pyproject.toml")
TEXT_ENDS = {".py", ".md", ".toml", ".yaml", ".yml", ".proto", ""}

SHARED_NAMES = {
    "EchoSrv": "four stages of one tutorial; the class's name is the service's, which its clients call",
    "LeaseSrv": "one RPC service, which every server with leases offers; the class's name is the service's",
}
"""Classes of one name in several files, and why."""

DIRECTIVE = re.compile(r"#\s*(noqa|type:|pragma)[^#]*")
HOST_PATH = re.compile(r"(?<![\w.$}])/(?:work|home|root|Users)/[a-z]")


def _python() -> list[Path]:
    files = (file for part in CODE for file in sorted((ROOT / part).rglob("*.py")))
    return [file for file in files if "_pb2" not in file.name]


def _texts() -> list[Path]:
    tops = (ROOT / part for part in TEXT)
    files = (file for top in tops for file in ([top] if top.is_file() else sorted(top.rglob("*"))))
    return [file for file in files if file.is_file() and file.suffix in TEXT_ENDS and "_pb2" not in file.name]


def _lines(file: Path) -> list[tuple[str, str]]:
    where = file.relative_to(ROOT)
    return [(f"{where}:{number}", line) for number, line in enumerate(file.read_text().splitlines(), 1)]


def test_files_are_small() -> None:
    long = {str(file.relative_to(ROOT)): len(_lines(file)) for file in _python() if len(_lines(file)) > LINES_MAX}
    assert not long, f"more than {LINES_MAX} lines: {long}"


def _product() -> list[tuple[str, str]]:
    """What is shipped: files and their sources."""
    files = [file for file in _python() if file.relative_to(ROOT).parts[0] in PRODUCT]
    return [(str(file.relative_to(ROOT)), file.read_text()) for file in files]


def _code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef, source: list[str]) -> int:
    """Lines that run: who explains more does not get a longer function. Blank lines, comments and the docstring are
    left out."""
    lines = set(range(function.lineno, (function.end_lineno or function.lineno) + 1))
    if ast.get_docstring(function) is not None:
        docstring = function.body[0]
        lines -= set(range(docstring.lineno, (docstring.end_lineno or docstring.lineno) + 1))
    return sum(not source[line - 1].lstrip().startswith("#") for line in lines if source[line - 1].strip())


def test_functions_are_short() -> None:
    lines = {
        f"{file}:{node.lineno} {node.name}": _code_lines(node, source.splitlines())
        for file, source in _product()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    long = {name: count for name, count in lines.items() if count > FUNCTION_LINES_MAX}
    assert not long, f"more than {FUNCTION_LINES_MAX} lines: {long}"
    p90 = sorted(lines.values())[len(lines) * 9 // 10]
    assert p90 <= FUNCTION_LINES_P90, f"one function in ten has {p90} lines or more"


def test_one_name_for_one_class() -> None:
    files: dict[str, list[str]] = {}
    for file, source in _product():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                files.setdefault(node.name, []).append(file)
    shared = {name: where for name, where in files.items() if len(where) > 1}
    unexplained = {name: where for name, where in shared.items() if name not in SHARED_NAMES}
    assert not unexplained, f"one name for several classes: {unexplained}"
    assert SHARED_NAMES.keys() <= shared.keys(), "an exception that is none any more"


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
    source = 'def f():\n    """Says\n    much."""\n\n    # why\n    return 1\n'
    function = ast.parse(source).body[0]
    assert isinstance(function, ast.FunctionDef)
    assert _code_lines(function, source.splitlines()) == 2
    assert _silent("try:\n    f()\nexcept Exception:  # noqa: BLE001\n    pass") == [3]
    assert _silent("try:\n    f()\nexcept (OSError, BaseException):\n    pass") == [3]
    assert _silent("try:\n    f()\nexcept:\n    pass") == [3]
    assert not _silent("try:\n    f()\nexcept Exception as e:  # noqa: BLE001  # a program's own error\n    pass")
    assert not _silent("try:\n    f()\nexcept BaseException:\n    undo()\n    raise")
    assert not _silent("try:\n    f()\nexcept ValueError:\n    pass")
    assert HOST_PATH.search("cd /" + "home/someone")
    assert not HOST_PATH.search("name/" + "home/x")
