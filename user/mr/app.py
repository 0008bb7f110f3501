"""What a job does with its input: an ``App``, found in a module, a file, or made of functions.

Two forms. Per record, as MapReduce has it:

    def map(name, lines, emit): ...       # lines: an iterator over lines (bytes, without their end); emit(key, value)
    def combine(key, values): ...         # optional: one value in place of several, in the mapper
    def reduce(key, values): ...          # the value that stands in the output; None: the key is left out

In bulk, where one call handles a block of many lines, for what Python's own C code can do:

    def map_block(name, block, into): ... # adds the block's pairs to ``into``, a collections.Counter
    def merge(into, more): ...            # adds the pairs of another one; optional: counts are added up

``cut = "word"`` lets blocks end between any two words, so that a line may be of any length; ``block_bytes`` is about
how much a call gets. Keys are str or bytes; values are what msgpack knows. ``map`` is called for each block of whole
lines, more than once for a file.
"""

from __future__ import annotations

import importlib
import pickle
import types
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Self, TypeAlias

import msgspec

from sigmaos_ray import serr
from sigmaos_ray.proc import callables
from user.mr.cutting import CUTS
from user.mr.shuffle import Key

Emit: TypeAlias = Callable[[Key, Any], None]
Pairs: TypeAlias = dict[Key, Any]

OURS: Final = "user.mr"
SOURCE_BYTES_MAX: Final = 512 << 10
"""Of an app's file: it is part of the job's description, which is a file of named."""
BLOCK_BYTES: Final = 1 << 20
"""About how much of the input a call gets, unless the app says otherwise."""
_BLOCK_BYTES_MAX: Final = 64 << 20
_FUNCTIONS: Final = ("map", "combine", "reduce", "map_block", "merge")
_SETTINGS: Final = ("cut", "block_bytes")


def add_counts(into: Pairs, more: Mapping[Key, Any]) -> None:
    """Adds the numbers of ``more`` to those of ``into``, key by key: the ``merge`` of apps that count."""
    if not into:
        into.update(more)
        return
    get = into.get
    for key, value in more.items():
        into[key] = get(key, 0) + value


class App(msgspec.Struct, frozen=True, kw_only=True):
    """The functions of a job. Inval if they do not make one."""

    map: Callable[[str, Iterator[bytes], Emit], None] | None = None
    combine: Callable[[Key, list[Any]], Any] | None = None
    reduce: Callable[[Key, list[Any]], Any] | None = None
    map_block: Callable[[str, bytes, Counter[Any]], None] | None = None
    merge: Callable[[Pairs, Mapping[Key, Any]], None] | None = None
    cut: str = "line"
    block_bytes: int = BLOCK_BYTES
    """About how much of the input a call gets, at most: less at the end of a split."""
    name: str = "app"

    def __post_init__(self) -> None:
        if (self.map is None) == (self.map_block is None):
            raise serr.Inval(self.name, "app: either map or map_block is wanted")
        if self.map is not None and self.reduce is None:
            raise serr.Inval(self.name, "app: map needs a reduce")
        if self.map is not None and self.merge is not None:
            raise serr.Inval(self.name, "app: merge belongs to map_block; what goes with map is combine")
        if self.map_block is not None and self.combine is not None:
            raise serr.Inval(self.name, "app: combine belongs to map; what goes with map_block is merge")
        if self.cut not in CUTS:
            raise serr.Inval(self.name, f"app: cut is one of {', '.join(CUTS)}, not {self.cut!r}")
        if not isinstance(self.block_bytes, int) or not 1 <= self.block_bytes <= _BLOCK_BYTES_MAX:
            raise serr.Inval(self.name, f"app: block_bytes is 1 to {_BLOCK_BYTES_MAX}, not {self.block_bytes!r}")

    @classmethod
    def of(cls, owner: object, name: str) -> Self:
        """The app whose functions are attributes of a module. Inval if they do not make one."""
        functions = {what: getattr(owner, what) for what in _FUNCTIONS if callable(getattr(owner, what, None))}
        settings = {what: getattr(owner, what) for what in _SETTINGS if hasattr(owner, what)}
        return cls(**functions, **settings, name=name)


class Shipped(msgspec.Struct, frozen=True, tag_field="kind", tag=str.lower):
    """How an app travels to the mappers and reducers."""


class Module(Shipped, frozen=True):
    """By name: workers import it."""

    name: str


class Source(Shipped, frozen=True):
    """A Python file, as text."""

    name: str
    text: str


class Pickled(Shipped, frozen=True):
    """Functions."""

    name: str
    data: bytes


AnyShipped: TypeAlias = Module | Source | Pickled


def ship(app: str | App | types.ModuleType, near: Path | None = None) -> AnyShipped:
    """Makes an app ready to travel, and loads it once, so that its mistakes show here: Inval says which. A text is
    ``wc``, ``grep``, the name of a module, or a file ``*.py``, relative to the directory ``near``."""
    if isinstance(app, App):
        return Pickled(app.name, callables.dumps(_Maker(app), app.name).data)
    if isinstance(app, types.ModuleType):
        return ship(App.of(app, app.__name__))
    shipped: AnyShipped
    if app.endswith(".py"):
        shipped = Source(app, _text(near / app if near else Path(app)))
    else:
        shipped = Module(_module_name(app))
    load(shipped)
    return shipped


class _Maker:
    """An app, as a callable: what ``callables`` ships are functions."""

    def __init__(self, app: App) -> None:
        self.fields = {what: getattr(app, what) for what in (*_FUNCTIONS, *_SETTINGS, "name")}
        self.__name__ = app.name
        # The module that may have to travel by value is that of the functions.
        self.__module__ = getattr(app.map or app.map_block, "__module__", __name__)

    def __call__(self) -> App:
        return App(**self.fields)


def load(shipped: AnyShipped) -> App:
    """The app, in the process that runs it. Inval, with the reason, if it cannot be had here."""
    try:
        return _loaded(shipped)
    except serr.Inval:
        raise
    except Exception as error:  # whatever a user's module raises at its top level
        raise serr.Inval(shipped.name, f"app: cannot be loaded: {type(error).__name__}: {error}") from error


def _loaded(shipped: AnyShipped) -> App:
    if isinstance(shipped, Pickled):
        app = pickle.loads(shipped.data)()
        assert isinstance(app, App)
        return app
    if isinstance(shipped, Source):
        module = types.ModuleType(Path(shipped.name).stem)
        # Not put into ``sys.modules``: a worker runs tasks of many jobs, whose files may have one name.
        exec(compile(shipped.text, shipped.name, "exec"), module.__dict__)
        return App.of(module, shipped.name)
    return App.of(importlib.import_module(shipped.name), shipped.name)


def _module_name(app: str) -> str:
    """``wc`` is ours; anything else with that name is a user's."""
    if "." not in app and (Path(__file__).parent / f"{app}.py").exists():
        return f"{OURS}.{app}"
    return app


def _text(file: Path) -> str:
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise serr.Inval(str(file), f"app: cannot be read: {reason}") from error
    if len(text) > SOURCE_BYTES_MAX:
        raise serr.Inval(str(file), f"app: over {SOURCE_BYTES_MAX} bytes")
    return text


def lines_of(block: bytes) -> Iterable[bytes]:
    """The lines of a block, without their ends: ``\\n``, or ``\\r\\n``."""
    lines = block.split(b"\n")
    if b"\r" in block:
        lines = [line.removesuffix(b"\r") for line in lines]
    if not lines[-1]:
        # Behind the last separator there is no line; without one at the end the last line counts all the same.
        lines.pop()
    return lines
