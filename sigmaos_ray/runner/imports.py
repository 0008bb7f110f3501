"""What a program template imports, and whether a process forked from it is like one that imports it itself."""

from __future__ import annotations

import importlib
import os
import sys

from sigmaos_ray.runner import children, freshness
from sigmaos_ray.runner.templatewire import Ready


def imported(modules: list[str]) -> Ready:
    """Imports them. Never raises."""
    try:
        for name in modules:
            importlib.import_module(name)
    except BaseException as error:  # noqa: BLE001  # whatever a module's top level does
        return Ready({}, f"{name}: {type(error).__name__}: {error}")
    return Ready(_files(), _refusal())


def _files() -> dict[str, freshness.Stamp]:
    named = [(name, getattr(module, "__file__", None)) for name, module in list(sys.modules.items())]
    return {str(file): freshness.stamp_of(str(file)) for name, file in named if freshness.is_users(name, file)}


def _refusal() -> str:
    """Why not; empty if it is."""
    if len(os.listdir("/proc/self/task")) > 1:
        return "it started threads"
    if children.has_any():
        return "it started processes"
    return ""
