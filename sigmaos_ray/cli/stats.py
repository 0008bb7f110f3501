"""``stats``: what a server counts."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from sigmaos_ray import serr
from sigmaos_ray.cli.context import client, follow_table, print_json, print_table, shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from sigmaos_ray import SigmaClnt

_HEADER: Final = ("REQUEST", "COUNT", "PER S", "MEAN", "P50", "P90", "P99", "MAX")
_OWN: Final = frozenset(
    {"ops", "errors", "rpcs", "latency", "rpc_latency", "load", "started_s"}
    | {"session_count", "fid_count", "watch_count", "spawn_latency"}
)


def register(app: typer.Typer) -> None:
    app.command()(stats)


def stats(
    pathname: Annotated[str, typer.Argument(metavar="PATH", help="A server: name/ux/~local say.")] = "name/",
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Look again and again, until Ctrl-C.")] = False,
    interval_s: Annotated[float, typer.Option("--interval-s", min=0.1, help="With --watch: how often.")] = 1.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print all that the server tells, as JSON.")] = False,
) -> None:
    """Show what a server counts: requests and RPCs by kind with their latencies, sessions, fids, load."""
    if watch and as_json:
        raise typer.BadParameter("--watch is for people: with --json ask again yourself")
    with client() as sc:
        if watch:
            follow_table(_HEADER, _look(sc, pathname), interval_s)
        report = _read(sc, pathname)
    if as_json:
        print_json(report)
        return
    for line in _summary(report):
        sys.stdout.write(f"{line}\n")
    print_table(_HEADER, rows(report, None, 0.0))


def _read(sc: SigmaClnt, pathname: str) -> dict[str, Any]:
    try:
        return sc.read_srv_stats(pathname.rstrip("/"))
    except (serr.NotDir, serr.NotFound) as error:
        raise serr.NotFound(pathname, "no server is there") from error


def _look(sc: SigmaClnt, pathname: str) -> Callable[[], list[list[str]]]:
    """What ``--watch`` shows each time: the rates are those since the last look."""
    before: dict[str, Any] | None = None
    before_s = 0.0

    def look() -> list[list[str]]:
        nonlocal before, before_s
        report, now_s = _read(sc, pathname), time.monotonic()
        shown_rows = rows(report, before, now_s - before_s)
        before, before_s = report, now_s
        return [*shown_rows, *([line, *[""] * (len(_HEADER) - 1)] for line in _summary(report))]

    return look


def rows(report: dict[str, Any], before: dict[str, Any] | None, since_s: float) -> list[list[str]]:
    """A line for each kind of request, RPC, and stage of a spawn. Without a report of before, rates are those since the
    server started."""
    age_s = since_s if before is not None else max(time.time() - report["started_s"], 1e-9)
    lines = []
    for section, prefix in (("latency", ""), ("rpc_latency", ""), ("spawn_latency", "spawn: ")):
        for kind, latency in report.get(section, {}).items():
            if not latency["count"]:
                continue
            old = (before or {}).get(section, {}).get(kind, {}).get("count", 0)
            lines.append(_row(shown(prefix + kind), latency, (latency["count"] - old) / age_s))
    return lines


def _row(kind: str, latency: dict[str, Any], rate: float) -> list[str]:
    times = [duration(latency[name]) for name in ("mean_us", "p50_us", "p90_us", "p99_us", "max_us")]
    return [kind, str(latency["count"]), f"{rate:.1f}", *times]


def duration(micros: float) -> str:
    """A duration in the unit that suits its size. ``micros``: microseconds."""
    if micros < 1e3:
        return f"{micros:.0f} us"
    return f"{micros / 1e3:.1f} ms" if micros < 1e6 else f"{micros / 1e6:.1f} s"


def _summary(report: dict[str, Any]) -> list[str]:
    load = report["load"]
    averages = " ".join(f"{average:.2f}" for average in load["averages"])
    lines = [
        f"up {time.time() - report['started_s']:.0f} s, {report['session_count']} sessions, "
        f"{report['fid_count']} fids, {report['watch_count']} watches",
        f"load {averages} (1, 10, 60 s), {load['in_flight']} in flight, {load['util_percent']:.0f} % of a core",
    ]
    if report["errors"]:
        errors = ", ".join(f"{count} {name}" for name, count in sorted(report["errors"].items()))
        lines.append(f"errors: {errors}")
    for name, section in report.items():
        if name not in _OWN and isinstance(section, dict):
            lines.append(f"{name}: {', '.join(f'{key} {value}' for key, value in section.items())}")
    return lines
