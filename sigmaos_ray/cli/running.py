"""``exec`` and ``run``: a command of the machine as a proc, and a program over many files."""

from __future__ import annotations

import fnmatch
import os
import secrets
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from sigmaos_ray import serr
from sigmaos_ray.cli.context import client, ending_on_signals, print_json, print_table, shown
from sigmaos_ray.cli.logs import FollowedLog
from sigmaos_ray.cli.programs import environment, program_of
from sigmaos_ray.cli.trees import LocalTree, NamespaceTree
from sigmaos_ray.runner import command as command_program
from sigmaos_ray.sigmap import NAMED, path

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sigmaos_ray import SigmaClnt
    from sigmaos_ray.cli.demo_view import View
    from sigmaos_ray.proc import Status

_LOOK_AGAIN_S: Final = 0.2
_GRACE_S: Final = 5.0
_SIGNALLED: Final = 128

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Mcpu = Annotated[int, typer.Option(min=0, help="Thousandths of a core to reserve; 0: best effort.")]
MemMb = Annotated[int, typer.Option(min=0, help="Memory to reserve, in MB.")]
Env = Annotated[list[str] | None, typer.Option("--env", metavar="NAME=VALUE")]


def register(app: typer.Typer) -> None:
    # What stands behind the command belongs to the command, dashes or not.
    rest = {"allow_interspersed_args": False, "ignore_unknown_options": False}
    app.command("exec", context_settings=rest)(execute)
    app.command(context_settings=rest)(run)


def execute(
    command: Annotated[list[str], typer.Argument(metavar="COMMAND [ARG]...", help="By its name or path there.")],
    mcpu: Mcpu = 0,
    mem_mb: MemMb = 0,
    env: Env = None,
    detach: Annotated[bool, typer.Option("--detach", help="Print the pid and do not wait.")] = False,
) -> None:
    """Run a command of any machine as a proc, print what it prints, and end with its exit code. Ctrl-C evicts it."""
    from sigmaos_ray import Proc

    name = os.path.basename(command[0]) or "command"
    pid = f"{_as_pid(name)}-{secrets.token_hex(8)}"
    args = [os.getcwd(), *command]
    proc = Proc(command_program.PROGRAM, args, mcpu=mcpu, mem_mb=mem_mb, env=environment(env or []), pid=pid)
    with ending_on_signals(), client() as sc:
        sc.spawn(proc)
        if detach:
            print(pid)
            return
        status = _follow(sc, pid)
    raise typer.Exit(_exit_code(status))


def _as_pid(name: str) -> str:
    return "".join(char if char.isalnum() or char in "-_." else "_" for char in name)[:64].lstrip(".")


def _follow(sc: SigmaClnt, pid: str) -> Status:
    """Prints a proc's log as it grows; returns how it ended. Whatever interrupts this evicts the proc."""
    log = FollowedLog(sc, pid)
    try:
        while True:
            try:
                status = sc.wait_exit(pid, _LOOK_AGAIN_S)
            except serr.Timeout:
                log.print_new()
            else:
                log.print_new(is_end=True)
                return status
    except BaseException:  # Ctrl-C as well: nobody waits for the proc any more
        sc.evict(pid, _GRACE_S)
        raise


def _exit_code(status: Status) -> int:
    code = status.data.get(command_program.EXIT_CODE) if isinstance(status.data, dict) else None
    if isinstance(code, int):
        return code if code >= 0 else _SIGNALLED - code
    if not status.is_ok():
        sys.stderr.write(f"sigmaos: {status}\n")
        return 1
    return 0


def run(
    program: Annotated[str, typer.Argument(metavar="PROGRAM", help="example, a module: pkg.module, or FILE.py")],
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...",
            help="Pathnames, * and ? in the last name, a directory for all its files; or files of this machine.",
        ),
    ],
    parallel: Annotated[bool, typer.Option("--parallel", help="All at a time, wherever there is room.")] = False,
    mcpu: Mcpu = 0,
    mem_mb: MemMb = 0,
    env: Env = None,
    as_json: Json = False,
) -> None:
    """Run a program once for each file, one after another or in parallel, and show what came out. Numbers are added up.
    Files of this machine are in the namespace meanwhile. Exit code 1 if one failed; Ctrl-C evicts what runs."""
    from sigmaos_ray import Proc
    from sigmaos_ray.cli.demo_view import make_view

    what = program_of(program)
    view = make_view(as_json=as_json)
    with ending_on_signals(), client() as sc, _in_namespace(sc, files) as pathnames:
        procs = [
            Proc(
                what.name,
                [*what.args, pathname],
                mcpu=mcpu,
                mem_mb=mem_mb,
                env=environment(env or []),
                pid=what.new_pid(),
                fresh=what.fresh,
            )
            for pathname in pathnames
        ]
        began_s = time.monotonic()
        view.begin(f"{what.title}, one proc per file", len(procs))
        try:
            statuses = _run_all(sc, procs, len(procs) if parallel else 1, view)
        finally:
            view.end()
    _show(list(zip(pathnames, statuses, strict=True)), time.monotonic() - began_s, as_json)
    if not all(status.is_ok() for status in statuses):
        raise typer.Exit(1)


