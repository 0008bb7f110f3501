"""Programs run as they are on the disk now: a process that has imported an older one imports it again.

Only what the user may edit while procs run is looked at: modules that the process's PYTHONPATH led to. Not this package
itself, which runs.
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
import sysconfig
from typing import Final, TypeAlias

_OURS: Final = ("sigmaos_ray", "kernel")


class Freshness:
    """Of the modules of one process. Used by the thread that runs its procs."""

    def __init__(self, roots: list[str] | None = None) -> None:
        """``roots``: where modules are that may be edited; by default what PYTHONPATH names."""
        named = os.environ.get("PYTHONPATH", "").split(os.pathsep) if roots is None else roots
        self._roots = tuple(os.path.join(root, "") for root in named if root)
        self._stamps: dict[str, tuple[str, int]] = {}
        """File and time of change, by the module's name."""
        self._modules_count = 0

    def note(self) -> None:
        """After a program was imported, or has run: remembers what its modules' files were like."""
        if len(sys.modules) == self._modules_count:
            return
        for name, module in list(sys.modules.items()):
            if name not in self._stamps and name.partition(".")[0] not in _OURS and name != "__main__":
                file = getattr(module, "__file__", None)
                if isinstance(file, str) and file.startswith(self._roots) and "site-packages" not in file:
                    self._stamps[name] = (file, _changed_ns(file))
        self._modules_count = len(sys.modules)

    def forget_changed(self) -> None:
        """Before a program is imported: if the file of any of those modules is another one now, all of them are
        imported anew. All, since each may hold what it took from the others."""
        if all(_changed_ns(file) == stamp for file, stamp in self._stamps.values()):
            return
        for name in self._stamps:
            sys.modules.pop(name, None)
        self._stamps.clear()
        self._modules_count = 0
        importlib.invalidate_caches()


def _changed_ns(file: str) -> int:
    """0 for a file that is gone."""
    try:
        return os.stat(file).st_mtime_ns
    except OSError:
        return 0


Stamp: TypeAlias = tuple[int, int, int]
"""What a file was like: when it changed, its size, its number on the disk."""


def stamp_of(file: str) -> Stamp:
    """Zeros for a file that is gone."""
    try:
        found = os.stat(file)
    except OSError:
        return 0, 0, 0
    return found.st_mtime_ns, found.st_size, found.st_ino


@functools.cache
def _installed() -> tuple[str, ...]:
    """Where what is installed stands."""
    paths = (sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib"))
    return tuple({os.path.join(os.path.realpath(path), "") for path in paths} | {"<frozen"})


def is_users(name: str, file: object) -> bool:
    """Whether a module may be edited while procs run: it is neither installed nor this package."""
    if not isinstance(file, str) or name.partition(".")[0] in _OURS or name == "__main__":
        return False
    return not ("site-packages" in file or "dist-packages" in file or file.startswith(_installed()))
