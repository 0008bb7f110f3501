"""From a program's name to what is called, and from how the call ended to a Status."""

from __future__ import annotations

import asyncio
import functools
import importlib
import importlib.metadata
import inspect
import sys
import traceback
from types import FunctionType
from typing import TYPE_CHECKING, Final

from sigmaos_ray import serr
from sigmaos_ray.proc import Status, callables, carried
from sigmaos_ray.proc.names import module_names
from sigmaos_ray.runner import proclog

if TYPE_CHECKING:
    from collections.abc import Callable

    from sigmaos_ray.pb import proc_pb2 as pb

ENTRY_POINTS: Final = "sigmaos.programs"
"""The group under which installed packages register programs: ``name = "package.module:main"``."""


class NoProgram(Exception):  # told to the parent as it is
    """The program does not exist, or cannot be loaded (X-23)."""


def load(spec: pb.ProcSpec) -> Callable[..., object]:
    """What runs the program. NoProgram says why there is nothing."""
    carried.withdraw()
    if spec.pickled:
        try:
            return callables.loads(spec.pickled)
        except Exception as error:  # whatever the function's own imports raise
            raise NoProgram(f"function {spec.program!r} cannot be loaded here: {_last_line(error)}") from error
    if "/" in spec.program:
        from sigmaos_ray.runner import executables  # brings the whole client: only procs that are files pay for it

        return functools.partial(_launch, executables.main, spec.program)
    return _known.get(spec.program) or _found(spec.program)


_known: dict[str, Callable[..., object]] = {}


def know(program: str) -> None:
    """Looks a program up, for procs that are forked from here: as the modules are now. NoProgram."""
    _known[program] = _found(program)


def look_for_entry_points() -> None:
    """Ahead of all programs: it takes long, and what is forked from here need not do it."""
    _entry_points()


def _found(program: str) -> Callable[..., object]:
    names = module_names(program)
    # In this order: a module of ``user``, what a package registered, and only then any other module of that name.
    for name in names:
        main = _imported(name, program) or _registered(program)
        if main is not None:
            return main
    raise NoProgram(f"no program {program!r}: there is no module {' or '.join(names)}, nor an entry point")


def _launch(launcher: Callable[[list[str]], object], program: str, argv: list[str]) -> object:
    return launcher([program, *argv])


def _imported(name: str, program: str) -> Callable[..., object] | None:
    """A module's main; None if there is no such module."""
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        # The program itself is missing, or one of its packages; anything else is missing to a program that is there.
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise NoProgram(f"program {program!r} cannot be loaded: {_last_line(error)}") from error
        return None
    except Exception as error:  # whatever the module's top level raises
        raise NoProgram(f"program {program!r} cannot be loaded: {_last_line(error)}") from error
    return _main_of(module, program)


@functools.cache
def _entry_points() -> tuple[importlib.metadata.EntryPoint, ...]:
    """Of what is installed when they are first looked for: that reads the metadata of every package."""
    return tuple(importlib.metadata.entry_points(group=ENTRY_POINTS))


def _registered(program: str) -> Callable[..., object] | None:
    """What an installed package registered under the program's name; None if nothing is."""
    for point in _entry_points():
        if point.name != program:
            continue
        try:
            target = point.load()
        except Exception as error:  # whatever the module's top level raises
            raise NoProgram(f"program {program!r} ({point.value}) cannot be loaded: {_last_line(error)}") from error
        return target if callable(target) else _main_of(target, program)
    return None


def _main_of(module: object, program: str) -> Callable[..., object]:
    main = getattr(module, "main", None)
    if not callable(main):
        raise NoProgram(f"program {program!r}: module {getattr(module, '__name__', '?')} has no main(argv)")
    return main  # type: ignore[no-any-return]


def run(main: Callable[..., object], argv: list[str]) -> Status:
    """Calls it with the arguments alone, and awaits it if it is a coroutine. Never raises."""
    return ended(main, argv)[0]


def ended(main: Callable[..., object], argv: list[str]) -> tuple[Status, int]:
    """The same, with the exit code that its process has if it is its own."""
    try:
        returned = main(argv) if _takes_arguments(main) else main()
        if inspect.iscoroutine(returned):
            returned = asyncio.run(returned)
        return _of_return(returned), 0
    except SystemExit as stop:
        return _of_exit(stop.code)
    except BaseException as error:  # noqa: BLE001  # the program's error is its status
        traceback.print_exc(file=sys.stderr)
        return Status.err(_last_line(error)), 1


def _takes_arguments(main: Callable[..., object]) -> bool:
    if type(main) is FunctionType and not hasattr(main, "__wrapped__"):
        # What a signature would say, at a tenth of its price.
        return main.__code__.co_argcount > 0 or bool(main.__code__.co_flags & inspect.CO_VARARGS)
    try:
        parameters = inspect.signature(main).parameters.values()
    except (TypeError, ValueError):  # built in: it knows
        return True
    return any(parameter.kind is not inspect.Parameter.KEYWORD_ONLY for parameter in parameters)


def _of_return(value: object) -> Status:
    if isinstance(value, Status):
        return value
    try:
        return Status.info("", value)
    except serr.Inval as error:
        return Status.err(f"main returned a {type(value).__name__}: {error.msg}")


def _of_exit(code: object) -> tuple[Status, int]:
    """The status of a program that called ``sys.exit``: 0 is OK, anything else a crash (X-11)."""
    if code is None or code == 0:
        return Status.ok(), 0
    if isinstance(code, int):
        return Status.crash(proclog.exit_words(code)), code & 0xFF
    print(code, file=sys.stderr)
    return Status.crash(f"{proclog.exit_words(1)}: {code}"), 1


def _last_line(error: BaseException) -> str:
    return "".join(traceback.format_exception_only(error)).strip()
