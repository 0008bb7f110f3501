"""Which modules workers can import: what is built in or installed, and the folder that is shipped; they lack others."""

from __future__ import annotations

import enum
import functools
import os
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sigmaos_ray.proc.folder import VARIABLE

if TYPE_CHECKING:
    from types import ModuleType

_INSTALLATION: Final = str(Path(__file__).resolve().parents[2])
"""Where this package was imported from: workers run the same installation."""


class ModulePlace(enum.Enum):
    """Where a module is from."""

    EVERYWHERE = enum.auto()
    SHIPPED = enum.auto()
    """The folder that is shipped to workers that do not have it."""
    LACKED = enum.auto()


def place_of(module: ModuleType) -> ModulePlace:
    """For workers: ``__main__``, which each process has, and what comes from no file, are everywhere."""
    return place_of_root(root_of(module)) if module.__name__ != "__main__" else ModulePlace.EVERYWHERE


def place_of_root(root: str) -> ModulePlace:
    """The same by the directory that a module was found in by its name; empty: in none."""
    # Of hundreds of modules nearly all are installed: the system is not asked for each of them at each spawn.
    if not root or _is_installed(root):
        return ModulePlace.EVERYWHERE
    return ModulePlace.SHIPPED if _real(root) == shipped_root() else ModulePlace.LACKED


def has_source(module: ModuleType) -> bool:
    """Whether a module is in Python; a package without a file of its own counts as such."""
    file = vars(module).get("__file__")
    return not file or str(file).endswith(".py")


def may_be_found(root: str) -> bool:
    """Whether workers may import from a directory that is not installed: as it is on PYTHONPATH, or linked to from
    where packages are installed. On machines that lack it they do not."""
    listed = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    return _real(root) in {*map(_real, listed), *_linked_roots()}


@functools.cache
def _linked_roots() -> frozenset[str]:
    """What ``.pth`` files of installed packages name, as of those that are developed in place."""
    files = [file for kind in ("purelib", "platlib") for file in Path(sysconfig.get_path(kind)).glob("*.pth")]
    lines = [line.strip() for file in files for line in file.read_text(errors="replace").splitlines()]
    roots = {line for line in lines if line and not line.startswith(("import ", "import\t", "#"))}
    finders = [module for name, module in list(sys.modules.items()) if name.startswith("__editable__")]
    roots |= {os.path.dirname(place) for finder in finders for place in vars(finder).get("MAPPING", {}).values()}
    return frozenset(map(os.path.realpath, roots))


def root_of(module: ModuleType) -> str:
    """The directory that a module was found in by its name; empty for what was built in, or comes from no file."""
    # By its dictionary: to ask some modules for an attribute makes them import others.
    file = vars(module).get("__file__")
    if isinstance(file, str):
        return _root(file, module.__name__)
    try:
        path = next(iter(vars(module).get("__path__") or ()), "")
    except (TypeError, KeyError):  # no package's; or of one whose parent is gone
        return ""
    return _root(os.path.join(path, "__init__.py"), module.__name__) if isinstance(path, str) and path else ""


@functools.lru_cache(maxsize=8192)
def _root(file: str, name: str) -> str:
    depth = name.count(".") + (os.path.basename(file) == "__init__.py")
    # As it is called: packages may be links to where they are shared, and count as where they are found.
    parents = Path(os.path.abspath(file)).parents
    return str(parents[depth]) if depth < len(parents) else ""


_real: Final = functools.lru_cache(maxsize=1024)(os.path.realpath)


@functools.lru_cache(maxsize=1024)
def _is_installed(root: str) -> bool:
    """Whether workers import from there, as this process does."""
    if {"site-packages", "dist-packages", "lib-dynload"} & set(Path(root).parts):
        return True
    kinds = ("stdlib", "platstdlib", "purelib", "platlib")
    installed = {os.path.realpath(sysconfig.get_path(kind)) for kind in kinds}
    return os.path.realpath(root) in {_INSTALLATION, *installed}


def shipped_root() -> str:
    """The folder that is shipped where workers do not have it; empty if there is none, or they have it anyhow."""
    try:
        root = os.path.realpath(os.environ.get(VARIABLE) or os.getcwd())
    except FileNotFoundError:
        return ""
    return "" if root == _INSTALLATION else root
