"""When lines of logs were written, as far as they say it themselves. Pure.

Lines of debug output begin with a time of day, those of others with a date as well; what a program prints has none, and
its log begins with a line that has. A line without a time has that of the line before it.
"""

from __future__ import annotations

import re
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from sigmaos_ray import serr

if TYPE_CHECKING:
    from collections.abc import Sequence

_DATED: Final = re.compile(
    r"^(?:== \S+ .* os_pid=\d+ |\{\"level\":\"\w+\",\"ts\":\"|\[?)"
    r"(\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?)"
)
"""A proc's header, a line of etcd's, and those that begin with the date."""
_ACCESS: Final = re.compile(r"^\S+ \S+ \S+ \[(\d\d/\w{3}/\d{4}[: ]\d\d:\d\d:\d\d(?: [+-]\d{4})?)\]")
"""A line of a web server's."""
_OF_DAY: Final = re.compile(r"^(\d\d):(\d\d):(\d\d(?:\.\d+)?) ")
_DAY_S: Final = 24 * 3600.0
_SLACK_S: Final = 60.0
"""A line may say a time that is a little after that at which its file was last written, as clocks have it."""
_UNITS_S: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": _DAY_S}


def times(lines: Sequence[str], changed_s: float, before_s: float | None = None) -> list[float]:
    """When each line was written, in seconds since 1970. ``changed_s``: when the last one was; ``before_s``: when the
    line before the first one was, if there is one."""
    known = _stamps(lines, changed_s)
    first = before_s if before_s is not None else next((stamp for stamp in known if stamp is not None), changed_s)
    found: list[float] = []
    for stamp in known:
        found.append(stamp if stamp is not None else found[-1] if found else first)
    return found


def _stamps(lines: Sequence[str], changed_s: float) -> list[float | None]:
    """From the last one back: a time of day is of the last day on which it was before what came behind it."""
    stamps: list[float | None] = []
    behind_s = changed_s + _SLACK_S
    for line in reversed(lines):
        stamp = _dated(line)
        if stamp is None and (of_day := _OF_DAY.match(line)):
            stamp = _last_before(behind_s, int(of_day[1]), int(of_day[2]), float(of_day[3]))
        if stamp is not None:
            behind_s = stamp + _SLACK_S
        stamps.append(stamp)
    return stamps[::-1]


def _dated(line: str) -> float | None:
    try:
        if match := _DATED.match(line):
            return datetime.fromisoformat(match[1].replace(",", ".")).timestamp()
        if match := _ACCESS.match(line):
            layout = "%d/%b/%Y:%H:%M:%S %z" if " " in match[1][12:] else "%d/%b/%Y %H:%M:%S"
            text = match[1] if "%z" in layout else match[1].replace(":", " ", 1) if match[1][11] == ":" else match[1]
            return datetime.strptime(text, layout).timestamp()
    except ValueError:  # looks like a date, and is none
        return None
    return None


def _last_before(end_s: float, hour: int, minute: int, second: float) -> float | None:
    try:
        day = datetime.fromtimestamp(end_s).replace(hour=hour, minute=minute, second=0, microsecond=0)
    except ValueError:
        return None
    stamp = day.timestamp() + second
    return stamp if stamp <= end_s else (day - timedelta(days=1)).timestamp() + second


def since_s(text: str, now_s: float) -> float:
    """What ``--since`` means, in seconds since 1970: so long ago (``90s``, ``10m``, ``2h``, ``1d``), or a time, of
    today (``14:05``) or with its date (``2026-11-30 14:05``). Inval for anything else."""
    if ago := re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text):
        return now_s - float(ago[1]) * _UNITS_S[ago[2]]
    today = time.strftime("%Y-%m-%d", time.localtime(now_s))
    for candidate in (f"{today} {text}", text):
        try:
            return datetime.fromisoformat(candidate).timestamp()
        except ValueError:
            continue
    raise serr.Inval(text, "--since takes 90s, 10m, 2h, 1d, 14:05 or 2026-11-30 14:05")
