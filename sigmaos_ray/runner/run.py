"""Running a proc's program in this process: what a Ray worker does. Knows nothing of Ray.

Between procs everything is put back; a program's errors become its status, and nothing it does raises here.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from sigmaos_ray import crash, debug
from sigmaos_ray.proc import Status
from sigmaos_ray.procclnt import reports
from sigmaos_ray.runner import children, isolation, proclog, program
from sigmaos_ray.runner.freshness import Freshness
from sigmaos_ray.runner.redirect import Redirect
from sigmaos_ray.runner.spawntimes import SpawnTimes
from sigmaos_ray.sessp import wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sigmaos_ray.config import ProcEnv
    from sigmaos_ray.pb import proc_pb2 as pb

_log = debug.selector("RUNNER")
_freshness = Freshness()
_start_delay = crash.point("PROC_START_DELAY")
_start_crash = crash.point("PROC_START_CRASH")
_exit_crash = crash.point("PROC_EXIT_CRASH")


def run_program(spec: pb.ProcSpec, instance: ProcEnv, log_dir: str = "", times: SpawnTimes | None = None) -> Status:
    """Runs the program to its end, on the main thread; blocks for it, and never raises. What the proc reported counts,
    else how its program ended. ``instance``: what procs of this node know of it, without what is the proc's own.
    ``log_dir``: where its output goes; "" leaves the streams as they are. ``times`` gets the stages."""
    proc_env = _proc_env(spec, instance)
    env = _environment(spec, proc_env)
    # Children that the worker had before, for itself, are not the proc's, and stay.
    spared = children.own()
    times = times or SpawnTimes()
    redirect = Redirect(log_dir, spec.pid, spec.program)
    status = Status.ok()
    with redirect, isolation.isolated([spec.program, *spec.args], env), isolation.on_death(_noted(redirect)):
        debug.configure()
        crash.configure(who=spec.pid)
        _log(f"runs {spec.pid}")
        try:
            with _profiled(spec.program, env["SIGMAPERF"]), _faults():
                _freshness.forget_changed()
                main = program.load(spec)
                _freshness.note()
                times.main_begins()
                status = program.run(main, list(spec.args))
                times.main_ended()
        except program.NoProgram as error:
            print(error, file=sys.stderr)
            status = Status.err(str(error))
        finally:
            # Clients first, while the proc's environment and log are still in place; then its children, which may hold
            # the log open. Both before the status goes out: whoever gets it may count on all of the proc being over.
            _close_clients()
            children.end_all(spared)
    debug.configure()
    crash.configure("")
    return reports.take(spec.pid) or status


@contextmanager
def _faults() -> Iterator[None]:
    """Within the block, and at its borders, SIGMAFAIL does to the proc what it asks for."""
    for begins in (_start_delay, _start_crash):
        if begins.on:
            begins.passed()
    with crash.arm("PROC_CRASH"):
        yield
    if _exit_crash.on:
        _exit_crash.passed()


@contextmanager
def _profiled(name: str, spec: str) -> Iterator[None]:
    """Within the block the program is profiled, if SIGMAPERF names it. The profile is written at its end, also if the
    program ends the whole process."""
    if not spec:
        yield
        return
    from sigmaos_ray.perf import selection, session  # costs a worker some memory: only for those that ask

    perf = session.opened(selection.selector_of(name), spec=spec)
    if perf is None:
        yield
        return
    with perf, isolation.on_death(lambda _code, _signal: perf.done()):
        yield


def _proc_env(spec: pb.ProcSpec, instance: ProcEnv) -> ProcEnv:
    return msgspec.structs.replace(
        instance,
        pid=spec.pid,
        program=spec.program,
        parent_pid=spec.parent_pid,
        package=spec.package,
        secrets=tuple(wire.secret_from_pb(secret) for secret in spec.secrets),
        debug=spec.env.get("SIGMADEBUG", instance.debug),
        perf=spec.env.get("SIGMAPERF", instance.perf),
        fail=spec.env.get("SIGMAFAIL", instance.fail),
    )


def _environment(spec: pb.ProcSpec, proc_env: ProcEnv) -> dict[str, str]:
    """The variables of X-4. Those that came with the proc win, but for the ones that say who it is."""
    own = {"SIGMADEBUG": proc_env.debug, "SIGMAPERF": proc_env.perf, "SIGMAFAIL": proc_env.fail}
    return {**own, **spec.env, "SIGMACONFIG": proc_env.to_json(), "SIGMADEBUGPID": spec.pid}


def _noted(redirect: Redirect) -> Callable[[int | None, int | None], None]:
    def note(exit_code: int | None, signal_number: int | None) -> None:
        if signal_number is not None:
            redirect.note(proclog.signal_words(signal_number))
        elif exit_code is not None:
            redirect.note(proclog.exit_words(exit_code))

    return note


def _close_clients() -> None:
    """Closes what the program's clients left open, if it had any."""
    # Not imported here: most short procs have no client, and would pay for the import.
    sigmaclnt = sys.modules.get("sigmaos_ray.sigmaclnt")
    if sigmaclnt is None:
        return
    try:
        sigmaclnt.close_all()
    except Exception as error:  # noqa: BLE001  # the proc's status counts, not how its sessions ended
        debug.error(f"closing clients: {type(error).__name__}: {error}")