def _run_all(sc: SigmaClnt, procs: Sequence[Any], at_a_time: int, view: View) -> list[Status]:
    """How each of them ended, in order. Whatever interrupts this evicts those that run."""
    from sigmaos_ray import Status

    ended: dict[str, Status] = {}
    names = {proc.pid: proc.args[-1] for proc in procs}
    running: set[str] = set()
    try:
        for first in range(0, len(procs), at_a_time):
            batch = procs[first : first + at_a_time]
            running |= {proc.pid for proc in batch}
            failed, errors = sc.spawn_burst(batch)
            for proc, error in zip(failed, errors, strict=True):
                running.discard(proc.pid)
                ended[proc.pid] = Status.err(str(error))
                view.step(f"{shown(path.basename(names[proc.pid]))}: {error}")
            for pid, status in sc.as_completed(list(running)):
                running.discard(pid)
                ended[pid] = status
                view.step(f"{shown(path.basename(names[pid]))}: {shown(': '.join(filter(None, _brief(status))))}")
    except BaseException:  # Ctrl-C as well: nobody waits for these any more
        for pid in running:
            sc.evict(pid, _GRACE_S)
        raise
    return [ended[proc.pid] for proc in procs]


def _brief(status: Status) -> tuple[str, str]:
    return status.code.name, status.msg


def _show(results: Sequence[tuple[str, Status]], took_s: float, as_json: bool) -> None:
    if as_json:
        described = [
            {"file": file, "status": status.code.name, "msg": status.msg, "data": status.data}
            for file, status in results
        ]
        print_json({"files": described, "seconds": round(took_s, 3)})
        return
    cells = [_cells(status) for _, status in results]
    columns = list(dict.fromkeys(name for row in cells for name in row if name != "file"))
    rows = [
        [shown(path.basename(file)), status.code.name, *(_text(row.get(name, "")) for name in columns)]
        for (file, status), row in zip(results, cells, strict=True)
    ]
    total = ["total", f"{took_s:.1f} s", *(_total([row.get(name) for row in cells]) for name in columns)]
    print_table(["FILE", "STATUS", *(name.upper() for name in columns)], [*rows, total])


def _cells(status: Status) -> dict[str, object]:
    """What a status has to show, by column."""
    if not status.is_ok():
        return {"result": status.msg}
    if isinstance(status.data, dict):
        return {str(name): value for name, value in status.data.items()}
    return {"result": status.data if status.data is not None else status.msg}


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else shown(str(value))


def _total(values: Sequence[object]) -> str:
    """The sum of a column of numbers; empty for any other one."""
    present = [value for value in values if value is not None]
    numbers = [value for value in present if isinstance(value, int | float) and not isinstance(value, bool)]
    return _text(sum(numbers)) if numbers and len(numbers) == len(present) else ""


@contextmanager
def _in_namespace(sc: SigmaClnt, files: Sequence[str]) -> Iterator[list[str]]:
    """What is to be run over, as pathnames that mean the same for every proc. Those of this machine's files are there
    for the length of the block."""
    directory = ""
    pathnames: list[str] = []
    try:
        for file in files:
            if path.split(file)[:1] == [NAMED]:
                pathnames += _expanded(sc, file)
                continue
            if not directory:
                directory = sc.resolve_mounts(f"name/ux/~any/sigmaos-run-{secrets.token_hex(8)}")
                sc.mkdir(directory)
            pathnames.append(_put(sc, file, directory, len(pathnames)))
        yield pathnames
    finally:
        if directory:
            sc.rmdir(directory)


def _put(sc: SigmaClnt, file: str, directory: str, number: int) -> str:
    if Path(file).is_dir():
        raise serr.IsDir(file, "name the files in it")
    own = path.join(directory, str(number))  # files of two directories may have one name
    sc.mkdir(own)
    pathname = path.join(own, os.path.basename(file))
    with LocalTree().open(file) as source:
        NamespaceTree(sc).write(pathname, source, 0o644)
    return pathname


def _expanded(sc: SigmaClnt, pathname: str) -> list[str]:
    """The files that a pathname means: of a directory those directly in it, but for hidden ones."""
    concrete = sc.resolve_mounts(pathname)
    last = path.basename(concrete)
    if any(char in last for char in "*?["):
        directory = path.dirname(concrete)
        names = [stat.name for stat in sc.get_dir(f"{directory}/") if not stat.is_dir]
        found = [path.join(directory, name) for name in fnmatch.filter(names, last) if not name.startswith((".", "_"))]
        if not found:
            raise serr.NotFound(pathname, "no file matches")
        return found
    if not sc.stat(f"{concrete.rstrip('/')}/").is_dir:
        return [concrete]
    entries = [stat.name for stat in sc.get_dir(f"{concrete.rstrip('/')}/") if not stat.is_dir]
    return [path.join(concrete, name) for name in entries if not name.startswith((".", "_"))]
