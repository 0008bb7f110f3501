"""``AsyncFsLib``: what a client of the namespace consists of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sigmaos_ray.fslib.core import FsCore
from sigmaos_ray.fslib.descriptors import DescriptorCalls
from sigmaos_ray.fslib.dirs import DirCalls
from sigmaos_ray.fslib.endpoints import EndpointCalls
from sigmaos_ray.fslib.entries import EntryCalls
from sigmaos_ray.fslib.files import FileCalls
from sigmaos_ray.fslib.jsonfiles import JsonCalls
from sigmaos_ray.fslib.mounting import MountCalls
from sigmaos_ray.fslib.reports import ReportCalls
from sigmaos_ray.fslib.streams import StreamCalls
from sigmaos_ray.fslib.transactions import TransactionCalls
from sigmaos_ray.fslib.transfer import CopyCalls
from sigmaos_ray.fslib.watches import WatchCalls

if TYPE_CHECKING:
    from sigmaos_ray.config import Config, ProcEnv


class AsyncFsLib(
    DescriptorCalls,  # open, read, write, seek ...: by descriptor
    EntryCalls,  # stat, remove, rename, pipes, leader files: by name
    FileCalls,  # get_file, put_file ...: whole files
    DirCalls,  # mkdir, get_dir, rmdir ...
    TransactionCalls,  # transact: several changes at once
    WatchCalls,  # watch_dir, wait_create ...
    StreamCalls,  # open_reader, create_writer ...
    JsonCalls,  # get_file_json, append_file_json ...
    CopyCalls,  # copy_file, upload_dir ...
    EndpointCalls,  # endpoint files, resolve_mounts ...
    MountCalls,  # mount_tree, detach, server_of ...
    ReportCalls,  # fences and counters of servers
):
    """One client's files, on asyncio: used from the loop that it was made on. ``close_fs`` it.

    Each part holds ``core``, and what it needs of another part stands in its head; parts that are needed come before
    those that need them.
    """

    def __init__(self, proc_env: ProcEnv, config: Config | None = None) -> None:
        self.core = FsCore(proc_env, config)

    @property
    def proc_env(self) -> ProcEnv:
        """Who this client is."""
        return self.core.proc_env

    @property
    def config(self) -> Config:
        """Time-outs, sizes and retries of this client."""
        return self.core.config

    @property
    def realm(self) -> str:
        """The tenant whose namespace this client sees."""
        return self.core.proc_env.realm

    @property
    def pid(self) -> str:
        """The proc that this client belongs to, or its own made-up id outside of procs."""
        return self.core.proc_env.pid

    @property
    def kernel_id(self) -> str:
        """The kernel node that ``~local`` means; ``""`` for a client outside."""
        return self.core.proc_env.kernel_id

    @property
    def is_closed(self) -> bool:
        """True once the client was closed: every call fails."""
        return self.core.is_closed

    @property
    def read_bytes_max(self) -> int:
        """The most that one message reads or writes."""
        return self.core.io_bytes_max

    def stats(self) -> dict[str, dict[str, int]]:
        """Counters: ``path`` for what pathnames cost, ``sp`` for messages by kind."""
        return self.core.counters.snapshot()

    async def close_fs(self) -> None:
        """Ends the sessions. Every later call is Unreachable. May be repeated."""
        await self.core.close()
