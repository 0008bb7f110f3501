"""Ray's processes without imports that few of them need.

The first time that a process packs or unpacks anything, Ray (2.60) imports pydantic and pyarrow, to say how their
objects travel: much of a new worker's time and memory. In ours that waits until somebody imports one of them.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import sys
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

_NAMES: Final = ("pydantic", "pyarrow", "starlette")
"""Whose objects Ray's addons are for."""


def install() -> None:
    """For this process, before Ray packs or unpacks anything. May be repeated. A process that has not imported Ray, as
    one that serves without it, does not need it for this."""
    if "ray" not in sys.modules:
        return
    from ray.util import serialization_addons

    # Ray looks the function up in its module at each call: so it is enough to put another one there.
    if not isinstance(serialization_addons.apply, _Addons):
        serialization_addons.apply = _Addons(serialization_addons.apply)


class _Addons:
    """In the place of Ray's function that registers them."""

    def __init__(self, apply: Callable[[Any], None]) -> None:
        self._apply = apply
        self._waiting: list[Any] = []

    def __call__(self, context: Any) -> None:
        if any(name in sys.modules for name in _NAMES):
            self._apply(context)
            return
        if not self._waiting:
            sys.meta_path.insert(0, _Finder(self))
        self._waiting.append(context)

    def imported(self) -> None:
        waiting, self._waiting = self._waiting, []
        for context in waiting:
            self._apply(context)


class _Finder(importlib.abc.MetaPathFinder):
    """Tells the addons of the first import of one of the names, once that is done."""

    def __init__(self, addons: _Addons) -> None:
        self._addons = addons

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in _NAMES or self not in sys.meta_path:
            return None
        # While it looks for the module itself, it must not find itself.
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is None or spec.loader is None:  # not installed: it waits for another one
            sys.meta_path.insert(0, self)
            return None
        spec.loader = _Loader(spec.loader, self._addons)
        return spec


class _Loader(importlib.abc.Loader):
    def __init__(self, loader: importlib.abc.Loader, addons: _Addons) -> None:
        self._loader = loader
        self._addons = addons

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._loader  # as if nobody had been in between
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        self._addons.imported()
