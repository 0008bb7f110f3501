"""Writes all the time, to ``named`` or to a key of ``kv``, for so many seconds. Prints lines of JSON, each with the
machine's monotonic clock: ``writing``, each write that took longer than half a second until it was acknowledged, with
its seconds, and ``written``.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING

from sigmaos_ray import SigmaClnt, serr
from user.kv.blocking import KvClerk

if TYPE_CHECKING:
    from collections.abc import Callable

LONG_S = 0.5
PAUSE_S = 0.02


def say(what: str, *words: object) -> None:
    print(json.dumps([time.monotonic(), what, *words]), flush=True)


def write_at_last(write: Callable[[bytes], object], data: bytes) -> None:
    """Until it is acknowledged: of one that was under way when the server went, nobody knows whether it was made."""
    while True:
        try:
            write(data)
            return
        except serr.SESSION_ERRORS:
            time.sleep(PAUSE_S)


def write_on(write: Callable[[bytes], object], seconds: float) -> None:
    write(b"0")
    say("writing")
    ends_s, number = time.monotonic() + seconds, 0
    while time.monotonic() < ends_s:
        began_s, number = time.monotonic(), number + 1
        write_at_last(write, b"%d" % number)
        took_s = time.monotonic() - began_s
        if took_s > LONG_S:
            say("stalled", took_s)
        time.sleep(PAUSE_S)
    say("written", number)


def main(argv: list[str]) -> None:
    where, seconds = argv[0], float(argv[1])
    with SigmaClnt() as sc:
        if where == "named":
            write_on(lambda data: sc.put_file("name/stalls", data), seconds)
        else:
            with KvClerk(sc, where) as clerk:
                write_on(lambda data: clerk.put("stalls", data), seconds)


if __name__ == "__main__":
    main(sys.argv[1:])
