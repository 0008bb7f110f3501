"""Every instance of this user on this machine, also those whose boot process, or state directory, is gone.

What an instance starts has ``MARK`` in its environment, with the state directory: so its processes are found though
nobody recorded them, and whatever became of the record. Ray's own overwrite their environments; they are found by the
session, which the record names.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from kernel.boot.children import end_processes
from kernel.boot.handle import MARK, is_running, stop_instance
from kernel.boot.raysession import processes_of
from sigmaos_ray import serr
from sigmaos_ray.config import LOCAL
from sigmaos_ray.instance import STATE_FILE_NAME, Instance, read_instance, state_dir
from sigmaos_ray.machine import OsProcess, own_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

_DEPTH: Final = ("", "/state")
"""Where, below a temporary directory, the state may be."""


class FoundInstance(msgspec.Struct, frozen=True, kw_only=True):
    """One that runs, or what one left."""

    state_dir: str
    state: str
    """``running``, ``starting``, or ``crashed``: boot is gone, and something is left."""
    process_count: int
    is_temporary: bool
    """Made for a run of tests or of the demo, which would have removed it."""
    instance: Instance | None = None
    """What it says of itself, if it still does."""


def find_instances(temporary: Sequence[str] = ()) -> list[FoundInstance]:
    """``temporary``: how names of directories begin, in the directory for temporary files, that runs of tests make."""
    marked = _marked()
    directories = {str(state_dir()), *marked, *_temporary_states(temporary)}
    found = (_look(directory, marked.get(directory, []), temporary) for directory in sorted(directories))
    return [instance for instance in found if instance is not None]


def _look(directory: str, marked: Sequence[OsProcess], temporary: Sequence[str]) -> FoundInstance | None:
    instance = _read(directory)
    processes = _processes(instance, marked)
    runs = instance is not None and is_running(instance)
    if not processes and not runs and (instance is None or not instance.boot.is_here):
        return None
    is_starting = instance is None and any(_is_boot(process) for process in processes)
    return FoundInstance(
        state_dir=directory,
        state="running" if runs else "starting" if is_starting else "crashed",
        process_count=len(processes),
        is_temporary=_temporary_root(directory, temporary) is not None,
        instance=instance,
    )


def _read(directory: str) -> Instance | None:
    with contextlib.suppress(msgspec.DecodeError, OSError):  # of something else, or not ours to read
        return read_instance(Path(directory) / STATE_FILE_NAME)
    return None


def _processes(instance: Instance | None, marked: Sequence[OsProcess]) -> set[OsProcess]:
    """What lives of an instance, as far as it can be told."""
    of_session = processes_of(instance.ray_temp_dir) if instance is not None and instance.ray_temp_dir else []
    return {process for process in (*marked, *of_session) if process.is_alive()}


def _is_boot(process: OsProcess) -> bool:
    with contextlib.suppress(OSError):
        return b"kernel.boot" in Path(f"/proc/{process.pid}/cmdline").read_bytes().split(b"\0")
    return False


def _marked() -> dict[str, list[OsProcess]]:
    """This user's processes by the state directory that they have in their environment. Not the caller, nor what it
    was started by: a proc may stop instances, its own too."""
    spared = {process.pid for process in own_line()}
    found: dict[str, list[OsProcess]] = {}
    for entry in os.scandir("/proc"):
        if not entry.name.isdecimal() or int(entry.name) in spared:
            continue
        process = OsProcess.of(int(entry.name))
        directory = _marked_with(int(entry.name))
        if process is not None and directory:
            found.setdefault(directory, []).append(process)
    return found


def _marked_with(pid: int) -> str:
    """The mark of a process; empty if it has none, or is not ours to look at."""
    wanted = f"{MARK}=".encode()
    try:
        if os.stat(f"/proc/{pid}").st_uid != os.geteuid():
            return ""
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return ""
    return next((os.fsdecode(text.removeprefix(wanted)) for text in variables if text.startswith(wanted)), "")


def _temporary_states(temporary: Sequence[str]) -> Iterator[str]:
    for prefix in temporary:
        for root in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
            for below in _DEPTH:
                if (Path(f"{root}{below}") / STATE_FILE_NAME).exists():
                    yield f"{root}{below}"


def _temporary_root(directory: str, temporary: Sequence[str]) -> Path | None:
    """What goes with a temporary state directory; None if it is none, or not this user's."""
    base = Path(tempfile.gettempdir())
    for root in (Path(directory), Path(directory).parent):
        if root.parent == base and root.name.startswith(tuple(temporary)):
            is_ours = not root.exists() or root.stat().st_uid == os.geteuid()
            return root if is_ours else None
    return None


def stop_instances(
    temporary: Sequence[str], on_line: Callable[[str], None], *, only: Callable[[str], bool] = lambda _: True
) -> Mapping[str, serr.SigmaError | None]:
    """Stops every instance, ends what others left, and removes temporary directories; returns, by state directory, why
    one could not be stopped. ``only``: of these state directories."""
    results: dict[str, serr.SigmaError | None] = {}
    for found in find_instances(temporary):
        if not only(found.state_dir):
            continue
        try:
            _stop(found)
        except serr.SigmaError as error:
            results[found.state_dir] = error
            continue
        results[found.state_dir] = None
        root = _temporary_root(found.state_dir, temporary)
        if root is not None:
            shutil.rmtree(root, ignore_errors=True)
        on_line(f"stopped {found.state_dir}{' and removed it' if root is not None else ''}")
    return results


def _stop(found: FoundInstance) -> None:
    if found.instance is not None and Path(found.state_dir).is_dir():
        stop_instance(found.state_dir)
    # Once more from the marks: what nobody recorded, and what was started meanwhile.
    end_processes(_marked().get(found.state_dir, []), LOCAL.boot.part_stop_timeout_s)
