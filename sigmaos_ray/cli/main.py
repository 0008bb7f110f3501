"""``sigmaos``: one verb a command. Exit code 0 or not; errors are one line on stderr (``--debug``: the traceback)."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from sigmaos_ray import extras, serr
from sigmaos_ray.cli import (
    backup,
    doctor,
    environment,
    files,
    kv,
    logs,
    mount,
    mr,
    perf,
    procs,
    running,
    stats,
    system,
    terminal,
)
from sigmaos_ray.cli import debug as debug_verb
from sigmaos_ray.cli import realm as realm_verbs
from sigmaos_ray.cli.context import error_line, options, shown
from sigmaos_ray.sigmap.text import escaped

INTERRUPTED = 130

app = typer.Typer(
    name="sigmaos",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="SigmaOS on Ray: one namespace for storage, services and procs.",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(is_given: bool) -> None:
    if is_given:
        from importlib.metadata import version

        print(f"sigmaos-ray {version('sigmaos-ray')}")
        raise typer.Exit


@app.callback()
def _global_options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    realm: Annotated[str | None, typer.Option(help="The realm to work in.")] = None,
    state_dir: Annotated[
        Path | None, typer.Option(help="Where the instance keeps its state (default: SIGMAOS_STATE_DIR).")
    ] = None,
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    options.debug = debug
    options.state_dir = state_dir.absolute() if state_dir else None
    # Into the environment as well: what a command starts, and the client, look there.
    if state_dir:
        os.environ["SIGMAOS_STATE_DIR"] = str(state_dir.absolute())
    if realm:
        os.environ["SIGMAOS_REALM"] = realm


_FILES = (files, mount, mr, kv)
_GROUPS = (system, environment, doctor, backup, logs, *_FILES, procs, running, stats, debug_verb, perf, realm_verbs)
for group in _GROUPS:
    group.register(app)


def main() -> NoReturn:
    """The console script. Errors become one line and an exit code: 2 for a wrong call, 130 for Ctrl-C, else 1."""
    with terminal.safe_streams():
        code = terminal.flushed(_run())
    sys.exit(code)


def _run() -> int:
    try:
        code = app(standalone_mode=False)
    except SystemExit as end:  # by a signal
        return end.code if isinstance(end.code, int) else 1
    except typer.TyperException as error:
        _report(_usage(error))
        return 2
    except (typer.Abort, KeyboardInterrupt):
        _report("interrupted")
        return INTERRUPTED
    except (terminal.NobodyReads, BrokenPipeError):
        return 0
    except (serr.SigmaError, extras.MissingExtra, OSError) as error:
        _report(error_line(error))
        return 1
    except Exception as error:  # noqa: BLE001  # the outermost frame: a defect is told in one line, too
        _report(f"{type(error).__name__}: {error} (--debug shows where)")
        return 1
    return code if isinstance(code, int) else 0


def _usage(error: typer.TyperException) -> str:
    """What was wrong with the call, and where to read how it goes."""
    reason = error.format_message() if hasattr(error, "format_message") else str(error)
    ctx = getattr(error, "ctx", None)
    verb = f"{ctx.command.name} " if ctx is not None and ctx.parent is not None else ""
    return f"{reason or 'a command is missing'} (see `sigmaos {verb}--help`)"


def _report(text: str) -> None:
    if options.debug:
        traceback.print_exc()
    sys.stderr.write(f"sigmaos: {shown(escaped(' '.join(text.split())))}\n")
