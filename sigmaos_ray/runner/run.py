"""Running a proc's program in this process: what a Ray worker does. Knows nothing of Ray.

Between procs everything is put back; a program's errors become its status, and nothing it does raises here.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from sigmaos_ray import crash, debug
from sigmaos_ray.proc import Status
from sigmaos_ray.procclnt import reports
from sigmaos_ray.runner import children, isolation, proclog, program, surroundings
from sigmaos_ray.runner.freshness import Freshness
from sigmaos_ray.runner.redirect import Redirect
from sigmaos_ray.runner.spawntimes import SpawnTimes

if TYPE_CHECKING:
    from collections.abc import Callable

    from sigmaos_ray.config import ProcEnv
    from sigmaos_ray.pb import proc_pb2 as pb
    from sigmaos_ray.runner.children import Spared

_log = debug.selector("RUNNER")
_freshness = Freshness()


def run_program(
    spec: pb.ProcSpec,
    instance: ProcEnv,
    log_dir: str = "",
    times: SpawnTimes | None = None,
    spared: Spared | None = None,
) -> Status:
    """Runs the program to its end, on the main thread; blocks for it, and never raises. What the proc reported counts,
    else how its program ended. ``instance``: what procs of this node know of it, without what is the proc's own.
    ``log_dir``: where its output goes; "" leaves the streams as they are. ``times`` gets the stages. ``spared``: what
    this process had for itself before it ran programs; None: what it has now."""
    proc_env = surroundings.proc_env_of(spec, instance)
    env = surroundings.environment_of(spec, proc_env)
    # Children that the worker had before, for itself, are not the proc's, and stay.
    spared = children.present() if spared is None else spared
    times = times or SpawnTimes()
    redirect = Redirect(log_dir, spec.pid, spec.program)
    status = Status.ok()
    with redirect, isolation.isolated([spec.program, *spec.args], env), isolation.on_death(_noted(redirect)):
        debug.configure()
        crash.configure(who=spec.pid)
        _log(f"runs {spec.pid}")
        try:
            with surroundings.profiled(spec.program, env["SIGMAPERF"]), surroundings.faults():
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
            surroundings.close_clients()
            children.end_all(spared)
    debug.configure()
    crash.configure("")
    return reports.take(spec.pid) or status


def _noted(redirect: Redirect) -> Callable[[int | None, int | None], None]:
    def note(exit_code: int | None, signal_number: int | None) -> None:
        if signal_number is not None:
            redirect.note(proclog.signal_words(signal_number))
        elif exit_code is not None:
            redirect.note(proclog.exit_words(exit_code))

    return note
