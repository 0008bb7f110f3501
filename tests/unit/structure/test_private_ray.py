"""Ray's private parts are touched in kernel/raylib alone: what a new release breaks is then in one room."""

from __future__ import annotations

import ast
from pathlib import Path

from arrows import all_imports, modules

ROOT = Path(__file__).parents[3]
ROOM = "kernel.raylib"
UNDOCUMENTED = {"ray.experimental", "ray.core", "ray.util.serialization_addons"}


def _is_private(name: str) -> bool:
    """``name``: a dotted one, of a module or of what is in it."""
    parts = name.split(".")
    if parts[0] != "ray":
        return False
    heads = {".".join(parts[:count]) for count in range(1, len(parts) + 1)}
    return any(part.startswith("_") and not part.startswith("__") for part in parts) or bool(heads & UNDOCUMENTED)


def _names(node: ast.AST) -> list[str]:
    """The dotted names that a node mentions: attributes of ``ray``, what is imported from it, private options."""
    if isinstance(node, ast.Attribute):
        return [ast.unparse(node)]
    if isinstance(node, ast.ImportFrom):
        return [f"{node.module}.{alias.name}" for alias in node.names]
    if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("ray."):
        return [f"{ast.unparse(node.func)}.{word.arg}" for word in node.keywords if word.arg]
    return []


def _private_uses(source: str) -> list[str]:
    return [name for node in ast.walk(ast.parse(source)) for name in _names(node) if _is_private(name)]


def test_private_parts_of_ray_have_one_room() -> None:
    uses = [
        f"{module}: {name}"
        for module, file in modules(ROOT)
        if not module.startswith(ROOM)
        for name in _private_uses(file.read_text())
    ]
    uses += [
        str(found) for found in all_imports(ROOT) if not found.module.startswith(ROOM) and _is_private(found.target)
    ]
    assert not uses, "\n".join(uses)


def test_private_uses_are_seen() -> None:
    assert _private_uses("ray._private.state.actors()")
    assert _private_uses("from ray import _raylet")
    assert _private_uses("from ray.experimental import internal_kv")
    assert _private_uses("from ray.util import serialization_addons")
    assert _private_uses("ray.init(_temp_dir='/tmp')")
    assert not _private_uses("from ray.util import metrics\nray.init(num_cpus=2)\nray.__version__\nself._ray._run()")
