"""Programs that are functions: how they travel to a worker.

A function of a module that workers can import travels by name: of what is installed, and of the folder that is shipped
(``proc.folder``). Anything else travels by value with the globals that it uses, whatever modules these are of: lambdas,
closures, functions of ``__main__`` and of files that are on no path of the workers, such as tests.
"""

from __future__ import annotations

import contextlib
import functools
import os
import pickle
import sys
import sysconfig
import threading
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Final

from sigmaos_ray import config, serr
from sigmaos_ray.proc.folder import VARIABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def dumps(program: Callable[..., object], name: str) -> bytes:
    """Inval if the function refers to what cannot be pickled, or to too much."""
    import cloudpickle  # only those who spawn functions pay for it

    try:
        with _by_value():
            pickled: bytes = cloudpickle.dumps(program)
    except (TypeError, ValueError, AttributeError, RecursionError, pickle.PicklingError) as error:
        raise serr.Inval(name, f"program: the function cannot be shipped: {error}") from error
    bytes_max = config.current().procs.function_bytes_max
    if len(pickled) > bytes_max:
        raise serr.Inval(name, f"program: {len(pickled)} bytes with what it refers to, over {bytes_max}")
    return pickled


def loads(pickled: bytes) -> Callable[..., object]:
    """Raises whatever an import that the function needs raises; TypeError if it is no function."""
    program = pickle.loads(pickled)
    if not callable(program):
        raise TypeError(f"a {type(program).__name__} is not callable")
    return program  # type: ignore[no-any-return]


def source_of(program: Callable[..., object]) -> str:
    """The file of a function that travels by name though it is not installed: workers need its folder. Else empty."""
    module = sys.modules.get(getattr(program, "__module__", None) or "")
    root = _root_of(module) if module is not None and module.__name__ != "__main__" else ""
    is_shipped = bool(root) and os.path.realpath(root) == _shipped_root() != _INSTALLATION
    return str(getattr(module, "__file__", "")) if is_shipped else ""


_pickling: Final = threading.Lock()
_INSTALLATION: Final = str(Path(__file__).resolve().parents[2])
"""Where this package was imported from: workers run the same installation."""


@contextlib.contextmanager
def _by_value() -> Iterator[None]:
    """Within the block, modules that workers cannot import are pickled by value."""
    import cloudpickle

    # The registration is the process's: somebody else's pickles must not begin to carry these modules.
    with _pickling:
        shipped = _shipped_root()
        lacked = [module for module in list(sys.modules.values()) if _is_lacked(module, shipped)]
        for module in lacked:
            cloudpickle.register_pickle_by_value(module)
        try:
            yield
        finally:
            for module in lacked:
                cloudpickle.unregister_pickle_by_value(module)


def _is_lacked(module: object, shipped: str) -> bool:
    """Whether workers do not find a module by its name; ``shipped`` is the folder that they are given."""
    if not isinstance(module, ModuleType) or module.__name__ == "__main__":
        return False
    root = _root_of(module)
    # Of hundreds of modules nearly all are installed: the system is not asked for each of them at each spawn.
    if not root or _is_installed(root) or _real(root) == shipped:
        return False
    # By its name as well: some modules stand in the table under several.
    return sys.modules.get(module.__name__) is module


def _root_of(module: ModuleType) -> str:
    """The directory that a module was found in by its name; empty for what was built in, or comes from no file."""
    file = getattr(module, "__file__", None)
    if not isinstance(file, str) or not file.endswith(".py"):  # built in, a namespace package, or an extension
        return ""
    return _root(file, module.__name__)


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
    if {"site-packages", "dist-packages"} & set(Path(root).parts):
        return True
    kinds = ("stdlib", "platstdlib", "purelib", "platlib")
    installed = {os.path.realpath(sysconfig.get_path(kind)) for kind in kinds}
    return os.path.realpath(root) in {_INSTALLATION, *installed}


def _shipped_root() -> str:
    """The folder that is shipped where workers do not have it; empty if there is none."""
    try:
        return os.path.realpath(os.environ.get(VARIABLE) or os.getcwd())
    except FileNotFoundError:
        return ""
