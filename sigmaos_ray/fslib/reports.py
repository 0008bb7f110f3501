"""What servers tell of themselves: the fences that they have seen, and their counters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from sigmaos_ray import serr
from sigmaos_ray.fslib.jsontext import from_json
from sigmaos_ray.fslib.naming import about
from sigmaos_ray.fslib.part import FsPart, NeedsDirs, NeedsFiles, NeedsMounts
from sigmaos_ray.sigmap import FENCES, NAMED, PSTATSD, RPC_DEV, STATSD, Fence, decode_fence, path

if TYPE_CHECKING:
    from collections.abc import Iterable


class ReportCalls(FsPart, NeedsFiles, NeedsDirs, NeedsMounts):
    """Calls that read what servers offer beside their files."""

    async def get_fences(self, directory: str) -> list[Fence]:
        """The fences that the server of a directory has seen, in order of their pathnames."""
        with about(directory):
            directory_of_fences = await self._fences_of(directory)
            fences = []
            for stat in await self.get_dir(directory_of_fences):
                try:
                    fences.append(_fence_from(await self.get_file(path.join(directory_of_fences, stat.name))))
                except serr.NotFound:  # forgotten meanwhile
                    continue
            return sorted(fences, key=lambda fence: fence.pathname)

    async def remove_fence(self, directories: Iterable[str]) -> None:
        """Lets the servers of some directories forget all fences: they accept any from now on."""
        for directory in directories:
            with about(directory):
                await self.rmdir_entries(await self._fences_of(directory))

    async def _fences_of(self, directory: str) -> str:
        # Of an entry in it, which need not be there: the directory's own name may be an endpoint file at another
        # server.
        return path.join(await self.server_of(path.join(directory, "x")), FENCES)

    async def read_srv_stats(self, pn: str) -> dict[str, Any]:
        """The counters of the server that ``pn`` leads to (``.statsd``)."""
        return await self._report(pn, STATSD)

    async def read_rpc_stats(self, pn: str) -> dict[str, Any]:
        """How often each RPC method of the server that ``pn`` leads to was called."""
        return await self._report(pn, f"{RPC_DEV}/stats")

    async def read_pstats(self) -> dict[str, Any]:
        """What named asked of its store, by pathname. NotFound if it keeps no such counters."""
        return await self._report(NAMED, PSTATSD)

    async def _report(self, pn: str, file: str) -> dict[str, Any]:
        pathname = path.join(pn, file)
        report = from_json(pathname, await self.get_file(pathname))
        if not isinstance(report, dict):
            raise serr.Inval(pathname, "not a report")
        return report


def _fence_from(data: bytes) -> Fence:
    try:
        return decode_fence(data)
    except msgspec.DecodeError as error:
        raise serr.IOErr(FENCES, f"not a fence: {error}") from error
