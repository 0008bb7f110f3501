"""``perf``: profiles of what runs."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from sigmaos_ray import serr
from sigmaos_ray.cli.context import client, print_json, print_table

if TYPE_CHECKING:
    from sigmaos_ray import SigmaClnt
    from sigmaos_ray.perf.profile import Profile
    from sigmaos_ray.perf.selection import Kind

_KINDS: Final = {"cpu": "pprof", "mem": "pprof-mem", "mutex": "pprof-mutex", "block": "pprof-block"}
_TOP: Final = 10


def register(app: typer.Typer) -> None:
    app.command()(perf)


def perf(
    target: Annotated[
        str | None, typer.Argument(metavar="[PID|PATH]", help="A proc, a server, or a process id of this machine.")
    ] = None,
    seconds: Annotated[float, typer.Option("--seconds", min=0.1, max=600, help="For how long.")] = 5.0,
    kind: Annotated[str, typer.Option(help=f"One of {', '.join(_KINDS)}.")] = "cpu",
    rate_hz: Annotated[float, typer.Option("--rate-hz", min=1, max=1000, help="Samples per second.")] = 100.0,
    output: Annotated[
        Path | None, typer.Option("-o", help="Directory for the files (default: SIGMAOS_PERF_DIR).")
    ] = None,
    list_all: Annotated[bool, typer.Option("--list", help="List the selectors of SIGMAPERF.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Profile a running proc or server, and draw a flame graph. The output says who sampled it: py-spy, or
    the process itself."""
    from sigmaos_ray.perf import selection

    if list_all:
        _list(as_json)
        return
    if target is None:
        raise typer.BadParameter("say --list, or a PID or PATH")
    if kind not in _KINDS:
        raise typer.BadParameter(f"--kind is one of {', '.join(_KINDS)}, not {kind!r}")
    selected = selection.Kind(_KINDS[kind])
    profile, how, who = _take(target, selected, seconds, rate_hz)
    files = _write(profile, output or selection.directory(), who, selected)
    if as_json:
        top = [{"frame": frame, "own": own, "all": total} for frame, own, total in profile.functions()]
        report = {"who": who, "how": how, "unit": profile.unit, "total": profile.total, "files": files, "frames": top}
        print_json(report)
    else:
        _print_profile(profile, how, who, files)


def _list(as_json: bool) -> None:
    from sigmaos_ray.cli.catalogue import catalogue
    from sigmaos_ray.perf import selection

    selectors = catalogue().perf
    if as_json:
        suffixes = {kind.suffix: selection.WHAT[kind] for kind in selection.Kind}
        print_json({"selectors": dict(selectors), "suffixes": suffixes})
        return
    print_table(["SELECTOR", "WHAT"], [[name, line] for name, line in sorted(selectors.items())])
    print()
    print_table(["SUFFIX", "RECORDS"], [[kind.suffix, selection.WHAT[kind]] for kind in selection.Kind])


def _take(target: str, kind: Kind, seconds: float, rate_hz: float) -> tuple[Profile, str, str]:
    """The profile, by what means it was taken, and of whom. Blocks for ``seconds``, and until it is here."""
    from sigmaos_ray.cli import observe
    from sigmaos_ray.pb import observe_pb2 as pb
    from sigmaos_ray.perf import remote
    from sigmaos_ray.perf.profile import Profile

    # A number is a process of this machine, a slash makes it a server's pathname, and anything else is a proc's pid.
    if target.isdigit():
        taken = remote.take(remote.process_of(int(target)), kind, seconds, rate_hz)
        return taken.profile, taken.how, target
    with client() as sc:
        if "/" in target:
            server, method, pid = target, "Observe.Profile", ""
        else:
            server, method, pid = _schedd_of(sc, target), "Schedd.Profile", target
        request = pb.ProfileRequest(kind=kind.value, seconds=seconds, rate_hz=rate_hz, pid=pid)
        reply = observe.call(sc, server, method, request, pb.ProfileReply)
    return Profile.unpack(reply.stacks, reply.unit), reply.how, reply.who


def _schedd_of(sc: SigmaClnt, pid: str) -> str:
    info = next((info for info in sc.procs() if info.pid == pid), None)
    if info is None:
        raise serr.NotFound(pid, "no such proc; a server's pathname has a slash in it")
    return f"name/schedd/{info.kernel_id}"


def _write(profile: Profile, directory: Path, who: str, kind: Kind) -> list[str]:
    from sigmaos_ray.perf import recording, selection

    directory.mkdir(parents=True, exist_ok=True)
    raw = selection.file_of(directory, who, kind, time.strftime("%Y%m%d-%H%M%S"))
    raw.write_text(profile.to_text())
    return [str(raw), *map(str, recording.write_graphs(profile, raw, f"{who} {kind.value}"))]


def _print_profile(profile: Profile, how: str, who: str, files: list[str]) -> None:
    from sigmaos_ray.perf.flame import weight_text

    print(f"{who}: {weight_text(profile.total, profile.unit)}, by {how}")
    top = [
        [weight_text(own, profile.unit), weight_text(total, profile.unit), frame]
        for frame, own, total in profile.functions()[:_TOP]
    ]
    if top:
        print_table(["OWN", "ALL", "FRAME"], top)
    for file in files:
        sys.stdout.write(f"{file}\n")
