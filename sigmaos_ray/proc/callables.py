"""Programs that are functions: how they travel to a worker.

A function of a module that workers can import travels by name. Anything else travels by value with the globals that
it uses: lambdas, closures, functions of ``__main__`` and of files that are on no path of the workers, such as tests.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

from sigmaos_ray import config, serr

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType


def dumps(program: Callable[..., object], name: str) -> bytes:
    """Inval if the function refers to what cannot be pickled, or to too much."""
    import cloudpickle  # only those who spawn functions pay for it

    try:
        with _by_value(program):
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


@contextlib.contextmanager
def _by_value(program: Callable[..., object]) -> Iterator[None]:
    """Within the block, the program's module is pickled by value if workers cannot import it."""
    import cloudpickle

    module = sys.modules.get(getattr(program, "__module__", None) or "")
    if module is None or module.__name__ == "__main__" or _importable(module):
        yield
        return
    cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        # The registration is the process's: somebody else's pickles must not begin to carry this module.
        cloudpickle.unregister_pickle_by_value(module)


def _importable(module: ModuleType) -> bool:
    """Whether workers find a module by its name."""
    file = getattr(module, "__file__", None)
    if file is None:  # built in, or a namespace package
        return True
    depth = module.__name__.count(".") + (Path(file).stem == "__init__")
    root = Path(file).resolve().parents[depth]
    # The second is the directory that this package was imported from: workers run the same installation.
    return root in _roots() or root == Path(__file__).resolve().parents[2]


def _roots() -> set[Path]:
    """Where workers import from: the installation, PYTHONPATH, and the working directory."""
    installed = (sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib", "purelib", "platlib"))
    configured = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    return {Path(directory).resolve() for directory in (*installed, *configured, ".")}
