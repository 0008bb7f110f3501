"""What the instance says of itself, for clients that cannot read its state file: at ``sigmap.INSTANCE`` in the root
realm."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sigmaos_ray import debug, serr
from sigmaos_ray.sigmaclnt import AsyncSigmaClnt
from sigmaos_ray.sigmap import INSTANCE

if TYPE_CHECKING:
    from collections.abc import Callable

    from sigmaos_ray.config import Config, ProcEnv
    from sigmaos_ray.instance import Instance

_log = debug.selector("BOOT")


class InstanceFile:
    """Keeps the file as the instance is: ``changed`` whenever that is another, and one task that writes."""

    def __init__(self, present: Callable[[], Instance], config: Config) -> None:
        """``present``: the instance as it is now; asked on the loop of ``follow``."""
        self._present = present
        self._config = config
        self._changed: asyncio.Event | None = None

    def changed(self) -> None:
        """From the loop of ``follow``, or while that does not run."""
        if self._changed is not None:
            self._changed.set()

    async def follow(self, env: ProcEnv) -> None:
        """Writes the file now and after each change, until it is cancelled. Goes on while named is away."""
        changed = self._changed = asyncio.Event()
        async with AsyncSigmaClnt(env) as sc:
            while True:
                # Before the look: what changes while the file is written is written next.
                changed.clear()
                try:
                    await sc.put_file(INSTANCE, self._present().to_json())
                except serr.SigmaError as error:
                    _log(f"{INSTANCE}: {error}")
                    await asyncio.sleep(self._config.boot.restart_pause_s)
                else:
                    await changed.wait()
