"""The blocking face of ``AsyncDirCache``."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final, Generic, Self, TypeVar, cast

from sigmaos_ray import serr
from sigmaos_ray.config import LOCAL
from sigmaos_ray.fslib.dircache import AsyncDirCache

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from types import TracebackType

    from sigmaos_ray.blocking.face import BlockingFsLib

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


class DirCache(Generic[V]):
    """See ``AsyncDirCache``. ``new_value`` runs in the thread that asks, and may use the client. A context manager."""

    def __init__(
        self,
        sc: BlockingFsLib,
        pn: str,
        new_value: Callable[[str], V] | None = None,
        filters: Collection[str] = (),
    ) -> None:
        self._sc = sc
        self._new_value = new_value
        self._values: dict[str, _Value[V]] = {}
        self._values_count_max = _SPARE_COUNT
        self._lock = threading.Lock()
        self._cache: AsyncDirCache[str] = AsyncDirCache(sc.asynchronous, pn, filters=filters)

    def stop_watching(self) -> None:
        """Ends it: those that wait, and later calls, get Closed. May be repeated."""
        self._sc.run(self._cache.stop_watching())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop_watching()

    def get_entries(self) -> list[str]:
        return self._sc.run(self._cache.get_entries())

    def nentry(self) -> int:
        return self._sc.run(self._cache.nentry())

    def get_entry(self, name: str) -> V:
        """See ``AsyncDirCache.get_entry``."""
        generation = self._sc.run(self._cache.generation(name))
        if self._new_value is None:
            return cast("V", name)
        with self._lock:
            known = self._values.get(name)
            if known is None or known.generation != generation:
                known = self._values[name] = _Value(generation)
            overfull = len(self._values) > self._values_count_max
        if overfull:
            self._forget_gone()
        with known.lock:
            if not known.is_made:
                known.value = self._new_value(name)
                known.is_made = True
            return cast("V", known.value)

    def lookup_entry(self, name: str) -> V | None:
        """See ``AsyncDirCache.lookup_entry``."""
        if self._new_value is None:
            return cast("V | None", self._sc.run(self._cache.lookup_entry(name)))
        try:
            generation = self._sc.run(self._cache.generation(name))
        except serr.NotFound:
            return None
        known = self._values.get(name)
        return known.value if known is not None and known.generation == generation and known.is_made else None

    def _forget_gone(self) -> None:
        """Values of entries that are not there any more go, now and then."""
        names = set(self.get_entries())
        with self._lock:
            for name in self._values.keys() - names:
                del self._values[name]
            self._values_count_max = 2 * len(self._values) + _SPARE_COUNT

    def invalidate_entry(self, name: str) -> bool:
        with self._lock:
            self._values.pop(name, None)
        return self._sc.run(self._cache.invalidate_entry(name))

    def wait_entry_created(self, name: str, timeout_s: float | None = None) -> None:
        self._sc.run(self._cache.wait_entry_created(name, timeout_s))

    def wait_entry_removed(self, name: str, timeout_s: float | None = None) -> None:
        self._sc.run(self._cache.wait_entry_removed(name, timeout_s))

    def wait_all_entries_created(self, names: Iterable[str], timeout_s: float | None = None) -> None:
        self._sc.run(self._cache.wait_all_entries_created(list(names), timeout_s))

    def wait_all_entries_removed(self, names: Iterable[str], timeout_s: float | None = None) -> None:
        self._sc.run(self._cache.wait_all_entries_removed(list(names), timeout_s))

    def wait_entries_n(self, n: int, timeout_s: float | None = None) -> None:
        self._sc.run(self._cache.wait_entries_n(n, timeout_s))

    def wait_get_entries_n(self, n: int, timeout_s: float | None = None) -> list[str]:
        return self._sc.run(self._cache.wait_get_entries_n(n, timeout_s))

    def wait_empty(self, timeout_s: float | None = None) -> None:
        self._sc.run(self._cache.wait_empty(timeout_s))

    def wait_timed_random_entry(self, timeout_s: float = LOCAL.walk.entry_timeout_s) -> str:
        return self._sc.run(self._cache.wait_timed_random_entry(timeout_s))

    def wait_timed_round_robin(self, timeout_s: float = LOCAL.walk.entry_timeout_s) -> str:
        return self._sc.run(self._cache.wait_timed_round_robin(timeout_s))
