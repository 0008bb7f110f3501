"""Packages of code in Ray's control store, as Ray itself keeps working directories there: nodes fetch them when a
worker of such a runtime environment starts. Calls block for the control store; Ray's errors propagate."""

from __future__ import annotations

from typing import Any

from kernel.raylib import kv


def _uri(name: str) -> str:
    return f"gcs://_ray_pkg_{name}.zip"


def put(name: str, data: bytes) -> None:
    """``name``: of letters, digits and ``_`` alone."""
    kv.put(_uri(name), data)


def delete(name: str) -> None:
    """Nodes that have fetched it keep it for a while."""
    kv.delete(_uri(name))


def environment(name: str) -> dict[str, Any]:
    """The part of a runtime environment that has workers run in the package: in its folder, which they import from."""
    return {"working_dir": _uri(name)}
