"""Endpoint files: names that lead to servers, and what pathnames stand for."""

from __future__ import annotations

from sigmaos_ray import serr
from sigmaos_ray.fslib.naming import about
from sigmaos_ray.fslib.part import FsPart, NeedsFiles, lease_id_of
from sigmaos_ray.fslib.pathnames import checked_endpoint, parse
from sigmaos_ray.fslib.puts import put_whole
from sigmaos_ray.sigmap import DMMOUNT, DMSYMLINK, DMTMP, NO_LEASE, OEXCL, OTRUNC, OWRITE, Endpoint, path

ENDPOINT_PERM = DMSYMLINK | DMMOUNT | 0o777


class EndpointCalls(FsPart, NeedsFiles):
    """Calls on endpoint files, and on the names behind which servers are chosen."""

    async def mk_endpoint_file(self, pn: str, endpoint: Endpoint) -> None:
        """Makes a file that leads to a server. Exists if the name is taken."""
        await put_whole(self.core, pn, _contents(endpoint), ENDPOINT_PERM, OWRITE | OEXCL, 0)

    async def mk_leased_endpoint(self, pn: str, endpoint: Endpoint, lease: object) -> None:
        """``mk_endpoint_file``, for one that goes when ``lease`` ends."""
        lease_id = lease_id_of(pn, lease)
        await put_whole(self.core, pn, _contents(endpoint), ENDPOINT_PERM | DMTMP, OWRITE | OEXCL, 0, lease_id)
        self.core.own_endpoints.add(tuple(parse(pn)[0]))

    async def write_endpoint_file(self, pn: str, endpoint: Endpoint) -> None:
        """Makes an endpoint file, or lets the one that exists lead to another server."""
        await put_whole(self.core, pn, _contents(endpoint), ENDPOINT_PERM, OWRITE | OTRUNC, 0, NO_LEASE)

    async def read_endpoint(self, pn: str) -> Endpoint:
        """What an endpoint file says. Inval for a file that is none."""
        endpoint = Endpoint.from_bytes(await self.get_file(pn.rstrip("/")))
        if endpoint is None:
            raise serr.Inval(pn, "not an endpoint file")
        return endpoint

    async def resolve_mount(self, pn: str) -> tuple[str, bool]:
        """``pn`` with its first ``~any`` or ``~local`` replaced by the entry it stands for now; and whether there was
        one."""
        parts, _ = parse(pn)
        for length in range(1, len(parts) + 1):
            if path.is_union(parts[length - 1]):
                head = await self.resolve_unions("/".join(parts[:length]))
                rest = "/".join(parts[length:])
                slash = "/" if path.resolves(pn) else ""
                return path.join(head, rest) + slash, True
        return pn, False

    async def resolve_mounts(self, pn: str) -> str:
        """``pn`` with each ``~any`` and ``~local`` replaced: a pathname to give to others, for whom they mean something
        else."""
        return await self.resolve_unions(pn)

    async def resolve_unions(self, pn: str) -> str:
        """``pn`` with each ``~any`` and ``~local`` replaced by the entry it stands for now."""
        parts, resolve = parse(pn)
        with about(pn):
            return "/".join(await self.core.walker.resolve_unions(parts)) + ("/" if resolve else "")


def _contents(endpoint: Endpoint) -> bytes:
    return checked_endpoint(endpoint).to_bytes()
