"""What an instance leaves behind: its processes, noted while it runs and looked for when it has stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sigmaos_ray.instance import Instance

END_WAIT_S = 5.0
"""How long processes may take to end once their instance has stopped."""


class Processes:
    """The processes of one instance. A psutil.Process knows its start time: a reused id is not mistaken for it."""

    def __init__(self) -> None:
        self._seen: set[psutil.Process] = set()

    def note(self, instance: Instance) -> None:
        """Notes the boot process, the recorded children, and all that descends from them now: once they have ended,
        nobody can tell whose the processes were that they leave behind."""
        for pid in (instance.boot_pid, *(child.pid for child in instance.children)):
            try:
                process = psutil.Process(pid)
                self._seen |= {process, *process.children(recursive=True)}
            except psutil.NoSuchProcess:  # it ended meanwhile: nothing to look for
                continue

    def remaining(self) -> list[str]:
        """Blocks up to ``END_WAIT_S`` until all of them have ended; describes those that have not. Zombies count as
        ended: they are their parent's."""
        _, alive = psutil.wait_procs(list(self._seen), timeout=END_WAIT_S)
        return sorted(_describe(alive))


def _describe(processes: list[psutil.Process]) -> Iterator[str]:
    for process in processes:
        try:
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                yield f"{process.pid} {' '.join(process.cmdline())[:120]}"
        except psutil.NoSuchProcess:
            continue
