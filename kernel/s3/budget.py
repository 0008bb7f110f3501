"""How much readers and writers may hold beyond what each needs to go on. Pure."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable


class Budget:
    """Bytes that are held, by holder. When they run out, those who used theirs longest ago are asked to let go."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self.used_bytes = 0
        self._held: OrderedDict[Hashable, int] = OrderedDict()
        self._let_go: dict[Hashable, Callable[[], None]] = {}

    def join(self, holder: Hashable, let_go: Callable[[], None] | None = None) -> None:
        """``let_go`` gives back what the holder can do without at that moment."""
        self._held[holder] = 0
        if let_go is not None:
            self._let_go[holder] = let_go

    def leave(self, holder: Hashable) -> None:
        """What it held is free. Harmless for one that is not there."""
        self.used_bytes -= self._held.pop(holder, 0)
        self._let_go.pop(holder, None)

    def take(self, holder: Hashable, size: int, *, must: bool = False) -> bool:
        """False if there is no room, unless it ``must`` be."""
        # Also where there is no room: whoever wants more is at work, and is asked to let go last.
        self._held.move_to_end(holder)
        if self.used_bytes + size > self._bytes_max:
            self._make_room(holder, size)
        if not must and self.used_bytes + size > self._bytes_max:
            return False
        self.used_bytes += size
        self._held[holder] += size
        return True

    def give(self, holder: Hashable, size: int) -> None:
        """The holder has so much less. Harmless for one that left."""
        if holder in self._held:
            self.used_bytes -= size
            self._held[holder] -= size

    def _make_room(self, holder: Hashable, size: int) -> None:
        # A list: who lets go leaves, and would change what is looped over. The longest unused comes first.
        for other in [each for each in self._held if each in self._let_go and each != holder]:
            if self.used_bytes + size <= self._bytes_max:
                return
            if self._held.get(other):
                self._let_go[other]()
