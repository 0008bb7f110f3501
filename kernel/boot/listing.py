"""What runs where, shown in the root realm's namespace (K-1, K-3): a file per kernel node in ``name/boot``, and one per
service in ``name/kpids``. They go with boot, at the latest with its lease."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from sigmaos_ray import debug, serr
from sigmaos_ray.sigmaclnt import AsyncSigmaClnt
from sigmaos_ray.sigmap import BOOT, KPIDS, NAMED, path

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sigmaos_ray.config import Config, ProcEnv
    from sigmaos_ray.instance import KernelNode

_log = debug.selector("BOOT")


def files_of(nodes: Sequence[KernelNode]) -> dict[str, bytes]:
    """By pathname: of each node what ``status --json`` says of it, of each service its address and process. Pure."""
    files = {}
    for node in nodes:
        if not node.id:
            continue
        files[path.join(BOOT, node.id)] = msgspec.json.encode(node)
        for name, info in node.services.items():
            shown = {"service": name, "kernel_id": node.id, **msgspec.to_builtins(info)}
            files[path.join(KPIDS, f"{name}-{node.id}")] = msgspec.json.encode(shown)
    return files


class KernelListing:
    """Keeps the files as the nodes are: ``changed`` whenever these may be others, and one task that ``follow``s."""

    def __init__(self, nodes: Callable[[], Sequence[KernelNode]], config: Config) -> None:
        """``nodes``: as they are now; asked on the loop of ``follow``."""
        self._nodes = nodes
        self._config = config
        self._changed: asyncio.Event | None = None
        self._shown: dict[str, bytes] = {}

    def changed(self) -> None:
        """From the loop of ``follow``, or while that does not run."""
        if self._changed is not None:
            self._changed.set()

    async def follow(self, env: ProcEnv) -> None:
        """Shows the nodes as they are now and after each change, until it is cancelled. Goes on while named is away."""
        changed = self._changed = asyncio.Event()
        async with AsyncSigmaClnt(env) as sc:
            while True:
                try:
                    await self._show(sc, changed)
                except serr.SigmaError as error:
                    _log(f"{BOOT}: {error}")
                    await asyncio.sleep(self._config.boot.restart_pause_s)

    async def _show(self, sc: AsyncSigmaClnt, changed: asyncio.Event) -> None:
        """Returns when the lease is lost, and the files with it."""
        lease = await sc.leases.ask_lease(NAMED)
        self._shown = {}
        while not lease.is_lost:
            # Before the look: what changes while files are written is written next.
            changed.clear()
            await self._write(sc, lease)
            waits = {asyncio.ensure_future(changed.wait()), asyncio.ensure_future(lease.lost.wait())}
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()

    async def _write(self, sc: AsyncSigmaClnt, lease: object) -> None:
        wanted = files_of(self._nodes())
        for pn in self._shown.keys() - wanted.keys():
            await _remove(sc, pn)
            del self._shown[pn]
        for pn, data in wanted.items():
            if self._shown.get(pn) == data:
                continue
            if pn in self._shown:
                await sc.put_file(pn, data)
            else:
                await _remove(sc, pn)  # of a boot that died a moment ago
                await sc.put_leased_file(pn, data, lease)
            self._shown[pn] = data


async def _remove(sc: AsyncSigmaClnt, pn: str) -> None:
    try:
        # Looked at before it goes: by its name alone nothing is removed there.
        await sc.remove_own(pn, await sc.get_file(pn))
    except serr.NotFound:
        return
