"""What stands around a program, in whichever process it runs: who it is, its faults, its profile, its clients."""

from __future__ import annotations

import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import msgspec

from sigmaos_ray import crash, debug
from sigmaos_ray.perf import ondemand
from sigmaos_ray.runner import isolation
from sigmaos_ray.sessp import wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sigmaos_ray.config import ProcEnv
    from sigmaos_ray.pb import proc_pb2 as pb

_start_delay = crash.point("PROC_START_DELAY")
_start_crash = crash.point("PROC_START_CRASH")
_exit_crash = crash.point("PROC_EXIT_CRASH")


@contextmanager
def faults() -> Iterator[None]:
    """Within the block, and at its borders, SIGMAFAIL does to the proc what it asks for."""
    for begins in (_start_delay, _start_crash):
        if begins.on:
            begins.passed()
    with crash.arm("PROC_CRASH"):
        yield
    if _exit_crash.on:
        _exit_crash.passed()


@contextmanager
def profiled(name: str, spec: str) -> Iterator[None]:
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


def answer_profiles() -> None:
    """From now on somebody may ask for profiles of this process, from without. In the main thread."""
    ondemand.answer_when_asked(_start_agent)


def _start_agent() -> None:
    from sigmaos_ray.perf import remote  # only who is asked for a profile pays for it

    with suppress(OSError):  # it has one
        remote.Agent()


def proc_env_of(spec: pb.ProcSpec, instance: ProcEnv, token: str = "") -> ProcEnv:
    """What a proc knows. ``instance``: what procs of its node know of it, without what is the proc's own. ``token``:
    its credentials; empty: those that ``instance`` has."""
    return msgspec.structs.replace(
        instance,
        pid=spec.pid,
        token=token or instance.token,
        program=spec.program,
        parent_pid=spec.parent_pid,
        package=spec.package,
        secrets=tuple(wire.secret_from_pb(secret) for secret in spec.secrets),
        debug=spec.env.get("SIGMADEBUG", instance.debug),
        perf=spec.env.get("SIGMAPERF", instance.perf),
        fail=spec.env.get("SIGMAFAIL", instance.fail),
    )


def environment_of(spec: pb.ProcSpec, proc_env: ProcEnv) -> dict[str, str]:
    """The variables of X-4. Those that came with the proc win, but for the ones that say who it is."""
    own = {"SIGMADEBUG": proc_env.debug, "SIGMAPERF": proc_env.perf, "SIGMAFAIL": proc_env.fail}
    return {**own, **spec.env, "SIGMACONFIG": proc_env.to_json(), "SIGMADEBUGPID": spec.pid}


def close_clients() -> None:
    """Closes what the program's clients left open, if it had any."""
    # Not imported here: most short procs have no client, and would pay for the import.
    sigmaclnt = sys.modules.get("sigmaos_ray.sigmaclnt")
    if sigmaclnt is None:
        return
    try:
        sigmaclnt.close_all()
    except Exception as error:  # noqa: BLE001  # the proc's status counts, not how its sessions ended
        debug.error(f"closing clients: {type(error).__name__}: {error}")
