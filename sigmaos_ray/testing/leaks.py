"""What an instance leaves behind: its processes, noted while it runs and looked for when it has stopped."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from sigmaos_ray.config import LOCAL
from sigmaos_ray.machine import descendants

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sigmaos_ray.instance import Instance
    from sigmaos_ray.machine import OsProcess

END_WAIT_S = 5.0
"""How long processes may take to end once their instance has stopped."""


class Processes:
    """The processes of one instance, each known by its start: a number that is used again is not mistaken for it, nor
    does a change of the clock make one a stranger."""

    def __init__(self) -> None:
        self._seen: set[OsProcess] = set()

    def note(self, instance: Instance) -> None:
        """Notes the boot process, the recorded children, and all that descends from them now: once they have ended,
        nobody can tell whose the processes were that they leave behind."""
        for process in (instance.boot, *(child.process for child in instance.children)):
            if process.is_alive():
                self._seen |= {process, *descendants(process)}

    def remaining(self) -> list[str]:
        """Blocks up to ``END_WAIT_S`` until all of them have ended; describes those that have not. Zombies count as
        ended: they are their parent's."""
        deadline_s = time.monotonic() + END_WAIT_S
        alive = self._seen
        while alive and time.monotonic() < deadline_s:
            alive = {process for process in alive if process.is_alive()}
            if alive:
                time.sleep(LOCAL.boot.look_again_s)
        return sorted(_describe(alive))


def _describe(processes: set[OsProcess]) -> Iterator[str]:
    for process in processes:
        try:
            command = Path(f"/proc/{process.pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if process.is_alive():
            yield f"{process.pid} {command[:120]}"
