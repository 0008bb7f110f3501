"""What a mapper and a reducer do with pairs, whatever the app. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from sigmaos_ray import serr
from user.mr.app import add_counts, lines_of
from user.mr.tuning import TASK

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from user.mr.app import App, Pairs
    from user.mr.shuffle import Key


class MapSide:
    """Gathers the pairs of one map task, in memory. Raises what the app's functions raise; Inval for a key that is
    none."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._bulk: Counter[Any] = Counter()
        self._lists: dict[Key, list[Any]] = {}

    def add(self, name: str, block: bytes) -> None:
        """Maps one block of whole records of the file ``name``."""
        if self._app.map_block is not None:
            self._app.map_block(name, block, self._bulk)
        elif self._app.map is not None:
            self._app.map(name, iter(lines_of(block)), self._emit)

    def _emit(self, key: Key, value: Any) -> None:
        values = self._lists.get(key)
        if values is None:
            if not isinstance(key, str | bytes):
                raise serr.Inval(self._app.name, f"map: a key is str or bytes, not {key!r}")
            self._lists[key] = [value]
            return
        values.append(value)
        # Combined as they come: a key that is in every line must not keep one value for each of them.
        if len(values) >= TASK.combine_values and self._app.combine is not None:
            values[:] = [self._app.combine(key, values)]

    def pairs(self) -> Mapping[Key, Any]:
        """All pairs, combined: of an app in bulk form its values, of another one lists of values."""
        if self._app.map_block is not None:
            return self._bulk
        if self._app.combine is not None:
            for key, values in self._lists.items():
                if len(values) > 1:
                    values[:] = [self._app.combine(key, values)]
        return self._lists


class ReduceSide:
    """Gathers what all map tasks have for one reducer, in memory."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._pairs: Pairs = {}

    def add(self, part: Mapping[Key, Any]) -> None:
        """Adds the pairs of one map task. The order in which parts are added is the order of a key's values: it must be
        the same each time, or a reducer that runs again would come to other output."""
        if self._app.map_block is None:
            for key, values in part.items():
                self._pairs.setdefault(key, []).extend(values)
        elif self._app.reduce is not None:
            for key, value in part.items():
                self._pairs.setdefault(key, []).append(value)
        else:
            (self._app.merge or add_counts)(self._pairs, part)

    def output(self) -> bytes:
        """All output: lines of key, tab and value (MR-7), in order of the keys."""
        pairs: Iterable[tuple[Key, Any]] = self._pairs.items()
        reduce = self._app.reduce
        if reduce is not None:
            reduced = ((key, reduce(key, values)) for key, values in pairs)
            pairs = ((key, value) for key, value in reduced if value is not None)
        # Lines are sorted, not keys, of which some may be text and some bytes.
        return b"".join(sorted([_line(key, value) for key, value in pairs]))


def _line(key: Key, value: Any) -> bytes:
    shown = value if isinstance(value, bytes) else b"%d" % value if type(value) is int else str(value).encode()
    return b"%b\t%b\n" % (key if isinstance(key, bytes) else key.encode(), shown)
