"""Paths that README and CONTRIBUTING name exist, and so do the targets of make and the verbs that they show."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest
import typer.main

from sigmaos_ray.cli import main

ROOT = Path(__file__).parents[3]
DOCUMENTS = ("README.md", "CONTRIBUTING.md")

QUOTED = re.compile(r"`([^`\n]+)`")
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TOPS = tuple(entry.name for entry in ROOT.iterdir() if not entry.name.startswith(".") or entry.name == ".ci")


def _paths(text: str) -> set[str]:
    """What looks like a path of the repository: between backticks, or an argument in a block of commands."""
    blocks = "\n".join(BLOCK.findall(text))
    quoted = QUOTED.findall(BLOCK.sub("", text))
    words = [word for line in (*quoted, *blocks.splitlines()) for word in line.partition("#")[0].split()]
    return {word.rstrip("/") for word in words if word.split("/")[0] in TOPS}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_paths_that_are_named_exist(document: str) -> None:
    named = _paths((ROOT / document).read_text())
    assert len(named) > 10
    assert not sorted(name for name in named if not (ROOT / name).exists())


@pytest.mark.parametrize("document", DOCUMENTS)
def test_targets_of_make_exist(document: str) -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z]+)", (ROOT / document).read_text(), re.MULTILINE))
    assert named
    assert not named - targets


@pytest.mark.parametrize("document", DOCUMENTS)
def test_verbs_exist(document: str) -> None:
    verbs = set(typer.main.get_command(main.app).commands)  # type: ignore[attr-defined]  # a group has commands
    named = set(re.findall(r"(?:^|`|&& )sigmaos ([a-z]+)", (ROOT / document).read_text(), re.MULTILINE))
    assert named
    assert not named - verbs


def _imports(source: str) -> list[tuple[str, str]]:
    """What a block imports of ours: modules, and names in them."""
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom) and node.module]
    names = [(str(node.module), alias.name) for node in nodes for alias in node.names if alias.name != "*"]
    return [each for each in names if each[0].split(".")[0] in ("sigmaos_ray", "kernel", "user")]


@pytest.mark.parametrize("document", ["README.md", *sorted(f"docs/{file.name}" for file in ROOT.glob("docs/*.md"))])
def test_what_examples_import_is_there(document: str) -> None:
    for block in PYTHON.findall((ROOT / document).read_text()):
        for module, name in _imports(block):
            assert hasattr(importlib.import_module(module), name) or importlib.import_module(f"{module}.{name}"), (
                f"{module}.{name}"
            )


def test_what_is_no_path_is_not_taken_for_one() -> None:
    text = "`name/ux/~local` `sigmaos ls` `docs/none.proto`\n```\npytest tests/none.py -k x  # kernel/none\n```\n"
    assert _paths(text) == {"docs/none.proto", "tests/none.py"}
