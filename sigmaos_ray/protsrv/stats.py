"""Counters of a server, shown as ``.statsd`` (R-8)."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable


class ServerStats:
    """Counts of requests by kind, sessions, fids and watches. Plain integers, touched from the server's loop only."""

    def __init__(self) -> None:
        self.started_s = time.time()
        self.ops: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.session_count = 0
        self.fid_count = 0
        self.watch_count = 0
        self.rpcs: Counter[str] = Counter()
        self.sections: dict[str, Callable[[], dict[str, Any]]] = {}
        """What a server adds of its own, by name; asked at each read."""

    def to_json(self) -> bytes:
        """What a read of ``.statsd`` returns."""
        shown = {
            "started_s": self.started_s,
            "ops": dict(self.ops),
            "errors": dict(self.errors),
            "rpcs": dict(self.rpcs),
            "session_count": self.session_count,
            "fid_count": self.fid_count,
            "watch_count": self.watch_count,
            **{name: report() for name, report in self.sections.items()},
        }
        return msgspec.json.format(msgspec.json.encode(shown), indent=2) + b"\n"
