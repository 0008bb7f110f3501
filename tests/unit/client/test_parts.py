"""``AsyncFsLib`` is made of parts that stand side by side."""

from __future__ import annotations

import ast
import inspect
from collections import Counter

import pytest

from sigmaos_ray.fslib import AsyncFsLib
from sigmaos_ray.fslib import part as parts

PARTS = AsyncFsLib.__bases__
NEEDS = {value for name, value in vars(parts).items() if name.startswith("Needs")}


@pytest.mark.parametrize("part", PARTS)
def test_no_part_stands_on_another(part: type) -> None:
    """Its head names the core and needs alone; its module imports no other part's."""
    assert set(part.__mro__) - {part, parts.FsPart, object, *inspect.getmro(parts.NeedsFiles)} <= NEEDS
    others = {other.__module__ for other in PARTS} - {part.__module__}
    imported = {
        node.module
        for node in ast.walk(ast.parse(inspect.getsource(inspect.getmodule(part))))  # type: ignore[arg-type]
        if isinstance(node, ast.ImportFrom)
    }
    assert not imported & others


def test_each_need_is_met_by_one_part() -> None:
    assert not inspect.isabstract(AsyncFsLib)
    for need in NEEDS:
        needed = need.__abstractmethods__
        offering = [part for part in PARTS if needed <= set(vars(part))]
        assert [part.__name__ for part in offering] == [f"{need.__doc__ or ''}".strip("`. ").removeprefix("Of ``")]


def test_no_call_stands_in_two_parts() -> None:
    calls = Counter(name for part in PARTS for name in vars(part) if not name.startswith("__") and name != "_abc_impl")
    assert [name for name, count in calls.items() if count > 1] == []


def test_each_need_is_needed() -> None:
    assert {need for part in PARTS for need in part.__mro__} >= NEEDS
