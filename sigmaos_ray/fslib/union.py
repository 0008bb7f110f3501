"""Choosing an entry of a directory of endpoints: ``~any`` and ``~local`` (N-9)."""

from __future__ import annotations

import random
import socket
import time
from typing import TYPE_CHECKING

from sigmaos_ray import serr
from sigmaos_ray.sessp import wire
from sigmaos_ray.sigmap import ANY, OREAD, Endpoint, Stat

if TYPE_CHECKING:
    from sigmaos_ray.config import Config
    from sigmaos_ray.fslib.fidclnt import RemoteFid


class UnionChooser:
    """Picks entries, and remembers which just failed, so that the next pick is another one."""

    def __init__(self, kernel_id: str, config: Config) -> None:
        self._kernel_id = kernel_id
        self._config = config
        self._failed_s: dict[tuple[str, ...], float] = {}
        """When an endpoint last failed, by its addresses."""

    def failed(self, endpoint: Endpoint) -> None:
        self._failed_s[endpoint.addrs] = time.monotonic()

    async def choose(self, directory: RemoteFid, component: str) -> tuple[str, Endpoint]:
        """An entry's name and endpoint. NotFound, with the component as its object, if nothing is suitable.

        ``~local``: the entry named by this client's kernel id; without a kernel id, one on this host.
        ``~any``: any entry, at random; one that failed within a lease's time only if there is no other.
        """
        if component != ANY and self._kernel_id:
            endpoint = await self._read(directory, self._kernel_id)
            if endpoint is not None:
                return self._kernel_id, endpoint
            raise serr.NotFound(component, f"no entry {self._kernel_id}")
        names = [stat.name for stat in await list_dir(directory, self._config) if stat.mode and not stat.is_dir]
        random.shuffle(names)
        second_choice: tuple[str, Endpoint] | None = None
        for name in names:
            endpoint = await self._read(directory, name)
            if endpoint is None or (component != ANY and not _is_here(endpoint)):
                continue
            if not self._just_failed(endpoint):
                return name, endpoint
            second_choice = (name, endpoint)
        if second_choice is None:
            raise serr.NotFound(component, "no entry is an endpoint that fits")
        return second_choice

    async def _read(self, directory: RemoteFid, name: str) -> Endpoint | None:
        try:
            return Endpoint.from_bytes(await directory.get_file([name], self._config.wire.io_bytes_max))
        except (serr.NotFound, serr.IsDir):
            return None

    def _just_failed(self, endpoint: Endpoint) -> bool:
        at = self._failed_s.get(endpoint.addrs)
        return at is not None and time.monotonic() - at < self._config.lease.ttl_s


def _is_here(endpoint: Endpoint) -> bool:
    own = {"127.0.0.1", "localhost", "::1", socket.gethostname()}
    return any(address.rpartition(":")[0] in own for address in endpoint.addrs)


async def list_dir(fid: RemoteFid, config: Config) -> list[Stat]:
    """All entries of the directory that a fid stands for; the fid itself stays as it is."""
    directory, _ = await fid.walk([])
    try:
        await directory.open(OREAD)
        stats: list[Stat] = []
        while data := await directory.read(0, config.wire.io_bytes_max):
            stats.extend(wire.unpack_dir(data))
        return stats
    finally:
        await directory.clunk_quietly()
