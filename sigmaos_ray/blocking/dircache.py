"""The blocking face of ``AsyncDirCache``."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final, Generic, Self, TypeVar, cast

from sigmaos_ray import serr
from sigmaos_ray.blocking.calls import DirCacheCalls
from sigmaos_ray.fslib.dircache import AsyncDirCache

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from types import TracebackType

    from sigmaos_ray.blocking.face import BlockingClient

V = TypeVar("V")

_SPARE_COUNT: Final = 64
"""So many values of entries that are gone may stay."""


class _Value(Generic[V]):
    """The value of one appearance of a name; made under its lock."""

    def __init__(self, generation: int) -> None:
        self.generation = generation
        self.lock = threading.Lock()
        self.is_made = False
        self.value: V | None = None


class DirCache(DirCacheCalls, Generic[V]):
    """See ``AsyncDirCache``. ``new_value`` runs in the thread that asks, and may use the client. A context manager."""

    def __init__(
        self,
        sc: BlockingClient,
        pn: str,
        new_value: Callable[[str], V] | None = None,
        filters: Collection[str] = (),
    ) -> None:
        self._sc = sc
        self._new_value = new_value
        self._values: dict[str, _Value[V]] = {}
        self._values_count_max = _SPARE_COUNT
        self._lock = threading.Lock()
        self._clnt = AsyncDirCache(sc.asynchronous, pn, filters=filters)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop_watching()

    def get_entry(self, name: str) -> V:
        """An entry's value, made if need be: once, however many threads ask. NotFound if there is no such entry; what
        ``new_value`` raises, and then the next who asks tries again."""
        generation = self._sc.run(self._clnt.generation(name))
        if self._new_value is None:
            return cast("V", name)
        with self._lock:
            cell = self._values.get(name)
            if cell is None or cell.generation != generation:
                cell = self._values[name] = _Value(generation)
            overfull = len(self._values) > self._values_count_max
        if overfull:
            self._forget_gone()
        # Under the value's own lock: who asks for another entry does not wait until this one is made.
        with cell.lock:
            if not cell.is_made:
                cell.value = self._new_value(name)
                cell.is_made = True
            return cast("V", cell.value)

    def lookup_entry(self, name: str) -> V | None:
        """An entry's value, if it was made already; None otherwise."""
        if self._new_value is None:
            return cast("V | None", self._sc.run(self._clnt.lookup_entry(name)))
        try:
            generation = self._sc.run(self._clnt.generation(name))
        except serr.NotFound:
            return None
        cell = self._values.get(name)
        return cell.value if cell is not None and cell.generation == generation and cell.is_made else None

    def _forget_gone(self) -> None:
        """Drops values of entries that are not there any more. Not at each removal, which nobody tells this thread."""
        names = set(self.get_entries())
        with self._lock:
            for name in self._values.keys() - names:
                del self._values[name]
            self._values_count_max = 2 * len(self._values) + _SPARE_COUNT

    def invalidate_entry(self, name: str) -> bool:
        """Forgets an entry and its value, until it is seen again; tells whether it was there."""
        with self._lock:
            self._values.pop(name, None)
        return self._sc.run(self._clnt.invalidate_entry(name))
