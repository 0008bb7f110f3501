"""What the parts of ``AsyncFsLib`` stand on: the core that they share, and calls of each other.

A part names in its head what it needs of other parts: ``class JsonCalls(FsPart, NeedsFiles)``. Parts do not know each
other's classes; ``clnt.AsyncFsLib`` is made of all of them, so that each need is met there.
"""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING

from sigmaos_ray import serr
from sigmaos_ray.sigmap import NO_FENCE, NO_LEASE, OWRITE, Endpoint, Fence, Mode, Perm, Stat

if TYPE_CHECKING:
    from sigmaos_ray.fslib.core import FsCore
    from sigmaos_ray.fslib.fidclnt import RemoteFid
    from sigmaos_ray.fslib.readers import AsyncReader
    from sigmaos_ray.fslib.writers import AsyncWriter

Data = bytes | bytearray | memoryview


class FsPart:
    """Some of a client's calls. Raises ``serr`` errors that carry the pathname."""

    core: FsCore
    """For what is built on the client; one core serves all parts."""


class NeedsEntries(abc.ABC):
    """Of ``EntryCalls``."""

    @abc.abstractmethod
    async def stat(self, pn: str) -> Stat: ...

    @abc.abstractmethod
    async def remove(self, pn: str, fence: Fence = NO_FENCE) -> None: ...

    @abc.abstractmethod
    async def rename(self, old: str, new: str) -> None: ...


class NeedsFiles(abc.ABC):
    """Of ``FileCalls``."""

    @abc.abstractmethod
    async def get_file(self, pn: str) -> bytes: ...

    @abc.abstractmethod
    async def put_file(self, pn: str, data: Data, perm: Perm = 0o777, mode: Mode = OWRITE) -> int: ...

    @abc.abstractmethod
    async def set_file(self, pn: str, data: Data, mode: Mode = OWRITE, offset: int = 0) -> int: ...

    @abc.abstractmethod
    async def put_file_atomic(self, pn: str, data: Data, perm: Perm = 0o777) -> int: ...


class NeedsDirs(abc.ABC):
    """Of ``DirCalls``."""

    @abc.abstractmethod
    async def mkdir(self, pn: str, perm: Perm = 0o777) -> None: ...

    @abc.abstractmethod
    async def get_dir(self, pn: str) -> list[Stat]: ...

    @abc.abstractmethod
    async def rmdir_entries(self, pn: str) -> None: ...


class NeedsWatches(abc.ABC):
    """Of ``WatchCalls``."""

    @abc.abstractmethod
    async def get_file_watch(self, pn: str, timeout_s: float | None = None) -> bytes: ...

    @abc.abstractmethod
    async def _open_fid_wait(self, pn: str, mode: Mode, timeout_s: float | None) -> RemoteFid: ...


class NeedsEndpoints(abc.ABC):
    """Of ``EndpointCalls``."""

    @abc.abstractmethod
    async def read_endpoint(self, pn: str) -> Endpoint: ...


class NeedsMounts(abc.ABC):
    """Of ``MountCalls``."""

    @abc.abstractmethod
    async def server_of(self, pn: str) -> str: ...


class NeedsStreams(abc.ABC):
    """Of ``StreamCalls``."""

    @abc.abstractmethod
    def open_reader(
        self, pn: str, offset: int = 0, length: int | None = None, *, buffer_bytes: int | None = None
    ) -> AsyncReader: ...

    @abc.abstractmethod
    def create_writer(
        self, pn: str, perm: Perm = 0o777, mode: Mode = OWRITE, *, buffer_bytes: int | None = None
    ) -> AsyncWriter: ...


def lease_id_of(pn: str, lease: object) -> int:
    """The number of a lease, or of what is its number already. Inval for anything else."""
    lease_id = getattr(lease, "id", lease)
    if not isinstance(lease_id, int) or isinstance(lease_id, bool) or lease_id == NO_LEASE:
        raise serr.Inval(pn, f"{lease!r} is not a lease")
    return lease_id
