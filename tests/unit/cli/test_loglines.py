"""When lines of logs were written."""

from __future__ import annotations

from datetime import datetime

import pytest

from sigmaos_ray import serr
from sigmaos_ray.cli import loglines


def _at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def test_times_of_day_go_over_midnight() -> None:
    lines = ["23:59:59.5 a b", "00:00:01.25 a b", "no time", "00:10:00 a b"]
    found = loglines.times(lines, _at("2026-03-02 00:10:00"))
    assert found == [
        _at("2026-03-01 23:59:59.5"),
        _at("2026-03-02 00:00:01.25"),
        _at("2026-03-02 00:00:01.25"),
        _at("2026-03-02 00:10:00"),
    ]


@pytest.mark.parametrize(
    ("line", "time"),
    [
        ("== p-1 example os_pid=12 2026-11-30T22:03:19+0000", "2026-11-30T22:03:19+00:00"),
        ('{"level":"warn","ts":"2026-11-30T21:38:51.323Z","caller":"x"}', "2026-11-30T21:38:51.323+00:00"),
        ("2026-11-30 22:03:19,123 INFO words", "2026-11-30 22:03:19.123"),
        ('127.0.0.1 - - [30/Nov/2026 21:39:02] "GET / HTTP/1.1" 200 -', "2026-11-30 21:39:02"),
        ('127.0.0.1 - - [30/Nov/2026:21:39:02 +0100] "GET / HTTP/1.1" 200 -', "2026-11-30 21:39:02+01:00"),
    ],
)
def test_lines_with_a_date(line: str, time: str) -> None:
    assert loglines.times([line, "next"], 0.0) == [_at(time)] * 2


def test_lines_without_a_time() -> None:
    """Have that of the line before; at the beginning of the next one; else that of the file."""
    assert loglines.times(["a", "2026-99-99 99:99:99 b", "99:99:99 c"], 7.0) == [7.0] * 3
    assert loglines.times(["a", "2026-11-30 22:03:19 b"], 7.0) == [_at("2026-11-30 22:03:19")] * 2
    assert loglines.times(["a"], 7.0, 5.0) == [5.0]
    assert loglines.times([], 7.0) == []


def test_since() -> None:
    now_s = _at("2026-11-30 12:00:00")
    assert loglines.since_s("90s", now_s) == now_s - 90
    assert loglines.since_s("1.5h", now_s) == now_s - 5400
    assert loglines.since_s("2d", now_s) == now_s - 2 * 24 * 3600
    assert loglines.since_s("11:30", now_s) == now_s - 1800
    assert loglines.since_s("2026-11-29", now_s) == _at("2026-11-29")
    assert loglines.since_s("2026-11-29 11:00:01", now_s) == _at("2026-11-29 11:00:01")
    for wrong in ("", "5", "5w", "-5m", "soon", "25:00"):
        with pytest.raises(serr.Inval):
            loglines.since_s(wrong, now_s)
