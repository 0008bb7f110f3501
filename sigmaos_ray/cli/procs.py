"""``spawn``, ``ps``, ``top``, ``wait``, ``evict``: procs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
import typer

from sigmaos_ray import serr
from sigmaos_ray.cli.context import client, follow_table, print_json, print_table, shown
from sigmaos_ray.cli.programs import environment, program_of

if TYPE_CHECKING:
    from sigmaos_ray import SigmaClnt
    from sigmaos_ray.proc import ProcInfo, Status

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(app: typer.Typer) -> None:
    # What stands behind the program belongs to the program, dashes or not.
    rest = {"allow_interspersed_args": False, "ignore_unknown_options": False}
    app.command(context_settings=rest)(spawn)
    for command in (ps, top, wait, evict):
        app.command()(command)


def spawn(
    program: Annotated[str, typer.Argument(metavar="PROGRAM", help="example, a module: pkg.module, or FILE.py")],
    args: Annotated[list[str] | None, typer.Argument(metavar="[ARG]...")] = None,
    wait_for_it: Annotated[bool, typer.Option("--wait", help="Wait for its end and print its status.")] = False,
    mcpu: Annotated[int, typer.Option(min=0, help="Thousandths of a core to reserve; 0: best effort.")] = 0,
    mem_mb: Annotated[int, typer.Option(min=0, help="Memory to reserve, in MB.")] = 0,
    env: Annotated[list[str] | None, typer.Option("--env", metavar="NAME=VALUE")] = None,
    pid: Annotated[str | None, typer.Option(help="A pid of your own choice.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="In a process of its own.")] = False,
    as_json: Json = False,
) -> None:
    """Spawn a proc and print its pid; with --wait also its status, and the exit code tells ok from not."""
    from sigmaos_ray import Proc

    what = program_of(program)
    proc = Proc(
        what.name,
        [*what.args, *(args or [])],
        mcpu=mcpu,
        mem_mb=mem_mb,
        env=environment(env or []),
        pid=pid or what.new_pid(),
        fresh=fresh or what.fresh,
    )
    with client() as sc:
        sc.spawn(proc)
        if not wait_for_it:
            print_json({"pid": proc.pid}) if as_json else print(proc.pid)
            return
        if not as_json:
            print(proc.pid, flush=True)  # before the wait: to look at it, or evict it, from another terminal
        status = sc.wait_exit(proc.pid)
    _finish(proc.pid, status, as_json)


def _finish(pid: str, status: Status, as_json: bool) -> None:
    if as_json:
        print_json({"pid": pid, "status": _described(status)})
    else:
        print(status)
    if not status.is_ok():
        raise typer.Exit(1)


def _described(status: Status) -> dict[str, object]:
    return {"code": status.code.name, "msg": status.msg, "data": status.data, "crash": status.is_crash()}


_PS: Final = ("PID", "PROGRAM", "STATE", "KERNEL NODE", "AGE", "NOTE")
_TOP: Final = ("KERNEL NODE", "QUEUED", "RUNNING", "CORES RESERVED", "MB RESERVED", "SPAWNED", "ENDED")

Watch = Annotated[bool, typer.Option("--watch", "-w", help="Look again and again, until Ctrl-C.")]
Interval = Annotated[float, typer.Option("--interval-s", min=0.1, help="With --watch: how often.")]


_INSTANCES: Final = ("STATE DIRECTORY", "STATE", "BOOT PID", "PROCESSES", "NAMED")


def ps(
    watch: Watch = False,
    interval_s: Interval = 1.0,
    instances: Annotated[
        bool, typer.Option("--instances", help="Instead: all instances of yours on this machine, crashed ones too.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List procs: queued, running, and ended ones whose status nobody collected."""
    _not_both(watch, as_json)
    if instances:
        _print_instances(as_json)
        return
    with client() as sc:
        if watch:
            follow_table(_PS, lambda: [_row(info) for info in _procs(sc)], interval_s)
        infos = _procs(sc)
    if as_json:
        print_json([_info(info) for info in infos])
    else:
        print_table(_PS, [_row(info) for info in infos])


