"""A process that waits prepares for files if the last proc of its template used some; and is as clean as another."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from sigmaos_ray import SigmaClnt
from sigmaos_ray.config import ProcEnv
from sigmaos_ray.memfs import MemFs
from sigmaos_ray.protsrv.server import FileServer
from sigmaos_ray.protsrv.watch import WatchTable
from sigmaos_ray.sigmap import Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from leases import Lease


def test_a_process_prepares_for_what_the_last_proc_did(own_lease: Callable[..., Lease]) -> None:
    def counts(address: str) -> list[int]:
        with SigmaClnt(ProcEnv(pid="p", named=Endpoint(addrs=(address,)))) as sc:
            sc.put_file("name/f", b"one")
            return [len(sc.get_file("name/f")), threading.active_count()]

    def idles() -> None:
        return None

    lease = own_lease()
    watches = WatchTable()
    files = MemFs(watches)
    server = FileServer(files.root, watches, fences=files.fences, leases=files.leases)
    address = lease.run(server.start()).addrs[0]
    try:
        for _ in range(3):  # in one that did not prepare, and in others that did
            assert lease.status(lambda _: counts(address)).data == [3, 1]
            assert _used_files(lease)
        for _ in range(2):
            lease.status(lambda _: idles())
            assert not _used_files(lease)
    finally:
        lease.run(server.stop())


def _used_files(lease: Lease) -> bool:
    bare = lease.templates._bare
    assert bare is not None
    return bare.used_files
