"""Choosing an entry of a directory of endpoints: ``~any`` and ``~local`` (N-9)."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from sigmaos_ray import serr
from sigmaos_ray.machine import is_own_address
from sigmaos_ray.sessp import wire
from sigmaos_ray.sigmap import ANY, OREAD, Endpoint, Stat

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from sigmaos_ray.config import Config
    from sigmaos_ray.fslib.fidclnt import RemoteFid


class UnionChooser:
    """Picks entries, and remembers which just failed, so that the next pick is another one."""

    def __init__(self, kernel_id: str, config: Config, *, is_outside: bool = False) -> None:
        """``is_outside``: of a client that may be on a machine without a kernel node. One within, of a node whose
        kernel node is still to come, waits for that."""
        self._kernel_id = kernel_id
        self._is_outside = is_outside
        self._config = config
        self._failed_s: dict[tuple[str, ...], float] = {}
        """When an endpoint last failed, by its addresses."""

    def failed(self, endpoint: Endpoint) -> None:
        self._failed_s[endpoint.addrs] = time.monotonic()

    async def choose(self, directory: RemoteFid, component: str) -> tuple[str, Endpoint]:
        """An entry's name and endpoint. NotFound, with the component as its object, if nothing is suitable; Inval if
        what should be an endpoint is something else: no waiting helps.

        ``~local``: the entry named by this client's kernel id; without a kernel id, one on this host; for a client
        outside, whose host has none, any.
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
        chosen = await self._first(directory, names, is_here=component != ANY)
        if chosen is None and component != ANY and self._is_outside:
            chosen = await self._first(directory, names, is_here=False)
        if chosen is not None:
            return chosen
        if stats and not names:
            raise serr.Inval(component, f"entries are endpoints, {stats[0].name} is a link to a pathname")
        raise serr.NotFound(component, "no entry is an endpoint that fits")

    async def _first(self, directory: RemoteFid, names: Sequence[str], *, is_here: bool) -> tuple[str, Endpoint] | None:
        """The first entry that is an endpoint, ``is_here``: of this host; None if there is none."""
        # A server that died keeps its entry until its lease ends: what failed so recently is only better than nothing.
        second_choice: tuple[str, Endpoint] | None = None
        for name in names:
            endpoint = Endpoint.from_bytes(await self._read(directory, name))
            if endpoint is None or (is_here and not _is_here(endpoint)):
                continue
            if not self._just_failed(endpoint):
                return name, endpoint
            second_choice = (name, endpoint)
        return second_choice

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
    last, is_end = b"", False
    while not is_end:
        data, is_end = await fid.read_entries(config.wire.io_bytes_max)
        if not data:
            return
        if data == last:
            raise serr.IOErr(msg="the listing does not go on")
        yield list(wire.unpack_dir(data))
        last = data
