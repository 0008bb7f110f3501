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
    from collections.abc import AsyncGenerator

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
        """An entry's name and endpoint. NotFound, with the component as its object, if nothing is suitable; Inval if
        what should be an endpoint is something else: no waiting helps.

        ``~local``: the entry named by this client's kernel id; without a kernel id, one on this host.
        ``~any``: any entry, at random; one that failed within a lease's time only if there is no other.
        """
        if component != ANY and self._kernel_id:
            contents = await self._read(directory, self._kernel_id)
            if not contents:
                raise serr.NotFound(component, f"no entry {self._kernel_id}")
            endpoint = Endpoint.from_bytes(contents)
            if endpoint is None:
                raise serr.Inval(component, f"entry {self._kernel_id} is not an endpoint")
            return self._kernel_id, endpoint
        stats = [stat for stat in await list_dir(directory, self._config) if not stat.is_dir]
        names = [stat.name for stat in stats if not stat.is_symlink]
        random.shuffle(names)
        # A server that died keeps its entry until its lease ends: what failed so recently is only better than nothing.
        second_choice: tuple[str, Endpoint] | None = None
        for name in names:
            endpoint = Endpoint.from_bytes(await self._read(directory, name))
            if endpoint is None or (component != ANY and not _is_here(endpoint)):
                continue
            if not self._just_failed(endpoint):
                return name, endpoint
            second_choice = (name, endpoint)
        if second_choice is not None:
            return second_choice
        if stats and not names:
            raise serr.Inval(component, f"entries are endpoints, {stats[0].name} is a link to a pathname")
        raise serr.NotFound(component, "no entry is an endpoint that fits")

    async def _read(self, directory: RemoteFid, name: str) -> bytes:
        """An entry's contents; empty if there is none, or it cannot be read as a file."""
        try:
            return await directory.get_file([name], self._config.wire.io_bytes_max)
        except (serr.NotFound, serr.IsDir, serr.NotSupported):
            return b""

    def _just_failed(self, endpoint: Endpoint) -> bool:
        at = self._failed_s.get(endpoint.addrs)
        return at is not None and time.monotonic() - at < self._config.lease.ttl_s


def _is_here(endpoint: Endpoint) -> bool:
    return any(is_own_address(address.rpartition(":")[0]) for address in endpoint.addrs)


def is_own_address(host: str) -> bool:
    """Whether this machine has that address, or the one that the name stands for; False for what is no address.

    Asked of the system, which alone knows all addresses of all its interfaces: only one's own can be bound."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host.strip("[]"), 0, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.bind(address)
    except OSError:
        return False
    return True


async def list_dir(fid: RemoteFid, config: Config) -> list[Stat]:
    """All entries of the directory that a fid stands for; the fid itself stays as it is."""
    directory, _ = await fid.walk([])
    try:
        await directory.open(OREAD)
        stats: list[Stat] = []
        async for page in dir_pages(directory, config):
            stats.extend(page)
            if len(stats) > config.wire.listing_entries_max:
                raise serr.Inval(msg=f"a union of over {config.wire.listing_entries_max} entries")
        return stats
    finally:
        directory.free()


async def dir_pages(fid: RemoteFid, config: Config) -> AsyncGenerator[list[Stat], None]:
    """The pages of an open directory. IOErr if the server sends the same one again: it would do so for ever."""
    last = b""
    while data := await fid.read(0, config.wire.io_bytes_max):
        if data == last:
            raise serr.IOErr(msg="the listing does not go on")
        yield list(wire.unpack_dir(data))
        last = data
