"""What a directory cache knows: names, and which of them come next. Pure."""

from __future__ import annotations

import random
from bisect import bisect_left, bisect_right, insort
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable


class DirView:
    """The names of a directory's entries, without those that begin with one of ``hidden``."""

    def __init__(self, hidden: Collection[str] = ()) -> None:
        self._hidden = tuple(hidden)
        self._names: list[str] = []
        self._generations: dict[str, int] = {}
        self._last_generation = 0
        self._last_name = ""
        """The round robin's last."""

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._generations

    def names(self) -> list[str]:
        """In order."""
        return list(self._names)

    def generation(self, name: str) -> int | None:
        """Which appearance of the name this is: another one after it was gone. None if it is not there."""
        return self._generations.get(name)

    def replace(self, names: Iterable[str]) -> None:
        """The directory was read anew: what is in both stays what it was."""
        now = {name for name in names if not self._is_hidden(name)}
        for name in set(self._names) - now:
            self.removed(name)
        for name in now - set(self._names):
            self.created(name)

    def created(self, name: str) -> None:
        if name in self._generations or self._is_hidden(name):
            return
        self._last_generation += 1
        self._generations[name] = self._last_generation
        insort(self._names, name)

    def removed(self, name: str) -> bool:
        """True if it was there."""
        if self._generations.pop(name, None) is None:
            return False
        del self._names[bisect_left(self._names, name)]
        return True

    def _is_hidden(self, name: str) -> bool:
        return bool(self._hidden) and name.startswith(self._hidden)

    def any_name(self) -> str | None:
        """One at random; None if there is none."""
        return random.choice(self._names) if self._names else None

    def next_name(self) -> str | None:
        """The one after the last one that this gave, in order and around: all get the same share."""
        if not self._names:
            return None
        # By name, not by place in the list: nobody is left out or served twice when entries before it come or go.
        self._last_name = self._names[bisect_right(self._names, self._last_name) % len(self._names)]
        return self._last_name
