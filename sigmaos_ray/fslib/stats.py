"""A client's counters, as ``stats()`` returns them; tests count walks by them."""

from __future__ import annotations

from collections import Counter


class ClientStats:
    """``path`` counts what pathnames cost, ``sp`` the messages by kind."""

    def __init__(self) -> None:
        self.path: Counter[str] = Counter()
        self.sp: Counter[str] = Counter()

    def snapshot(self) -> dict[str, dict[str, int]]:
        return {"path": dict(self.path), "sp": dict(self.sp)}