def _print_instances(as_json: bool) -> None:
    from kernel.boot.instances import find_instances
    from sigmaos_ray.cli.system import TEMPORARY

    found = find_instances(TEMPORARY)
    if as_json:
        print_json(found)
        return
    rows = []
    for one in found:
        boot = str(one.instance.boot_pid) if one.instance is not None else "-"
        named = ", ".join(one.instance.named.addrs) if one.instance is not None and one.state == "running" else "-"
        rows.append([shown(one.state_dir), one.state, boot, str(one.process_count), named])
    print_table(_INSTANCES, rows)


def _not_both(watch: bool, as_json: bool) -> None:
    if watch and as_json:
        raise typer.BadParameter("--watch is for people: with --json ask again yourself")


def _procs(sc: SigmaClnt) -> list[ProcInfo]:
    return sorted(sc.procs(), key=lambda info: info.spawned_s)


def _row(info: ProcInfo) -> list[str]:
    return [
        shown(info.pid),
        shown(info.program),
        info.state,
        shown(info.node or info.kernel_id),
        _age(info),
        _note(info),
    ]


def top(watch: Watch = False, interval_s: Interval = 1.0, as_json: Json = False) -> None:
    """Show what each kernel node is at: procs that wait and run, and what they have reserved of it."""
    _not_both(watch, as_json)
    with client() as sc:
        if watch:
            follow_table(_TOP, lambda: _node_rows(_nodes(sc)), interval_s)
        nodes = _nodes(sc)
    if as_json:
        print_json(nodes)
    else:
        print_table(_TOP, _node_rows(nodes))


def _nodes(sc: SigmaClnt) -> dict[str, dict[str, Any]]:
    """What each schedd counts, by kernel id. One that goes while it is asked is left out."""
    nodes = {}
    for stat in sc.get_dir("name/schedd"):
        try:
            nodes[stat.name] = sc.read_srv_stats(f"name/schedd/{stat.name}")["procs"]
        except (serr.NotFound, *serr.SESSION_ERRORS):
            continue
    return nodes


def _node_rows(nodes: dict[str, dict[str, Any]]) -> list[list[str]]:
    return [
        [
            shown(kernel_id),
            str(procs["queued"]),
            str(procs["starting"] + procs["running"]),
            f"{procs['reserved_mcpu'] / 1000:g} of {procs['node_cores']:g}",
            f"{procs['reserved_mem_mb']:g} of {procs['node_mem_mb']:g}",
            str(procs["spawned"]),
            ", ".join(f"{count} {how}" for how, count in procs["ended"].items()),
        ]
        for kernel_id, procs in nodes.items()
    ]


def _info(info: ProcInfo) -> dict[str, object]:
    described = msgspec.structs.asdict(info)
    described["status"] = _described(info.status) if info.status is not None else None
    return described


def _age(info: ProcInfo) -> str:
    return f"{(info.ended_s or time.time()) - info.spawned_s:.1f} s" if info.spawned_s else "-"


def _note(info: ProcInfo) -> str:
    return shown(str(info.status)) if info.status is not None else info.note


def wait(
    pid: str,
    timeout_s: Annotated[float | None, typer.Option(min=0, help="Give up after so many seconds.")] = None,
    as_json: Json = False,
) -> None:
    """Wait for a proc's end and print its status, without collecting it. The exit code tells ok from not."""
    with client() as sc:
        status = sc.wait_exit(pid, timeout_s, peek=True)
    _finish(pid, status, as_json)


def evict(
    pid: str,
    grace_s: Annotated[float | None, typer.Option(min=0, help="Kill it after so many seconds.")] = None,
) -> None:
    """Ask a proc to end."""
    with client() as sc:
        sc.evict(pid, grace_s)
