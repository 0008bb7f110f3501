"""Programs that are functions: how they travel to a worker.

A function of a module that workers can import travels by name: of what is installed, and of the folder that is shipped
(``proc.folder``). Anything else travels by value with the globals that it uses, whatever modules these are of: lambdas,
closures, functions of ``__main__`` and of files that are on no path of the workers, such as tests. What it imports when
it is called goes along as sources (``proc.carried``). What can travel in none of these ways is told when the proc is
made.
"""

from __future__ import annotations

import contextlib
import functools
import io
import pickle
import sys
import threading
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sigmaos_ray import config, serr
from sigmaos_ray.proc import carried
from sigmaos_ray.proc.carried import Carried, Imports, NoSource
from sigmaos_ray.proc.folder import VARIABLE
from sigmaos_ray.proc.lacking import ModulePlace, has_source, may_be_found, place_of, place_of_root, root_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class ShippedFunction(NamedTuple):
    """A function on its way."""

    data: bytes
    source: str
    """The file of a module that it needs of the folder that is shipped; empty if it needs none."""


def dumps(program: Callable[..., object], name: str) -> ShippedFunction:
    """Inval, with what is to blame, if the function refers to what cannot travel, or to too much."""
    reached = _Reached()
    with _by_value():
        try:
            data = _pickled(program, reached)
        except (TypeError, ValueError, AttributeError, RecursionError, pickle.PicklingError) as error:
            raise serr.Inval(name, f"program: the function cannot be shipped: {_culprit(reached)}{error}") from error
        except NoSource as error:
            remedy = f"it is no Python source, install it or name its folder with {VARIABLE}"
            raise serr.Inval(name, f"program: workers cannot import module {error}: {remedy}") from error
    if reached.imports.sources:
        data = pickle.dumps(Carried(data, reached.imports.sources))
    bytes_max = config.current().procs.function_bytes_max
    if len(data) > bytes_max:
        raise serr.Inval(name, f"program: {len(data)} bytes with what it refers to, over {bytes_max}")
    return ShippedFunction(data, reached.imports.shipped_file)


def loads(pickled: bytes) -> Callable[..., object]:
    """Raises whatever an import that the function needs raises; TypeError if it is no function. What came along with it
    can be imported in this process from now on, until ``carried.withdraw``."""
    program = pickle.loads(pickled)
    if isinstance(program, Carried):
        carried.install(program.sources)
        program = pickle.loads(program.program)
    if not callable(program):
        raise TypeError(f"a {type(program).__name__} is not callable")
    return program  # type: ignore[no-any-return]


class _Reached:
    """What a function refers to."""

    def __init__(self) -> None:
        self.imports = Imports()
        self.modules: list[ModuleType] = []
        """Those that travel whole."""

    def by_name(self, module: ModuleType) -> None:
        """NoSource for one that workers cannot import."""
        place = place_of(module)
        if place is ModulePlace.SHIPPED:
            self.imports.shipped_file = str(getattr(module, "__file__", None) or "")
        elif place is ModulePlace.LACKED and not may_be_found(root_of(module)):
            raise NoSource(module.__name__)

    def whole(self, module: ModuleType) -> None:
        """A module that is referred to itself. NoSource for one that is no Python."""
        if place_of(module) is ModulePlace.LACKED and has_source(module):
            self.modules.append(module)
        else:
            self.by_name(module)

    def by_value(self, function: FunctionType) -> None:
        """NoSource for what it imports when it is called, and is no Python."""
        self.imports.add(function.__code__, str(function.__globals__.get("__package__") or ""))


def _pickled(program: Callable[..., object], reached: _Reached) -> bytes:
    buffer = io.BytesIO()
    _pickler_class()(buffer, reached).dump(program)
    return buffer.getvalue()


@functools.cache
def _pickler_class() -> Any:
    import cloudpickle  # only those who spawn functions pay for it

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
        """Takes note of what goes by value, and what by name."""

        def __init__(self, file: io.BytesIO, reached: _Reached) -> None:
            super().__init__(file)
            self._reached = reached

        def reducer_override(self, thing: Any) -> Any:
            if isinstance(thing, _Cached) and _goes_by_value(thing):
                return _cached, (thing.__wrapped__, thing.cache_parameters())
            if type(thing) is functools.cached_property:  # it has a lock, until Python 3.12
                return _cached_property, (thing.func, thing.attrname)
            reduced = super().reducer_override(thing)
            if isinstance(thing, ModuleType):
                self._reached.whole(thing)
            elif isinstance(thing, FunctionType) and reduced is not NotImplemented:
                self._reached.by_value(thing)
            elif isinstance(thing, FunctionType | BuiltinFunctionType | type | _Cached) and reduced is NotImplemented:
                module = sys.modules.get(getattr(thing, "__module__", None) or "")
                if module is not None:
                    self._reached.by_name(module)
            return reduced

    return Pickler


_Cached: Final = type(functools.cache(lambda: None))


def _cached(function: Callable[..., object], parameters: dict[str, Any]) -> object:
    """A cached function like another one, with nothing in its cache."""
    return functools.lru_cache(**parameters)(function)


def _cached_property(function: Callable[[Any], object], name: str) -> functools.cached_property[Any]:
    made = functools.cached_property(function)
    made.__set_name__(object, name)
    return made


def _goes_by_value(cached: Any) -> bool:
    """Whether a cached function, which Python pickles by its name, is one that workers do not find by it."""
    module = sys.modules.get(getattr(cached, "__module__", None) or "")
    if module is None or module.__name__ == "__main__" or place_of(module) is ModulePlace.LACKED:
        return True
    found: Any = module
    for name in str(getattr(cached, "__qualname__", "")).split("."):
        found = getattr(found, name, None)
    return found is not cached


def _culprit(reached: _Reached) -> str:
    """Which of a module's contents cannot be pickled, where a whole module is to travel; empty if none."""
    for module in reached.modules:
        for name, value in list(vars(module).items()):
            try:
                _pickled(value, _Reached())
            except Exception:  # noqa: BLE001  # whatever a reducer raises: it is this one
                return f"{module.__name__}.{name}: "
    return ""


_pickling: Final = threading.Lock()


@contextlib.contextmanager
def _by_value() -> Iterator[None]:
    """Within the block, modules that workers cannot import are pickled by value."""
    import cloudpickle

    # The registration is the process's: somebody else's pickles must not begin to carry these modules.
    with _pickling:
        lacked = list(filter(_is_lacked, _unknown()))
        for module in lacked:
            cloudpickle.register_pickle_by_value(module)
        try:
            yield
        finally:
            for module in lacked:
                cloudpickle.unregister_pickle_by_value(module)


_installed: Final[dict[int, object]] = {}
"""By their ids, modules that are known to be everywhere: hundreds, which no spawn has to look at again."""


def _unknown() -> list[object]:
    unknown: list[object] = [module for module in list(sys.modules.values()) if id(module) not in _installed]
    _installed.update((id(module), module) for module in unknown if isinstance(module, ModuleType) and _stays(module))
    return unknown


def _stays(module: ModuleType) -> bool:
    """Whether it is installed, and always will be: not one that has no file, or none yet."""
    root = root_of(module)
    return bool(root) and place_of_root(root) is ModulePlace.EVERYWHERE


def _is_lacked(module: object) -> bool:
    """Whether workers do not find a module by its name, and it can travel instead."""
    if not isinstance(module, ModuleType) or place_of(module) is not ModulePlace.LACKED or not has_source(module):
        return False
    # By its name as well: some modules stand in the table under several.
    return sys.modules.get(module.__name__) is module
