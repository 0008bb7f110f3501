"""Modules that travel as sources: those that a function imports when it is called, and that workers lack.

What a function has in its globals is pickled with it. What it imports later is not in sight of a pickler: it is read
out of the code, with what those modules import in turn, and imported at the worker from the sources that came along.
"""

from __future__ import annotations

import contextlib
import dis
import importlib.machinery
import importlib.util
import os
import sys
from types import CodeType
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from sigmaos_ray.proc.lacking import ModulePlace, may_be_found, place_of_root

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from importlib.machinery import ModuleSpec
    from types import ModuleType

_IMPORT: Final = dis.opmap["IMPORT_NAME"]


class ModuleSource(NamedTuple):
    """A module's, as it is on the disk."""

    file: str
    is_package: bool
    text: bytes
    """Empty for a package without a file of its own."""


class Carried(msgspec.Struct, frozen=True):
    """A program with the sources that it needs. Pickled by its name: workers have this class."""

    program: bytes
    """Pickled."""
    sources: dict[str, ModuleSource]


class NoSource(Exception):
    """A module cannot travel. Its name is the error's text."""


class Imports:
    """What code imports when it is called, as far as workers lack it."""

    def __init__(self) -> None:
        self.sources: dict[str, ModuleSource] = {}
        self.shipped_file = ""
        """Of a module in the folder that is shipped, if there is one."""
        self._seen: set[str] = set()

    def add(self, code: CodeType, package: str) -> None:
        """``package``: where the code's relative imports begin. NoSource for a module that is no Python."""
        for name in _imported_by(code, package):
            self._add_module(name)

    def _add_module(self, name: str) -> None:
        # Its packages first: they are imported before it.
        for end in [at for at, letter in enumerate(name) if letter == "."] + [len(name)]:
            if name[:end] not in self._seen:
                self._seen.add(name[:end])
                self._add_one(name[:end])

    def _add_one(self, name: str) -> None:
        spec = _spec_of(name)
        place = place_of_root(_root_of(spec)) if spec is not None else ModulePlace.EVERYWHERE
        if spec is None or place is ModulePlace.EVERYWHERE:  # what is not there may be meant to be missing
            return
        if place is ModulePlace.SHIPPED:
            self.shipped_file = self.shipped_file or spec.origin or ""
            return
        if spec.origin is None or not spec.has_location:
            self.sources[name] = ModuleSource("", True, b"")
            return
        if not spec.origin.endswith(".py"):
            if may_be_found(_root_of(spec)):
                return
            raise NoSource(name)
        try:
            with open(spec.origin, "rb") as file:
                text = file.read()
            code = compile(text, spec.origin, "exec", dont_inherit=True)
        except (OSError, SyntaxError, ValueError) as error:
            raise NoSource(name) from error
        is_package = spec.submodule_search_locations is not None
        self.sources[name] = ModuleSource(spec.origin, is_package, text)
        self.add(code, name if is_package else name.rpartition(".")[0])


def _spec_of(name: str) -> ModuleSpec | None:
    """Where a module is, without importing it, nor its packages. None if it is nowhere."""
    loaded = getattr(sys.modules.get(name), "__spec__", None)
    if loaded is not None:
        return loaded  # type: ignore[no-any-return]
    parent, _, _ = name.rpartition(".")
    path = None
    if parent:
        package = _spec_of(parent)
        if package is None or package.submodule_search_locations is None:
            return None
        path = package.submodule_search_locations
    elif name in sys.builtin_module_names:
        return None
    return importlib.machinery.PathFinder.find_spec(name, path)


def _root_of(spec: ModuleSpec) -> str:
    """The directory that a module is found in by its name; empty for what is built in."""
    places = list(spec.submodule_search_locations or ())
    file = os.path.join(places[0], "__init__.py") if places else spec.origin if spec.has_location else None
    if not file:
        return ""
    for _ in range(spec.name.count(".") + 1 + bool(places)):
        file = os.path.dirname(file)
    return os.path.abspath(file)


def _imported_by(code: CodeType, package: str) -> Iterator[str]:
    """Names of modules, and of what may be modules in packages, in code and the functions within it."""
    if _IMPORT in code.co_code[::2]:
        instructions = list(dis.get_instructions(code))
        for at, instruction in enumerate(instructions):
            if instruction.opcode == _IMPORT:
                level, names = instructions[at - 2].argval, instructions[at - 1].argval
                with contextlib.suppress(ImportError):  # relative to nothing: an error of its own, when it is called
                    module = importlib.util.resolve_name("." * level + instruction.argval, package)
                    yield module
                    yield from (f"{module}.{name}" for name in names or () if name != "*")
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _imported_by(constant, package)


# -- at the worker


class _Importer:
    """Imports modules from sources that came along."""

    def __init__(self, sources: Mapping[str, ModuleSource]) -> None:
        self._sources = sources
        self.loaded: list[str] = []

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        source = self._sources.get(name)
        if source is None:
            return None
        loader: object = self
        return importlib.util.spec_from_loader(name, loader, origin=source.file, is_package=source.is_package)  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        source = self._sources[module.__name__]
        self.loaded.append(module.__name__)
        module.__file__ = source.file
        exec(compile(source.text, source.file or module.__name__, "exec", dont_inherit=True), module.__dict__)

    def get_source(self, name: str) -> str:
        """For tracebacks."""
        return importlib.util.decode_source(self._sources[name].text)


_importers: Final[list[_Importer]] = []


def install(sources: Mapping[str, ModuleSource]) -> None:
    """From now on these modules can be imported in this process."""
    _importers.append(_Importer(sources))
    # First: who spawned the program found them before any other of the same name.
    sys.meta_path.insert(0, _importers[-1])


def withdraw() -> None:
    """Forgets what was installed, and imported by that: it was another program's."""
    while _importers:
        importer = _importers.pop()
        sys.meta_path.remove(importer)
        for name in importer.loaded:
            sys.modules.pop(name, None)
