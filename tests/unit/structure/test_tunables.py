"""Tunables stand in ``sigmaos_ray/config.py``, each with a word on what it does; none is left that nobody reads."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CONFIG = "sigmaos_ray/config.py"
ELSEWHERE = {
    "sigmaos_ray/cli": "how often a person's terminal is drawn anew: no part of the system waits for it",
    "sigmaos_ray/testing": "the patience of tests",
}
SECONDS = re.compile(r"_S(_MAX|_MIN)?$")


def _durations(source: str) -> list[str]:
    """Names of constants of a module that are seconds."""
    names = []
    for node in ast.parse(source).body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        names += [target.id for target in targets if isinstance(target, ast.Name) and SECONDS.search(target.id)]
    return names


def _sources() -> dict[str, str]:
    files = (file for part in ("sigmaos_ray", "kernel", "user") for file in sorted((ROOT / part).rglob("*.py")))
    return {str(file.relative_to(ROOT)): file.read_text() for file in files if "_pb2" not in file.name}


def _fields() -> dict[tuple[str, str], bool]:
    """The tunables, by class and name, and whether a docstring follows."""
    fields: dict[tuple[str, str], bool] = {}
    for node in ast.parse((ROOT / CONFIG).read_text()).body:
        if not isinstance(node, ast.ClassDef) or node.name in ("Config", "ProcEnv"):
            continue
        assert ast.get_docstring(node), f"{node.name}: what are these for?"
        for this, following in zip(node.body, [*node.body[1:], None], strict=True):
            if isinstance(this, ast.AnnAssign) and isinstance(this.target, ast.Name):
                is_told = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
                fields[node.name, this.target.id] = is_told
    return fields


def test_durations_stand_in_config() -> None:
    places = {
        (file, name)
        for file, source in _sources().items()
        if file.startswith(("sigmaos_ray/", "kernel/")) and not file.startswith(tuple(ELSEWHERE))
        for name in _durations(source)
    }
    assert not places


@pytest.mark.parametrize("line", ["_PAUSE_S: Final = 0.1", "PAUSE_S_MAX = 5.0"])
def test_durations_are_seen(line: str) -> None:
    assert _durations(f"import os\n{line}\nSIZES: Final = 3\n") == [re.split("[: ]", line)[0]]


def test_each_tunable_says_what_it_is_for() -> None:
    fields = _fields()
    assert len(fields) > 100
    assert not [f"{cls}.{name}" for (cls, name), is_told in fields.items() if not is_told]


def test_each_tunable_is_used() -> None:
    text = "\n".join(source for file, source in _sources().items() if file != CONFIG)
    assert not [f"{cls}.{name}" for cls, name in _fields() if not re.search(rf"\.{name}\b", text)]
