"""Proc: what a client asks to be run, checked when it is made. No I/O."""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

from sigmaos_ray import serr
from sigmaos_ray.pb import proc_pb2 as pb
from sigmaos_ray.proc import callables
from sigmaos_ray.sigmap import NAMED, path

Tpid: TypeAlias = str
"""A proc's name: unique within its realm."""

Program: TypeAlias = str | Callable[..., object]
"""``"example"`` (module ``user.example``, or what a package registered under the entry-point group
``sigmaos.programs``), ``"pkg.module"``, the pathname of an executable (``"name/ux/~local/bin/x"``, with the parent's
``~local``), or a function."""

_NO_FUNCTION: Final = callables.ShippedFunction(b"", "")
_PROGRAM_TEXT: Final = re.compile(r"[A-Za-z_][\w-]*(\.[A-Za-z_][\w-]*)*")


class Proc:
    """A program to run, with its arguments, environment and needs. Inval, naming what is wrong, for what cannot run.

    ``mcpu``: thousandths of a core, reserved from start to end; 0 is best effort. ``mem_mb`` is reserved too.
    ``fresh``: a process that has imported none of its modules yet. ``reuse``: the worker's own process, as Ray's tasks
    have it, for bursts of small functions. ``kernels``: the kernel nodes that qualify (X-33). ``pid``: must be unique.
    """

    __slots__ = ("args", "env", "fresh", "kernels", "mcpu", "mem_mb", "pickled", "pid", "program", "reuse", "source")

    def __init__(
        self,
        program: Program,
        args: Sequence[str] = (),
        *,
        mcpu: float = 0,
        mem_mb: float = 0,
        env: Mapping[str, str] | None = None,
        pid: Tpid | None = None,
        fresh: bool = False,
        reuse: bool = False,
        kernels: Sequence[str] = (),
    ) -> None:
        self.program, (self.pickled, self.source) = _program(program)
        self.args = _strings("args", args)
        self.env = _environment(env or {})
        self.mcpu = _amount("mcpu", mcpu)
        self.mem_mb = _amount("mem_mb", mem_mb)
        self.pid: Tpid = f"{_short(self.program)}-{secrets.token_hex(8)}" if pid is None else pid
        check_pid(self.pid)
        self.fresh, self.reuse = bool(fresh), bool(reuse)
        if fresh and reuse:
            raise serr.Inval(self.pid, "fresh and reuse exclude each other")
        self.kernels = _strings("kernels", kernels)

    def __repr__(self) -> str:
        return f"Proc({self.pid!r}, args={self.args!r})"

    def to_pb(self) -> pb.ProcSpec:
        """What is sent to the schedd; who spawns fills in realm and parent. Inval for what was changed into something
        that no message can carry."""
        try:
            return pb.ProcSpec(
                pid=self.pid,
                program=self.program,
                args=self.args,
                env=self.env,
                mcpu=self.mcpu,
                mem_mb=self.mem_mb,
                fresh=self.fresh,
                reuse=self.reuse,
                pickled=self.pickled,
                kernels=self.kernels,
            )
        except (TypeError, ValueError) as error:
            raise serr.Inval(self.pid, str(error)) from error


def check_pid(pid: object) -> None:
    """Inval unless it can be a file's name."""
    if not isinstance(pid, str):
        raise serr.Inval(repr(pid), f"a pid is text, not {type(pid).__name__}")
    reason = path.why_bad_name(pid)
    if reason is None and path.is_union(pid):
        reason = "a reserved name"
    if reason is None and len(pid.encode()) > 200:
        reason = "a pid has at most 200 bytes"  # its log's name is longer than the pid
    if reason is not None:
        raise serr.Inval(pid, f"pid: {reason}")


def _program(program: object) -> tuple[str, callables.ShippedFunction]:
    """A program's name, and if it is a function, that on its way."""
    if isinstance(program, str):
        if "/" in program:
            return _pathname(program), _NO_FUNCTION
        if not _PROGRAM_TEXT.fullmatch(program):
            raise serr.Inval(program, "program: not the name of a module")
        return program, _NO_FUNCTION
    if not callable(program):
        raise serr.Inval(repr(program), f"program: neither a name nor a function, but {type(program).__name__}")
    name = str(getattr(program, "__name__", type(program).__name__))
    return re.sub(r"\W+", "", name) or "callable", callables.dumps(program, name)


def _pathname(program: str) -> str:
    parts = path.split(program)
    if parts[:1] != [NAMED] or len(parts) < 2 or path.is_union(parts[-1]) or path.resolves(program) or "\0" in program:
        raise serr.Inval(program, f"program: not the pathname of a file below {NAMED}/")
    return serr.check_utf8("program", program)


def _short(program: str) -> str:
    """A program's name as a pid begins with it."""
    return re.sub(r"[^\w.-]", "_", program.rpartition("/")[2])[:64].lstrip("~.") or "executable"


def _strings(what: str, values: object) -> list[str]:
    if isinstance(values, str | bytes) or not isinstance(values, Sequence):
        raise serr.Inval(what, f"a sequence of str is wanted, not {values!r}")
    for value in values:
        if not isinstance(value, str):
            raise serr.Inval(what, f"str is wanted, not {value!r}")
        serr.check_utf8(what, value)
    return list(values)


def _environment(env: object) -> dict[str, str]:
    if not isinstance(env, Mapping):
        raise serr.Inval("env", f"a mapping is wanted, not {env!r}")
    for name, value in env.items():
        if not isinstance(name, str) or not name or "=" in name or "\0" in name:
            raise serr.Inval("env", f"not the name of a variable: {name!r}")
        if not isinstance(value, str) or "\0" in value:
            raise serr.Inval("env", f"{name}: not the value of a variable: {value!r}")
        serr.check_utf8("env", name)
        serr.check_utf8(f"env: {name}", value)
    return dict(env)


def _amount(what: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise serr.Inval(what, f"a number is wanted, not {value!r}")
    if not math.isfinite(value) or value < 0:
        raise serr.Inval(what, f"{value}: a number over 0, or 0 for none")
    return value
