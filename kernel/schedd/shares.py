"""How realms that have more to do than runs share the slots of best-effort procs (C-4). Pure.

One schedd of the instance is asked by all that have procs waiting, again and again while they have, and tells each
whose turn it is. So nobody needs to tell when it has no more to do, or is gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from sigmaos_ray.config import Scheduling


class Turn(msgspec.Struct, frozen=True):
    """What one schedd may take of the slots, for now."""

    realms_count: int = 1
    """Realms with procs that wait, this one among them."""
    place: int = 0
    """Of this realm among them; it changes with time."""
    schedds_count: int = 1
    """Those of this realm with procs that wait."""
    schedd_place: int = 0

    @property
    def is_alone(self) -> bool:
        return self.realms_count == 1

    def share(self, slots: int) -> int:
        """Of so many slots, those that this schedd's procs may have."""
        return _part(_part(slots, self.realms_count, self.place), self.schedds_count, self.schedd_place)


def _part(whole: int, count: int, place: int) -> int:
    # Who is among the first gets one of what cannot be divided. Places move with the turns, so each gets it in time.
    return whole // count + (place < whole % count)


class Shares:
    """Who has procs that wait."""

    def __init__(self, limits: Scheduling) -> None:
        # Turns are counted by the clock of whoever is asked: by clocks of their own, two schedds could take one slot.
        self._limits = limits
        self._heard_s: dict[tuple[str, str], float] = {}

    def busy(self, realm: str, kernel_id: str, now_s: float) -> Turn:
        """A schedd has procs that wait: what may it take?"""
        self._heard_s[realm, kernel_id] = now_s
        silent_max_s = self._limits.share_memory_s
        self._heard_s = {who: heard_s for who, heard_s in self._heard_s.items() if now_s - heard_s < silent_max_s}
        realms = sorted({realm for realm, _ in self._heard_s})
        schedds = sorted(kernel for other, kernel in self._heard_s if other == realm)
        turn = int(now_s / self._limits.turn_s)
        return Turn(
            realms_count=len(realms),
            place=(realms.index(realm) + turn) % len(realms),
            schedds_count=len(schedds),
            schedd_place=(schedds.index(kernel_id) + turn) % len(schedds),
        )
